package cli

import (
	"context"
	"errors"

	"github.com/deep-sandbox/deep/core/backend"
)

// outputKept of each stream is in the JSON of a result. More is counted, and said
// to be missing; the command goes on.
const outputKept = 16 << 20

// execResult is the result of `deep exec --json`. Fields are only added.
type execResult struct {
	ID      string `json:"id"`
	Backend string `json:"backend"`
	Image   string `json:"image,omitempty"`
	// Outcome is the truth; exit_code 124 and 125 may be the command's own.
	Outcome         string    `json:"outcome"`
	ExitCode        int       `json:"exit_code"`
	Signal          int       `json:"signal,omitempty"`
	StartError      string    `json:"start_error,omitempty"`
	OOMPossible     bool      `json:"oom_possible,omitempty"`
	Stdout          jsonBytes `json:"stdout"`
	Stderr          jsonBytes `json:"stderr"`
	StdoutBytes     int64     `json:"stdout_bytes"`
	StderrBytes     int64     `json:"stderr_bytes"`
	StdoutTruncated bool      `json:"stdout_truncated,omitempty"`
	StderrTruncated bool      `json:"stderr_truncated,omitempty"`
	Seconds         float64   `json:"seconds"`
	UserSeconds     float64   `json:"user_seconds"`
	SystemSeconds   float64   `json:"system_seconds"`
	MaxRSS          int64     `json:"max_rss"`
	Degraded        []string  `json:"degraded"`
	Error           *failure  `json:"error,omitempty"`
}

// execJSON runs the command and prints one object, whatever comes: without a
// result it holds the error alone.
func (a *app) execJSON(ctx context.Context, o *execOptions, argv []string) error {
	var result *execResult
	err := a.inSandbox(ctx, o, argv, func(sb backend.Sandbox, req *backend.ExecRequest) error {
		var out, errs head
		req.Stdout, req.Stderr = &out, &errs
		res, err := sb.Exec(ctx, req)
		if res == nil {
			return err
		}
		info := sb.Info()
		result = &execResult{
			ID: res.ID, Backend: info.Backend, Image: info.Image,
			Outcome: string(res.Outcome), ExitCode: execCode(res), Signal: res.Signal, StartError: res.StartError, OOMPossible: res.OOMPossible,
			Stdout: out.kept, StdoutBytes: res.StdoutBytes, StdoutTruncated: out.cut,
			Stderr: errs.kept, StderrBytes: res.StderrBytes, StderrTruncated: errs.cut,
			Seconds: res.Duration.Seconds(), UserSeconds: res.UserTime.Seconds(), SystemSeconds: res.SystemTime.Seconds(),
			MaxRSS: res.MaxRSS, Degraded: append([]string{}, res.Degraded...),
		}
		if err != nil {
			return err
		}
		return a.execEnded(ctx, sb, res, req.Timeout)
	})
	var failed *failure
	if exit := (*exitError)(nil); err != nil && !errors.As(err, &exit) {
		failed = newFailure(err)
	}
	if result == nil {
		return errors.Join(err, printJSON(a.Out, map[string]*failure{"error": failed}))
	}
	result.Error = failed
	return errors.Join(err, printJSON(a.Out, result))
}

// head keeps the beginning of what is written to it.
type head struct {
	kept []byte
	cut  bool
}

func (h *head) Write(p []byte) (int, error) {
	room := outputKept - len(h.kept)
	h.kept = append(h.kept, p[:min(room, len(p))]...)
	h.cut = h.cut || len(p) > room
	return len(p), nil
}
