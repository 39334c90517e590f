package config

import (
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/deep-sandbox/deep/core/backend"
)

// Defaults of what a file leaves out.
const (
	DefaultBackend = "local"
	DefaultModel   = "gpt-4.1"
)

// Config is all that was configured. Its zero value is not of use, see Load.
type Config struct {
	// Path of the file, "" if there is none.
	Path string
	// DefaultBackend is the one that a command uses which names none.
	DefaultBackend string
	Model          Model
	Agent          Agent

	backends  map[string]*Backend
	installed []string
	source    *source
}

// Model says which model to ask, and where.
type Model struct {
	Name string
	// BaseURL of the endpoint, "" for the one of OpenAI.
	BaseURL string
	// APIKey to go with BaseURL, "" for none.
	APIKey string
	// MaxOutputTokens bounds one answer, 0 leaves it to the endpoint.
	MaxOutputTokens int64
	// Temperature, nil leaves it to the endpoint.
	Temperature *float64
	// MaxTries of one request, the first one counted; 0 is the client's default.
	MaxTries int
	// IdleTimeout bounds the wait for an answer to begin and each pause in one; 0
	// is the client's default.
	IdleTimeout time.Duration
	// NoStreamUsage leaves out a request that old servers refuse.
	NoStreamUsage bool
}

// Agent says how a run goes on, and when it ends.
type Agent struct {
	// Instructions are added to those the model always gets.
	Instructions string
	// MaxTurns of the model, MaxToolCalls in all, MaxTokens in and out together,
	// MaxRepeats of one call in a row; 0 is the agent's default.
	MaxTurns, MaxToolCalls int
	MaxTokens              int64
	MaxRepeats             int
	// AskTools need approval beside those that always do.
	AskTools []string
	// DenyTools are not offered to the model at all.
	DenyTools []string
}

// Backend is one block `backend "NAME" { }`, or what stands for one that is
// installed and has no block.
type Backend struct {
	Name string
	// Plugin is the path of its program, "" to look for it.
	Plugin string
	// SHA256 the program must have, "" for any.
	SHA256 string
	// Env names the variables of this process that the plugin gets.
	Env []string
	// Sandbox is what its sandboxes are unless a command says otherwise. Fields
	// left out are zero, for Spec.Settle to fill in.
	Sandbox backend.Spec

	// options is the inside of `config { }`, nil if there is none.
	options *hclsyntax.Body
	// secret names the options that must not be printed, once it is known.
	secret map[string]bool
	// program has the places of "plugin", "sha256" and the like.
	program map[string]hcl.Range
	// places of keys of `sandbox { }` in the file, by their names: "memory", `volume "/data"`.
	places map[string]hcl.Range
	source *source
}

// source is a file's text, for quoting it.
type source struct {
	path string
	text []byte
}
