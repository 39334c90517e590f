package config

import (
	"os"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Options of Load.
type Options struct {
	// Path of the file, where the user named one; Locate finds it otherwise.
	Path string
	// Installed names the backends there are.
	Installed []string
	// Tools names those a model may be offered, for the key that denies some.
	Tools []string
}

// Load reads the configuration. Mistakes in the file come all at once, as an
// *Error; a file that was asked for and is not there, or that cannot be trusted,
// is a *FileError.
func Load(o Options) (*Config, error) {
	path, err := Locate(o.Path)
	if err != nil {
		return nil, err
	}
	c := newConfig(o.Installed)
	if path != "" {
		text, err := readTrusted(path)
		if err != nil {
			return nil, err
		}
		if err := c.decode(&source{path: path, text: text}, o); err != nil {
			return nil, err
		}
	}
	c.Model.complete(os.Getenv)
	return c, nil
}

func newConfig(installed []string) *Config {
	return &Config{
		DefaultBackend: DefaultBackend,
		Model:          Model{Name: DefaultModel},
		backends:       map[string]*Backend{},
		installed:      slices.Clone(installed),
	}
}

// decode reads the file's text into c.
func (c *Config) decode(src *source, o Options) error {
	c.Path, c.source = src.path, src
	file, diags := hclsyntax.ParseConfig(src.text, src.path, hcl.InitialPos)
	d := &decoder{source: src, evaluation: evaluation(os.LookupEnv), diags: diags}
	// After a syntax error what was understood is a guess: complaints about it
	// would hide the one that counts.
	if !diags.HasErrors() {
		d.checkNumbers(file.Body.(*hclsyntax.Body))
	}
	if !d.diags.HasErrors() {
		d.body(file.Body.(*hclsyntax.Body), root(c, o.Tools), hcl.Range{})
	}
	return d.err()
}

// complete fills in what the file leaves out from the environment. A key goes
// only where its owner meant it to go: the one of the environment is not sent to
// an address of the file.
func (m *Model) complete(getenv func(string) string) {
	if m.BaseURL == "" && m.APIKey == "" {
		m.APIKey = getenv("OPENAI_API_KEY")
	}
	if m.BaseURL == "" {
		m.BaseURL = getenv("OPENAI_BASE_URL")
	}
}

// At returns m with another address, as a command line names it. The key of the
// configuration is for its own address; another one gets that of the environment.
func (m Model) At(baseURL string) Model {
	if baseURL != m.BaseURL {
		m.BaseURL, m.APIKey = baseURL, os.Getenv("OPENAI_API_KEY")
	}
	return m
}
