package host

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"

	"github.com/deep-sandbox/deep/core/backend"
)

var testSchema = backend.Schema{
	{Name: "host", Type: backend.TypeString, Required: true},
	{Name: "token", Type: backend.TypeString, Sensitive: true},
	{Name: "retries", Type: backend.TypeNumber},
	{Name: "fast", Type: backend.TypeBool},
	{Name: "flags", Type: backend.TypeStringList},
	{Name: "labels", Type: backend.TypeStringMap},
}

func parse(t *testing.T, source string) hcl.Body {
	t.Helper()
	f, diags := hclsyntax.ParseConfig([]byte(source), "config.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return f.Body
}

// evalContext has env("X"), which returns "value of X".
func evalContext() *hcl.EvalContext {
	return &hcl.EvalContext{Functions: map[string]function.Function{
		"env": function.New(&function.Spec{
			Params: []function.Parameter{{Name: "name", Type: cty.String}},
			Type:   function.StaticReturnType(cty.String),
			Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
				return cty.StringVal("value of " + args[0].AsString()), nil
			},
		}),
	}}
}

func TestDecodeConfig(t *testing.T) {
	data, diags := DecodeConfig(testSchema, parse(t, `
		host    = "unix:///run/it.sock"
		token   = env("TOKEN")
		retries = 3
		fast    = null
		flags   = ["a", "b"]
		labels  = { x = "1", "y z" = "2" }
	`), evalContext())
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	var got map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"host": "unix:///run/it.sock", "token": "value of TOKEN", "retries": 3.0,
		"flags": []any{"a", "b"}, "labels": map[string]any{"x": "1", "y z": "2"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("decoded %s", data)
	}
}

func TestDecodeConfigOfNothing(t *testing.T) {
	data, diags := DecodeConfig(testSchema[1:], nil, nil)
	if diags.HasErrors() || string(data) != "{}" {
		t.Errorf("%s, %v", data, diags)
	}
	if _, diags := DecodeConfig(testSchema, nil, nil); !diags.HasErrors() {
		t.Error("a required option was not missed")
	}
}

func TestDecodeConfigRefuses(t *testing.T) {
	for _, c := range []struct {
		name, source string
		// start and end of the place, text what the message has.
		start, end int
		text       string
	}{
		{"unknown option", `host = "x"` + "\n" + `retires = 3`, 1, 8, `Did you mean "retries"?`},
		{"string for a number", `host = "x"` + "\n" + `retries = "many"`, 11, 17, "number"},
		{"list for a string", `host = ["x"]`, 8, 13, "string"},
		{"number for a list", `host = "x"` + "\n" + `flags = 3`, 9, 10, "list"},
		{"null in a list", `host = "x"` + "\n" + `flags = ["a", null]`, 9, 20, "null"},
		{"null in a map", `host = "x"` + "\n" + `labels = { a = null }`, 10, 22, "null"},
		{"null for a required one", `host = null`, 8, 12, "required"},
		{"a block", `host = "x"` + "\n" + `token { }`, 1, 6, "token"},
		{"unknown function", `host = evn("X")`, 8, 11, "evn"},
	} {
		data, diags := DecodeConfig(testSchema, parse(t, c.source), evalContext())
		if !diags.HasErrors() || data != nil {
			t.Errorf("%s: decoded %s", c.name, data)
			continue
		}
		d := diags[0]
		if d.Subject == nil || d.Subject.Filename != "config.hcl" || d.Subject.Start.Column != c.start || d.Subject.End.Column != c.end {
			t.Errorf("%s: at %v, want columns %d to %d: %v", c.name, d.Subject, c.start, c.end, d)
		}
		if !strings.Contains(d.Summary+d.Detail, c.text) {
			t.Errorf("%s: %v, want %q in it", c.name, d, c.text)
		}
	}
}

// A message about a secret neither has it nor leads a printer to it.
func TestDecodeConfigKeepsSecrets(t *testing.T) {
	_, diags := DecodeConfig(testSchema, parse(t, `host = "x"`+"\n"+`token = ["s3cret"]`), evalContext())
	if len(diags) != 1 {
		t.Fatal(diags)
	}
	d := diags[0]
	extra, ok := d.Extra.(SensitiveExtra)
	if !ok || extra.SensitiveOption() != "token" || d.Expression != nil || d.EvalContext != nil || strings.Contains(d.Error(), "s3cret") {
		t.Errorf("%v, extra %v", d, d.Extra)
	}
}

func TestDecodeConfigOfAFaultyPlugin(t *testing.T) {
	_, diags := DecodeConfig(backend.Schema{{Name: "x", Type: "object"}}, parse(t, `x = 1`), nil)
	if !diags.HasErrors() || !strings.Contains(diags[0].Detail, "object") {
		t.Error(diags)
	}
}
