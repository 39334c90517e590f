package tools

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/deep-sandbox/deep/core/backend"
)

var editTool = tool{
	spec: Spec{
		Name:        "edit_file",
		Description: "Replace exact text in a file. old_string must occur exactly once unless replace_all is true; give enough of the lines around it. Read the file first.",
		Parameters: json.RawMessage(`{"type":"object","properties":{
			"path":{"type":"string","description":"File, absolute or relative to the workspace."},
			"old_string":{"type":"string","description":"Text to find, exactly as it is in the file, without line numbers."},
			"new_string":{"type":"string","description":"Text to put in its place."},
			"replace_all":{"type":"boolean","description":"Replace every occurrence. Default: false."}
		},"required":["path","old_string","new_string"],"additionalProperties":false}`),
	},
	call: (*Set).edit,
}

func (s *Set) edit(ctx context.Context, raw json.RawMessage) (Answer, error) {
	const usage = "edit_file(path, old_string, new_string, replace_all=false)"
	var args struct {
		Path string  `json:"path"`
		Old  *string `json:"old_string"`
		New  *string `json:"new_string"`
		All  bool    `json:"replace_all"`
	}
	if a, ok := decode(raw, &args, usage); !ok {
		return a, nil
	}
	if args.Path == "" || args.Old == nil || args.New == nil {
		return failed("path, old_string and new_string are required. Usage: %s", usage), nil
	}
	if *args.Old == "" {
		return failed("old_string is empty. To make a file use write_file; to add to one, replace a line by itself and the new text."), nil
	}
	if *args.Old == *args.New {
		return failed("old_string and new_string are the same: there is nothing to change."), nil
	}
	sb, err := s.sandbox(ctx)
	if err != nil {
		return Answer{}, err
	}
	path, known := backend.Printable(args.Path), s.seen(key(sb, args.Path))
	reply, err := sb.Edit(ctx, &backend.EditRequest{
		Path: args.Path, Old: []byte(*args.Old), New: []byte(*args.New), All: args.All, IfSHA256: known,
	})
	if err != nil {
		return s.editProblem(ctx, sb, args.Path, err)
	}
	s.saw(key(sb, args.Path), reply.SHA256)
	return Answer{Text: fmt.Sprintf("Replaced %s in %s", plural(int64(reply.Replaced), "occurrence"), path)}, nil
}

// editProblem says what to do about each way an edit fails.
func (s *Set) editProblem(ctx context.Context, sb backend.Sandbox, path string, err error) (Answer, error) {
	name := backend.Printable(path)
	var e *backend.Error
	switch {
	case errors.As(err, &e) && errors.Is(err, backend.ErrConflict) && e.Count > 0:
		return failed("old_string occurs %d times in %s: add more of the surrounding lines so that it occurs once, or set replace_all.", e.Count, name), nil
	case errors.Is(err, backend.ErrConflict):
		return failed("%s has changed since you last read it, so it was not edited. Read it again, then edit.", name), nil
	case errors.Is(err, backend.ErrNotFound):
		// Missing file or missing text: the file itself tells them apart.
		_, statErr := sb.Stat(ctx, &backend.StatRequest{Path: path, Follow: true})
		if errors.Is(statErr, backend.ErrNotFound) {
			return failed("There is no file %s. Use write_file to make it, or ls and glob to find it.", name), nil
		}
		if statErr != nil {
			return problem(statErr)
		}
		return failed("old_string was not found in %s. Read the file again and copy the text exactly, with its white space and without line numbers.", name), nil
	default:
		return problem(err)
	}
}
