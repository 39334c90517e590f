package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

var lsTool = tool{
	spec: Spec{
		Name:        "ls",
		Description: "List a directory: directories first, with a trailing slash, then files with their sizes.",
		Parameters: json.RawMessage(`{"type":"object","properties":{
			"path":{"type":"string","description":"Directory, absolute or relative to the workspace. Default: the workspace."}
		},"additionalProperties":false}`),
	},
	call: (*Set).ls,
}

func (s *Set) ls(ctx context.Context, raw json.RawMessage) (Answer, error) {
	args := struct {
		Path string `json:"path"`
	}{Path: "."}
	if a, ok := decode(raw, &args, `ls(path=".")`); !ok {
		return a, nil
	}
	sb, err := s.sandbox(ctx)
	if err != nil {
		return Answer{}, err
	}
	reply, err := sb.List(ctx, &backend.ListDirRequest{Path: args.Path})
	if err != nil {
		return problem(err)
	}
	if len(reply.Entries) == 0 {
		return Answer{Text: "The directory is empty."}, nil
	}
	var b strings.Builder
	for _, e := range reply.Entries {
		name := backend.Printable(e.Path)
		switch e.Type {
		case backend.TypeDirectory:
			fmt.Fprintf(&b, "%s/\n", name)
		case backend.TypeSymlink:
			fmt.Fprintf(&b, "%s -> %s\n", name, backend.Printable(e.Target))
		case backend.TypeRegular:
			fmt.Fprintf(&b, "%s  %s\n", name, size(e.Size))
		default:
			fmt.Fprintf(&b, "%s  (%s)\n", name, e.Type)
		}
	}
	rest := reply.Total - len(reply.Entries)
	if reply.Next != "" {
		fmt.Fprintf(&b, "... and %d more\n", rest)
	}
	return Answer{Text: b.String(), Truncated: reply.Next != ""}, nil
}
