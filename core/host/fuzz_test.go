package host

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/deep-sandbox/deep/core/backend"
)

// FuzzDecodeConfig: no block makes it panic; what is accepted is a JSON object of
// the options the schema has, and what is refused tells no secret.
func FuzzDecodeConfig(f *testing.F) {
	for _, s := range []string{
		"host = \"unix:///x\"\ntoken = env(\"T\")\nretries = 3\nfast = null\nflags = [\"a\"]\nlabels = { x = \"1\" }",
		"host = null", "host = [1, null]\nhots = 2\nnested {}", "host = \"${env(1)}\"\nretries = 1e999", "labels = { for k in [1] : k => null }\nhost = <<E\n%{ if true }x%{ endif }\nE\n",
		"host = 1\nretries = 1e-999", "token = [\"secret\"]\nhost = 1 / 0", "flags = [for x in \"a\" : x]...", "retries = -0x1\nfast = \"yes\"\nhost = upper(\"x\")",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		file, diags := hclsyntax.ParseConfig([]byte(source), "config.hcl", hcl.InitialPos)
		if diags.HasErrors() {
			return
		}
		data, diags := DecodeConfig(testSchema, file.Body, evalContext())
		if diags.HasErrors() {
			if data != nil {
				t.Errorf("refused, and %s all the same", data)
			}
			for _, d := range diags {
				if d.Extra == sensitiveOption("token") && (d.Expression != nil || d.EvalContext != nil) {
					t.Errorf("the way to the value of token is open: %v", d)
				}
			}
			return
		}
		var options map[string]any
		if err := json.Unmarshal(data, &options); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		for name, value := range options {
			i := slices.IndexFunc(testSchema, func(a backend.Attribute) bool { return a.Name == name })
			if i < 0 || !ofType(testSchema[i].Type, value) {
				t.Errorf("%s = %v", name, value)
			}
		}
		if _, ok := options["host"]; !ok {
			t.Errorf("a required option is missing in %s", data)
		}
	})
}

// ofType reports whether a value, as JSON has it, is of the type of an option.
func ofType(typ backend.AttributeType, value any) bool {
	isText := func(v any) bool {
		s, ok := v.(string)
		return ok && strings.ToValidUTF8(s, "") == s
	}
	switch v := value.(type) {
	case float64:
		return typ == backend.TypeNumber
	case bool:
		return typ == backend.TypeBool
	case []any:
		return typ == backend.TypeStringList && !slices.ContainsFunc(v, func(e any) bool { return !isText(e) })
	case map[string]any:
		for _, e := range v {
			if !isText(e) {
				return false
			}
		}
		return typ == backend.TypeStringMap
	}
	return typ == backend.TypeString && isText(value)
}
