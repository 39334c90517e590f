package config

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/hostpath"
)

// root says what may stand in the file, and puts it into c.
func root(c *Config, tools []string) *block {
	places := map[string]hcl.Range{}
	return &block{
		places: places,
		keys: map[string]read{
			"default_backend": into(&c.DefaultBackend, text(`"docker"`)),
		},
		blocks: map[string]nested{
			"model":   {open: func(string) *block { return modelBlock(&c.Model) }},
			"agent":   {open: func(string) *block { return agentBlock(&c.Agent, tools) }},
			"backend": {label: "NAME", open: func(name string) *block { return backendBlock(c.add(name)) }},
		},
		done: func(d *decoder, _ hcl.Range, _ bool) { c.checkNames(d, places) },
	}
}

func modelBlock(m *Model) *block {
	return &block{keys: map[string]read{
		"name":              into(&m.Name, text(`"gpt-4.1"`)),
		"base_url":          into(&m.BaseURL, baseURL),
		"api_key":           into(&m.APIKey, apiKey),
		"max_output_tokens": into(&m.MaxOutputTokens, whole[int64](1, 1<<31)),
		"temperature":       into(&m.Temperature, temperature),
		"max_tries":         into(&m.MaxTries, whole(1, 100)),
		"idle_timeout":      into(&m.IdleTimeout, duration(`"5m"`, noneOf)),
		"stream_usage": func(d *decoder, a *hclsyntax.Attribute) {
			if asked, ok := boolean(d, a); ok {
				m.NoStreamUsage = !asked
			}
		},
	}}
}

func agentBlock(g *Agent, tools []string) *block {
	return &block{keys: map[string]read{
		"instructions":   into(&g.Instructions, text(`"Answer in Dutch."`)),
		"max_turns":      into(&g.MaxTurns, whole(1, math.MaxInt32)),
		"max_tool_calls": into(&g.MaxToolCalls, whole(1, math.MaxInt32)),
		"max_tokens":     into(&g.MaxTokens, whole[int64](1, 1<<53)),
		"max_repeats":    into(&g.MaxRepeats, whole(2, math.MaxInt32)),
		"ask_tools":      into(&g.AskTools, toolNames(tools)),
		"deny_tools":     into(&g.DenyTools, toolNames(tools)),
	}}
}

// toolNames is a list of tools that there are.
func toolNames(tools []string) parse[[]string] {
	return func(d *decoder, a *hclsyntax.Attribute) ([]string, bool) {
		names, ok := texts(`["execute"]`)(d, a)
		for _, name := range names {
			if !slices.Contains(tools, name) {
				d.mistake(a.Expr.Range(), "there is no tool "+backend.Printable(name), Suggest(name, tools))
				ok = false
			}
		}
		return names, ok
	}
}

// layers is a list of layers of isolation that a backend can have.
func layers(d *decoder, a *hclsyntax.Attribute) ([]string, bool) {
	names, ok := texts(`["memory limit"]`)(d, a)
	for _, name := range names {
		if !backend.ValidLayer(name) {
			d.mistake(a.Expr.Range(), "there is no layer of isolation "+backend.Printable(name), Suggest(name, backend.LayerNames))
			ok = false
		}
	}
	return names, ok
}

func backendBlock(b *Backend) *block {
	return &block{
		places: b.program,
		keys: map[string]read{
			"plugin": into(&b.Plugin, absolute(`"/opt/deep/deep-backend-docker"`)),
			"sha256": into(&b.SHA256, sum),
			"env":    into(&b.Env, texts(`["AWS_PROFILE"]`)),
		},
		blocks: map[string]nested{
			"config":  {keep: func(body *hclsyntax.Body) { b.options = body }},
			"sandbox": {open: func(string) *block { return sandboxBlock(b) }},
		},
	}
}

// sum is a SHA-256 in lower-case hexadecimal digits.
func sum(d *decoder, a *hclsyntax.Attribute) (string, bool) {
	s, ok := text(`"9f86d0…"`)(d, a)
	if !ok {
		return "", false
	}
	bad := func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') }
	if len(s) != 64 || slices.ContainsFunc([]rune(s), bad) {
		return wrong[string](d, a, "is not a SHA-256", "write the 64 lower-case digits that sha256sum prints")
	}
	return s, true
}

func sandboxBlock(b *Backend) *block {
	s := &b.Sandbox
	return &block{
		places: b.places,
		keys: map[string]read{
			"image":           field(s, text(`"python:3.12-slim"`), func(s *backend.Spec) *string { return &s.Image }),
			"pull":            field(s, word[backend.PullPolicy](`"missing"`), func(s *backend.Spec) *backend.PullPolicy { return &s.Pull }),
			"network":         field(s, word[backend.NetworkMode](`"none"`), func(s *backend.Spec) *backend.NetworkMode { return &s.Network }),
			"memory":          field(s, size(`"1GiB"`), func(s *backend.Spec) *int64 { return &s.Memory }),
			"pids":            field(s, whole[int64](0, 1<<53), func(s *backend.Spec) *int64 { return &s.PIDs }),
			"cpus":            field(s, number(math.Inf(-1), math.Inf(1)), func(s *backend.Spec) *float64 { return &s.CPUs }),
			"timeout":         into(&s.Timeout, duration(`"120s"`, backend.Unlimited)),
			"lease":           field(s, duration(`"60s"`, noneOf), func(s *backend.Spec) *time.Duration { return &s.Lease }),
			"idle_timeout":    into(&s.IdleTimeout, duration(`"30m"`, 0)),
			"max_lifetime":    into(&s.MaxLifetime, duration(`"24h"`, 0)),
			"env":             field(s, table(`{ LANG = "C.UTF-8" }`), func(s *backend.Spec) *map[string]string { return &s.Env }),
			"work_dir":        field(s, text(`"/workspace"`), func(s *backend.Spec) *string { return &s.Workspace.Path }),
			"accept_degraded": into(&s.AcceptDegraded, layers),
		},
		blocks: map[string]nested{
			"volume": {label: "/PATH/INSIDE", open: func(target string) *block { return volumeBlock(s, target) }},
		},
		done: func(d *decoder, at hcl.Range, clean bool) {
			if !clean {
				return
			}
			// Each by itself is right; together they may not be.
			if _, err := s.Settle(everything); err != nil {
				key, what, hint := refusal(err)
				if place, ok := b.places[key]; ok {
					at = place
				}
				d.mistake(at, key+": "+what, hint)
			}
		},
	}
}

func volumeBlock(s *backend.Spec, target string) *block {
	m := backend.Mount{Target: target, ReadOnly: true}
	return &block{
		keys: map[string]read{
			"source":    into(&m.Source, shown),
			"read_only": into(&m.ReadOnly, boolean),
		},
		done: func(d *decoder, at hcl.Range, clean bool) {
			if !clean {
				return
			}
			probe := backend.Spec{Mounts: []backend.Mount{m}}
			if _, err := probe.Settle(everything); err != nil {
				_, what, hint := refusal(err)
				d.mistake(at, fmt.Sprintf("volume %q: %s", target, what), hint)
				return
			}
			s.Mounts = append(s.Mounts, m)
		},
	}
}

// shown is a path of this host that a sandbox may be shown. Whether it is there
// matters when one is made.
func shown(d *decoder, a *hclsyntax.Attribute) (string, bool) {
	path, ok := absolute(`"/srv/data"`)(d, a)
	if !ok {
		return "", false
	}
	if what := hostpath.Refused(path); what != "" {
		d.mistake(a.Expr.Range(), a.Name+": "+what, hostpath.Hint)
		return "", false
	}
	return path, true
}

// word is a text of a type of its own.
func word[T ~string](example string) parse[T] {
	return func(d *decoder, a *hclsyntax.Attribute) (T, bool) {
		s, ok := text(example)(d, a)
		return T(s), ok
	}
}

// field returns what reads a value to a field of a sandbox's specification, and
// has the contract's own rules decide whether it is one. So the file knows no
// bounds that could differ from theirs.
func field[T any](s *backend.Spec, p parse[T], of func(*backend.Spec) *T) read {
	return func(d *decoder, a *hclsyntax.Attribute) {
		v, ok := p(d, a)
		if !ok {
			return
		}
		if reflect.ValueOf(v).IsZero() {
			d.mistake(a.Expr.Range(), a.Name+" is zero", "leave the key out for its default")
			return
		}
		var probe backend.Spec
		*of(&probe) = v
		if _, err := probe.Settle(everything); err != nil {
			_, what, hint := refusal(err)
			d.mistake(a.Expr.Range(), a.Name+": "+what, hint)
			return
		}
		*of(s) = v
	}
}

// everything is what a backend might be able to do. What the one in question
// cannot do is found when it is asked.
var everything = []backend.Capability{backend.CapImages, backend.CapBind, backend.CapNetworkFull, backend.CapKeepWorkspace}

// known returns the keys and blocks there are, by their path in the file.
func (b *block) known(prefix string) []string {
	var all []string
	for name := range b.keys {
		all = append(all, prefix+name)
	}
	for _, name := range slices.Sorted(maps.Keys(b.blocks)) {
		all = append(all, prefix+name)
		if n := b.blocks[name]; n.open != nil {
			all = append(all, n.open("x").known(prefix+name+".")...)
		}
	}
	slices.Sort(all)
	return all
}
