package cli

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/deep-sandbox/deep/core/agent"
)

// describeCall is what a call does, for people: as a shell would have it for a
// command. It is not escaped.
func describeCall(call agent.Call) string {
	var args struct {
		Command string `json:"command"`
		Path    string `json:"path"`
		Pattern string `json:"pattern"`
		Content string `json:"content"`
		Timeout int    `json:"timeout"`
		ID      string `json:"id"`
	}
	if err := json.Unmarshal([]byte(call.Arguments), &args); err != nil {
		return call.Tool + " " + call.Arguments // the model slipped; this is all there is
	}
	switch call.Tool {
	case "execute":
		return "$ " + strings.ReplaceAll(strings.TrimRight(args.Command, "\n"), "\n", "\n  ")
	case "execute_background":
		return "& " + strings.ReplaceAll(strings.TrimRight(args.Command, "\n"), "\n", "\n  ")
	case "read_output", "kill":
		return strings.TrimRight(call.Tool+" "+args.ID, " ")
	case "write_file":
		return fmt.Sprintf("%s %s (%s)", call.Tool, args.Path, count(strings.Count(args.Content, "\n"), "line"))
	case "glob", "grep":
		return strings.TrimRight(fmt.Sprintf("%s %s %s", call.Tool, args.Pattern, args.Path), " ")
	case "ls", "read_file", "edit_file":
		return strings.TrimRight(call.Tool+" "+args.Path, " ")
	}
	return call.Tool
}

// indent puts a prefix before each line.
func indent(s, prefix string) string {
	return prefix + strings.ReplaceAll(s, "\n", "\n"+prefix)
}

// shellQuote returns s as one word for a shell.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:=@%+,", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(escapeLine(s), "'", `'\''`) + "'"
}
