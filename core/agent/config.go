package agent

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/llm"
	"github.com/deep-sandbox/deep/core/tools"
)

// DefaultInstructions tell the model where it is.
const DefaultInstructions = `You are a software developer at work in a sandbox: an isolated Linux machine with a workspace at /workspace. You may write and run code freely there. There may be no network.
Always run what you write, look at what it prints, and mend it until it works. When you are done, say briefly what you did and what came out.`

// Model says which model to ask, and where.
type Model struct {
	// Name as the endpoint knows it.
	Name string
	// BaseURL of an endpoint with Chat Completions; OpenAI's if empty.
	BaseURL string
	// APIKey is sent as a bearer token; none is sent if empty.
	APIKey string
	// MaxOutputTokens bounds one answer; the endpoint's own bound if 0.
	MaxOutputTokens int64
	// MaxTries counts the first try too; 4 if 0.
	MaxTries int
	// IdleTimeout bounds the wait for an answer's beginning and each pause in it;
	// 5 minutes if 0.
	IdleTimeout time.Duration
	// Temperature is sent when set; some models refuse any.
	Temperature *float64
	// NoStreamUsage does not ask for the count of tokens, which some old servers
	// refuse. Limits.Tokens cannot be kept then.
	NoStreamUsage bool
}

// client returns one for a run. Each has its own, so that a retry is told to the
// run it happens to.
func (m Model) client(onRetry func(llm.Retry)) (*llm.Client, error) {
	return llm.New(llm.Config{
		BaseURL: m.BaseURL, APIKey: m.APIKey, MaxTries: m.MaxTries,
		HeaderTimeout: m.IdleTimeout, IdleTimeout: m.IdleTimeout,
		NoStreamUsage: m.NoStreamUsage, OnRetry: onRetry,
	})
}

// Limits end a run that does not end by itself. A zero field is its default, a
// negative one means none.
type Limits struct {
	// Turns of the model; 50 if 0.
	Turns int
	// ToolCalls in all; 200 if 0. A turn that would go over it runs none of its
	// calls.
	ToolCalls int
	// Tokens, prompts and answers of all turns added up, as the endpoint counts
	// them; none if 0. No turn begins once they are used up, or with an endpoint
	// that does not count.
	Tokens int64
	// Repeats of one call, with the same arguments and the same answer, in a row;
	// 5 if 0.
	Repeats int
}

// The defaults of Limits.
const (
	DefaultTurns     = 50
	DefaultToolCalls = 200
	DefaultRepeats   = 5
)

func (l Limits) settle() Limits {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&l.Turns, DefaultTurns)
	def(&l.ToolCalls, DefaultToolCalls)
	def(&l.Repeats, DefaultRepeats)
	return l
}

// DefaultAskTools are the tools that run commands of the model's. Each is approved
// by its own name: who lets commands run and end may not want them to stay.
func DefaultAskTools() []string { return []string{"execute", "execute_background"} }

// Config of an Agent.
type Config struct {
	Model Model
	// Instructions for the model; DefaultInstructions if empty.
	Instructions string
	// Sandbox returns the one to work in. It is called once in a run, by the first
	// tool that needs one; its error ends the run. Who made the sandbox closes it.
	Sandbox func(ctx context.Context) (backend.Sandbox, error)
	// DenyTools names tools that are not offered to the model at all.
	DenyTools []string
	// AskTools names the tools that need approval; DefaultAskTools if nil, none if
	// empty.
	AskTools []string
	// ApprovedTools need none after all: the user approved them ahead.
	ApprovedTools []string
	// Approve is asked for the calls of a turn that need approval, all at once. It
	// may leave some undecided: the run then ends waiting, as it does if Approve
	// is nil. Its error ends the run.
	Approve func(ctx context.Context, calls []Call) ([]Decision, error)
	// Limits of the run.
	Limits Limits
	// Events, if not nil, is told what happens, in order and one event of a run at
	// a time. The run waits for it.
	Events func(Event)
	// Save, if not nil, is called with the state before anything is done that
	// could not be undone, and after it. Its error ends the run: what is not
	// recorded must not happen. It gets a context that outlives a cancelled run.
	// The state is for reading, and only during the call.
	Save func(ctx context.Context, state *State) error
	// ExecuteOutput, if not nil, gets the output of commands as it comes: hostile
	// bytes. A slow one slows the command; its error ends the run.
	ExecuteOutput io.Writer
}

// Agent runs tasks. Each run has its own state; an Agent may be used for several,
// one after the other or at once.
type Agent struct{ config Config }

// New checks the configuration. Nothing is connected to yet. An error is a
// *backend.Error of ErrInvalid, or a *ModelError of ErrConfig.
func New(config Config) (*Agent, error) {
	if config.Model.Name == "" {
		return nil, invalid("model", "no model is named", "name one, for example gpt-4.1")
	}
	if config.Sandbox == nil {
		return nil, invalid("sandbox", "no sandbox to work in", "set Config.Sandbox")
	}
	if config.AskTools == nil {
		config.AskTools = DefaultAskTools()
	}
	for _, list := range []struct {
		field string
		names []string
	}{{"deny", config.DenyTools}, {"ask", config.AskTools}, {"approve", config.ApprovedTools}} {
		if err := checkTools(list.field, list.names); err != nil {
			return nil, err
		}
	}
	client, err := config.Model.client(nil)
	if err != nil {
		return nil, err
	}
	client.Close()
	if config.Instructions == "" {
		config.Instructions = DefaultInstructions
	}
	config.Limits = config.Limits.settle()
	return &Agent{config: config}, nil
}

func checkTools(field string, names []string) error {
	known := tools.Names()
	for _, name := range names {
		if !slices.Contains(known, name) {
			return invalid(field, fmt.Sprintf("there is no tool %q", name), "the tools are "+strings.Join(known, ", "))
		}
	}
	return nil
}

func invalid(path, message, hint string) error {
	return &backend.Error{Kind: backend.ErrInvalid, Op: "agent", Path: path, Message: message, Hint: hint}
}

// asks reports whether calls of a tool need approval.
func (a *Agent) asks(tool string) bool {
	return slices.Contains(a.config.AskTools, tool) && !slices.Contains(a.config.ApprovedTools, tool)
}
