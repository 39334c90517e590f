package cli

import (
	"encoding/json"
	"unicode/utf8"

	"github.com/deep-sandbox/deep/core/config"
)

// jsonBytes are bytes in JSON: a string where they are text, else an object
// {"base64": "…"}, so that nothing is lost and nothing is guessed.
type jsonBytes []byte

func (b jsonBytes) MarshalJSON() ([]byte, error) {
	if utf8.Valid(b) {
		return json.Marshal(string(b))
	}
	return json.Marshal(map[string][]byte{"base64": b})
}

// mistakeInConfig is one mistake of a configuration.
type mistakeInConfig struct {
	File      string `json:"file,omitempty"`
	Line      int    `json:"line,omitempty"`
	Column    int    `json:"column,omitempty"`
	EndLine   int    `json:"end_line,omitempty"`
	EndColumn int    `json:"end_column,omitempty"`
	What      string `json:"what"`
	Hint      string `json:"hint,omitempty"`
}

func mistakesInJSON(e *config.Error) []mistakeInConfig {
	list := make([]mistakeInConfig, 0, len(e.Mistakes))
	for _, m := range e.Mistakes {
		list = append(list, mistakeInConfig{
			File: m.File, Line: m.Line, Column: m.Column, EndLine: m.EndLine, EndColumn: m.EndCol, What: m.What, Hint: m.Hint,
		})
	}
	return list
}
