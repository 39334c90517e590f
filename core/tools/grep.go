package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

const maxGrepRows = 50

var grepTool = tool{
	spec: Spec{
		Name:        "grep",
		Description: "Search the content of files with a regular expression (RE2). Binary files, hidden ones and what .gitignore names are left out unless asked for.",
		Parameters: json.RawMessage(`{"type":"object","properties":{
			"pattern":{"type":"string","description":"RE2 expression."},
			"path":{"type":"string","description":"Directory or file. Default: the workspace."},
			"glob":{"type":"string","description":"Only files that match, for example *.py or src/**/*.go."},
			"output_mode":{"type":"string","enum":["content","files_with_matches","count"],"description":"Lines (the default), only the names of files, or the number of lines in each."},
			"ignore_hidden":{"type":"boolean","description":"Leave out hidden files. Default: true."}
		},"required":["pattern"],"additionalProperties":false}`),
	},
	call: (*Set).grep,
}

var grepModes = map[string]backend.GrepMode{
	"":                   backend.GrepLines,
	"content":            backend.GrepLines,
	"files_with_matches": backend.GrepFiles,
	"count":              backend.GrepCount,
}

func (s *Set) grep(ctx context.Context, raw json.RawMessage) (Answer, error) {
	const usage = `grep(pattern, path=".", glob, output_mode="content", ignore_hidden=true)`
	args := struct {
		Pattern      string `json:"pattern"`
		Path         string `json:"path"`
		Glob         string `json:"glob"`
		OutputMode   string `json:"output_mode"`
		IgnoreHidden bool   `json:"ignore_hidden"`
	}{Path: ".", IgnoreHidden: true}
	if a, ok := decode(raw, &args, usage); !ok {
		return a, nil
	}
	if args.Pattern == "" {
		return failed("pattern is required. Usage: %s", usage), nil
	}
	mode, ok := grepModes[args.OutputMode]
	if !ok {
		return failed("output_mode is %q; it is one of content, files_with_matches and count.", args.OutputMode), nil
	}
	req := &backend.GrepRequest{
		Path: args.Path, Pattern: args.Pattern, Hidden: !args.IgnoreHidden, Mode: mode, Limit: maxGrepRows,
	}
	if args.Glob != "" {
		req.Include = []string{args.Glob}
	}
	sb, err := s.sandbox(ctx)
	if err != nil {
		return Answer{}, err
	}
	reply, err := sb.Grep(ctx, req)
	if err != nil {
		return problem(err)
	}
	dir, err := s.searched(ctx, sb, args.Path, reply.Matches)
	if err != nil {
		return Answer{}, err
	}
	var b strings.Builder
	if len(reply.Matches) == 0 {
		fmt.Fprintf(&b, "No matches in %s.\n", plural(int64(reply.Searched), "file"))
	}
	for _, m := range reply.Matches {
		name := backend.Printable(below(dir, m.Path))
		switch mode {
		case backend.GrepFiles:
			fmt.Fprintln(&b, name)
		case backend.GrepCount:
			fmt.Fprintf(&b, "%s: %d\n", name, m.Count)
		default:
			text := m.Text
			if m.Cut {
				text += " [line cut]"
			}
			fmt.Fprintf(&b, "%s:%d: %s\n", name, m.Line, text)
		}
	}
	if reply.Truncated {
		fmt.Fprintf(&b, "... and more: the first %d are shown. Narrow the search with path, glob or a longer pattern.\n", len(reply.Matches))
	}
	unreadable(&b, dir, reply.Unreadable)
	return Answer{Text: b.String(), Truncated: reply.Truncated}, nil
}

// searched returns the directory that the paths of matches are relative to. Of a
// file that was named explicitly, they are its bare name.
func (s *Set) searched(ctx context.Context, sb backend.Sandbox, p string, matches []backend.GrepMatch) (string, error) {
	dir, base := path.Split(p)
	if !slices.ContainsFunc(matches, func(m backend.GrepMatch) bool { return m.Path == base }) {
		return p, nil
	}
	info, err := sb.Stat(ctx, &backend.StatRequest{Path: p, Follow: true})
	if err != nil {
		_, fatal := problem(err) // it vanished a moment ago: the matches were there
		return p, fatal
	}
	if info.Type == backend.TypeDirectory {
		return p, nil
	}
	return dir, nil
}
