package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

var writeTool = tool{
	spec: Spec{
		Name:        "write_file",
		Description: "Write a file, replacing what it held; missing directories are made. To change part of a file use edit_file.",
		Parameters: json.RawMessage(`{"type":"object","properties":{
			"path":{"type":"string","description":"File, absolute or relative to the workspace."},
			"content":{"type":"string","description":"The whole content."}
		},"required":["path","content"],"additionalProperties":false}`),
	},
	call: (*Set).write,
}

func (s *Set) write(ctx context.Context, raw json.RawMessage) (Answer, error) {
	const usage = "write_file(path, content)"
	var args struct {
		Path    string  `json:"path"`
		Content *string `json:"content"`
	}
	if a, ok := decode(raw, &args, usage); !ok {
		return a, nil
	}
	if args.Path == "" || args.Content == nil {
		return failed("path and content are required; content may be empty. Usage: %s", usage), nil
	}
	sb, err := s.sandbox(ctx)
	if err != nil {
		return Answer{}, err
	}
	reply, err := sb.WriteFile(ctx, &backend.WriteFileRequest{Path: args.Path, Content: strings.NewReader(*args.Content)})
	if err != nil {
		return problem(err)
	}
	s.saw(key(sb, args.Path), reply.SHA256)
	return Answer{Text: fmt.Sprintf("Wrote %s to %s", plural(lines(*args.Content), "line"), backend.Printable(args.Path))}, nil
}
