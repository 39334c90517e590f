package config

import (
	"errors"
	"maps"
	"os"
	"slices"

	"github.com/hashicorp/hcl/v2"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/host"
)

// add returns a new backend that stands in the file.
func (c *Config) add(name string) *Backend {
	b := &Backend{Name: name, program: map[string]hcl.Range{}, places: map[string]hcl.Range{}, source: c.source}
	c.backends[name] = b
	return b
}

// names returns the backends there can be: installed, or with a program of their
// own.
func (c *Config) names() []string {
	names := slices.Clone(c.installed)
	for name, b := range c.backends {
		if b.Plugin != "" {
			names = append(names, name)
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(names)))
}

// checkNames finds the backends that are not there.
func (c *Config) checkNames(d *decoder, places map[string]hcl.Range) {
	names := c.names()
	for name := range c.backends {
		if !slices.Contains(names, name) {
			d.mistake(places[`backend "`+name+`"`], "there is no backend "+backend.Printable(name), Suggest(name, names))
		}
	}
	if at, ok := places["default_backend"]; ok && !slices.Contains(names, c.DefaultBackend) {
		d.mistake(at, "there is no backend "+backend.Printable(c.DefaultBackend), Suggest(c.DefaultBackend, names))
	}
}

// Backends returns the names of those that are installed or configured, sorted.
func (c *Config) Backends() []string { return c.names() }

// Configured returns the names of those with a block in the file, sorted.
func (c *Config) Configured() []string { return slices.Sorted(maps.Keys(c.backends)) }

// Backend returns the backend name, the default one if name is empty. One that is
// installed needs no block; one that is not is ErrNotFound.
func (c *Config) Backend(name string) (*Backend, error) {
	if name == "" {
		name = c.DefaultBackend
	}
	if b := c.backends[name]; b != nil {
		return b, nil
	}
	if slices.Contains(c.installed, name) {
		return &Backend{Name: name, source: &source{}}, nil
	}
	return nil, &backend.Error{Kind: backend.ErrNotFound, Op: "find backend", Path: name,
		Message: "no plugin of that name is installed", Hint: Suggest(name, c.names())}
}

// Launch returns what host.Launch needs to start the backend's plugin. The
// mistakes that the plugin's schema shows in `config { }` come from there as an
// *Error.
func (b *Backend) Launch() host.Options {
	return host.Options{
		Name: b.Name, Path: b.Plugin, SHA256: b.SHA256, Env: b.Env,
		Decode: func(schema backend.Schema) ([]byte, error) {
			var body hcl.Body
			if b.options != nil {
				body = b.options
			}
			data, diags := host.DecodeConfig(schema, body, evaluation(os.LookupEnv))
			if err := mistakes(b.source, diags); err != nil {
				return nil, b.named(err)
			}
			b.secret = map[string]bool{}
			for _, option := range schema {
				b.secret[option.Name] = option.Sensitive
			}
			return data, nil
		},
	}
}

// named adds the backend's name to mistakes without a place: what is missing.
func (b *Backend) named(err error) error {
	var e *Error
	if errors.As(err, &e) {
		for i, m := range e.Mistakes {
			if m.Line == 0 {
				e.Mistakes[i].What = "backend " + b.Name + ": " + m.What
			}
		}
	}
	return err
}

// ExplainOptions puts what a plugin says of one of its options to the place where
// that stands in the file, and what is wrong with its program to where that is
// named. Any other error is returned as it is.
func (b *Backend) ExplainOptions(err error) error {
	var start *host.StartError
	if errors.As(err, &start) {
		return b.explainStart(start, err)
	}
	e := refused(err)
	if e == nil || b.options == nil {
		return err
	}
	a := b.options.Attributes[e.Path]
	if a == nil {
		return err
	}
	m := Mistake{File: b.source.path, What: e.Path + ": " + message(e), Hint: e.Hint}
	m.at(b.source, a.Expr.Range())
	if b.secret[e.Path] {
		m.hide()
	}
	return &Error{Mistakes: []Mistake{m}, Err: err}
}

// programKeys tells which key is to be looked at when a program is not even run.
var programKeys = map[host.Reason]string{
	host.ReasonMissing: "plugin", host.ReasonUnreadable: "plugin", host.ReasonDirectory: "plugin",
	host.ReasonNotRegular: "plugin", host.ReasonNotExecutable: "plugin", host.ReasonWritable: "plugin",
	host.ReasonArchitecture: "plugin", host.ReasonFormat: "plugin", host.ReasonChecksum: "sha256",
}

func (b *Backend) explainStart(start *host.StartError, err error) error {
	key := programKeys[start.Reason]
	at, ok := b.program[key]
	if !ok {
		return err
	}
	m := Mistake{File: b.source.path, Hint: start.Err.Hint,
		What: key + ": " + backend.Printable(start.Err.Path) + ": " + message(start.Err)}
	m.at(b.source, at)
	return &Error{Mistakes: []Mistake{m}, Err: err}
}

// CheckSandbox tells what of `sandbox { }` asks for what a backend with these
// capabilities does not have, as an *Error where it stands in the file. What a
// sandbox would be made without is a mistake too: it would be found missing later.
func (b *Backend) CheckSandbox(caps []backend.Capability) error {
	var errs []error
	if _, err := b.Sandbox.Settle(caps); err != nil {
		errs = append(errs, b.ExplainSandbox(err))
	}
	if !slices.Contains(caps, backend.CapImages) {
		for _, key := range []string{"image", "pull"} {
			if at, ok := b.places[key]; ok {
				m := Mistake{File: b.source.path, What: key + ": the backend " + b.Name + " has no images", Hint: "leave it out, or choose another backend"}
				m.at(b.source, at)
				errs = append(errs, &Error{Mistakes: []Mistake{m}})
			}
		}
	}
	return errors.Join(Merge(errs)...)
}

// ExplainSandbox does the same for what a backend says of the specification of a
// sandbox. overridden names the keys that a command line has set, in the words of
// Spec.Settle.
func (b *Backend) ExplainSandbox(err error, overridden ...string) error {
	e := refused(err)
	if e == nil || slices.Contains(overridden, e.Path) {
		return err
	}
	key := e.Path
	if key == "workspace" {
		key = "work_dir"
	}
	at, ok := b.places[key]
	if !ok {
		return err
	}
	m := Mistake{File: b.source.path, What: key + ": " + message(e), Hint: e.Hint}
	m.at(b.source, at)
	return &Error{Mistakes: []Mistake{m}, Err: err}
}

// refused returns the error of a value that a backend refuses, nil for any other.
func refused(err error) *backend.Error {
	var e *backend.Error
	if errors.As(err, &e) && (errors.Is(e.Kind, backend.ErrInvalid) || errors.Is(e.Kind, backend.ErrUnsupported)) {
		return e
	}
	return nil
}

func message(e *backend.Error) string {
	plain := *e
	plain.Backend, plain.Op, plain.Path, plain.Hint = "", "", "", ""
	return plain.Error()
}

// refusal takes an error of Spec.Settle apart, its key as the file writes it.
func refusal(err error) (key, what, hint string) {
	e := refused(err)
	if e == nil {
		return "", err.Error(), ""
	}
	key = e.Path
	if key == "workspace" {
		key = "work_dir"
	}
	return key, message(e), e.Hint
}
