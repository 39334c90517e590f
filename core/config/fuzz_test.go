package config

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// FuzzDecode: no text makes it panic, and each mistake is in the file.
func FuzzDecode(f *testing.F) {
	example, err := os.ReadFile("../../config.hcl.example")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(disabled.ReplaceAllString(string(example), "$1$2"))
	f.Add("backend \"x\" {\n sandbox { memory = \"1g\"\n volume \"\" {} }\n}\nmodel { api_key = env(1, null, []) }")
	f.Add("a = <<E\n${env(\"X\")}\nE\n")
	f.Fuzz(func(t *testing.T, text string) {
		c := newConfig(installed)
		err := c.decode(&source{path: "f", text: []byte(text)}, Options{Installed: installed, Tools: tools})
		var e *Error
		if err == nil {
			return
		}
		if !errors.As(err, &e) || len(e.Mistakes) == 0 {
			t.Fatalf("%v holds no mistakes", err)
		}
		lines := strings.Count(text, "\n") + 1
		for _, m := range e.Mistakes {
			if m.Line < 0 || m.Line > lines || m.What == "" {
				t.Errorf("%+v is not a mistake in %d lines", m, lines)
			}
		}
	})
}
