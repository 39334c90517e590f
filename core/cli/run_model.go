package cli

import (
	"path/filepath"
	"strings"

	"github.com/deep-sandbox/deep/core/agent"
	"github.com/deep-sandbox/deep/core/internal/replay"
)

// replayPrefix begins the name of a model that is a recording.
const replayPrefix = "replay:"

// absoluteReplay makes the path of a recording absolute: a run may be gone on
// with from another directory.
func absoluteReplay(model string) (string, error) {
	path, ok := strings.CutPrefix(model, replayPrefix)
	if !ok {
		return model, nil
	}
	if path == "" {
		return "", &usageError{"replay: names no file", "write replay:FILE, see docs/replay.md"}
	}
	abs, err := filepath.Abs(path)
	return replayPrefix + abs, err
}

// model returns the model of the run. For a recording an endpoint of our own is
// started, which the caller closes; the client is the same.
func (r *runner) model() (agent.Model, *replay.Server, error) {
	m := r.config.Model
	if r.settings.BaseURL != "" {
		m = m.At(r.settings.BaseURL)
	}
	model := agent.Model{
		Name: r.run.Model, BaseURL: m.BaseURL, APIKey: m.APIKey,
		MaxOutputTokens: m.MaxOutputTokens, MaxTries: m.MaxTries, IdleTimeout: m.IdleTimeout,
		Temperature: m.Temperature, NoStreamUsage: m.NoStreamUsage,
	}
	path, ok := strings.CutPrefix(r.run.Model, replayPrefix)
	if !ok {
		if model.BaseURL == "" && model.APIKey == "" {
			return model, nil, &usageError{"there is no API key for the model " + escapeLine(model.Name),
				"set OPENAI_API_KEY, or model { api_key } in the configuration; --base-url asks elsewhere, --model replay:FILE nobody"}
		}
		return model, nil, nil
	}
	recording, err := replay.Load(path)
	if err != nil {
		return model, nil, err
	}
	server, err := replay.Start(recording)
	if err != nil {
		return model, nil, err
	}
	model.Name, model.BaseURL, model.APIKey = "replay", server.BaseURL(), server.APIKey()
	return model, server, nil
}
