package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

const maxGlobRows = 100

var globTool = tool{
	spec: Spec{
		Name:        "glob",
		Description: "Find files by pattern, newest first. `*.py` is the directory itself, `**/*.py` any depth; ?, [a-z] and {a,b} work.",
		Parameters: json.RawMessage(`{"type":"object","properties":{
			"pattern":{"type":"string","description":"Pattern, relative to path."},
			"path":{"type":"string","description":"Directory to look in. Default: the workspace."}
		},"required":["pattern"],"additionalProperties":false}`),
	},
	call: (*Set).glob,
}

func (s *Set) glob(ctx context.Context, raw json.RawMessage) (Answer, error) {
	const usage = `glob(pattern, path=".")`
	args := struct {
		Pattern string `json:"pattern"`
		Path    string `json:"path"`
	}{Path: "."}
	if a, ok := decode(raw, &args, usage); !ok {
		return a, nil
	}
	if args.Pattern == "" {
		return failed("pattern is required. Usage: %s", usage), nil
	}
	sb, err := s.sandbox(ctx)
	if err != nil {
		return Answer{}, err
	}
	reply, err := sb.Glob(ctx, &backend.GlobRequest{Path: args.Path, Pattern: args.Pattern, Limit: maxGlobRows})
	if err != nil {
		return problem(err)
	}
	var b strings.Builder
	if len(reply.Matches) == 0 {
		b.WriteString("No files match.\n")
	}
	for _, m := range reply.Matches {
		fmt.Fprintln(&b, backend.Printable(below(args.Path, m.Path)))
	}
	if reply.Truncated {
		fmt.Fprintf(&b, "... and %d more\n", reply.Total-len(reply.Matches))
	}
	unreadable(&b, args.Path, reply.Unreadable)
	return Answer{Text: b.String(), Truncated: reply.Truncated}, nil
}

// unreadable says which places a search could not look into, so that "no
// matches" is not taken for the whole truth.
func unreadable(b *strings.Builder, dir string, paths []string) {
	if len(paths) == 0 {
		return
	}
	shown := make([]string, 0, 5)
	for _, p := range paths[:min(5, len(paths))] {
		shown = append(shown, backend.Printable(below(dir, p)))
	}
	fmt.Fprintf(b, "Not searched for want of permission: %s", strings.Join(shown, ", "))
	if rest := len(paths) - len(shown); rest > 0 {
		fmt.Fprintf(b, " and %d more", rest)
	}
	b.WriteString("\n")
}
