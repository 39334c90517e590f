package pluginsdk

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/deep-sandbox/deep/core/backend"
)

type testConfig struct {
	Host    string            `deep:"host" default:"unix:///run/it.sock" doc:"Address of the engine."`
	Token   string            `deep:"token,required,sensitive" doc:"Key to it."`
	Retries int64             `deep:"retries" default:"3" doc:"How often to try."`
	Share   float64           `deep:"share" default:"0.5" doc:"How much."`
	Fast    bool              `deep:"fast" default:"true" doc:"Whether to hurry."`
	Flags   []string          `deep:"flags" default:"[\"a\", \"b\"]" doc:"What to pass on."`
	Labels  map[string]string `deep:"labels" doc:"What to stick on."`
	private int               //nolint:unused // to see that it is left alone
	Other   int
}

func testOptions(t *testing.T) []option {
	t.Helper()
	opts, err := options(&testConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return opts
}

func TestSchema(t *testing.T) {
	got := schemaOf(testOptions(t))
	want := backend.Schema{
		{Name: "host", Type: backend.TypeString, Default: `"unix:///run/it.sock"`, Description: "Address of the engine."},
		{Name: "token", Type: backend.TypeString, Required: true, Sensitive: true, Description: "Key to it."},
		{Name: "retries", Type: backend.TypeNumber, Default: "3", Description: "How often to try."},
		{Name: "share", Type: backend.TypeNumber, Default: "0.5", Description: "How much."},
		{Name: "fast", Type: backend.TypeBool, Default: "true", Description: "Whether to hurry."},
		{Name: "flags", Type: backend.TypeStringList, Default: `["a", "b"]`, Description: "What to pass on."},
		{Name: "labels", Type: backend.TypeStringMap, Description: "What to stick on."},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("schema\n%+v\nwant\n%+v", got, want)
	}
}

func TestDecode(t *testing.T) {
	opts := testOptions(t)
	config := &testConfig{Host: "left over", Labels: map[string]string{"left": "over"}, Other: 7}
	err := decode([]byte(`{"token": "s3cret", "retries": 1e3, "share": 2, "flags": ["x"], "fast": null}`), opts, config)
	if err != nil {
		t.Fatal(err)
	}
	want := &testConfig{Host: "unix:///run/it.sock", Token: "s3cret", Retries: 1000, Share: 2, Fast: true, Flags: []string{"x"}, Other: 7}
	if !reflect.DeepEqual(config, want) {
		t.Errorf("decoded %+v, want %+v", config, want)
	}
	// A default that is a list is not shared between two uses of it.
	first, second := &testConfig{}, &testConfig{}
	for _, c := range []*testConfig{first, second} {
		if err := decode([]byte(`{"token":"x"}`), opts, c); err != nil {
			t.Fatal(err)
		}
	}
	first.Flags[0] = "changed"
	if second.Flags[0] != "a" {
		t.Error("two configurations share a default")
	}
}

func TestDecodeRefuses(t *testing.T) {
	opts := testOptions(t)
	for _, c := range []struct{ name, json, path string }{
		{"nothing where something is required", ``, "token"},
		{"null where something is required", `{"token": null}`, "token"},
		{"unknown option", `{"token": "x", "hots": "y"}`, "hots"},
		{"number for a string", `{"token": 5}`, "token"},
		{"string for a number", `{"token": "x", "retries": "5"}`, "retries"},
		{"fraction for a whole number", `{"token": "x", "retries": 1.5}`, "retries"},
		{"huge whole number", `{"token": "x", "retries": 1e30}`, "retries"},
		{"endless number", `{"token": "x", "share": 1e999}`, "share"},
		{"string for a bool", `{"token": "x", "fast": "true"}`, "fast"},
		{"null in a list", `{"token": "x", "flags": ["a", null]}`, "flags"},
		{"number in a list", `{"token": "x", "flags": [1]}`, "flags"},
		{"null in a map", `{"token": "x", "labels": {"a": null}}`, "labels"},
		{"list for a map", `{"token": "x", "labels": []}`, "labels"},
		{"an array", `[]`, ""},
		{"no JSON", `{`, ""},
		{"two objects", `{"token": "x"}{}`, ""},
	} {
		err := decode([]byte(c.json), opts, &testConfig{})
		var e *backend.Error
		if !errors.As(err, &e) || !errors.Is(err, backend.ErrInvalid) || e.Path != c.path {
			t.Errorf("%s: %v, want ErrInvalid about %q", c.name, err, c.path)
		}
	}
}

func TestDecodeDoesNotRepeatValues(t *testing.T) {
	err := decode([]byte(`{"token": ["s3cret"]}`), testOptions(t), &testConfig{})
	if err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%v", err)
	}
}

func TestOptionsRefuses(t *testing.T) {
	for name, config := range map[string]any{
		"no pointer": testConfig{},
		"no struct":  new(int),
		"unknown type": &struct {
			A int `deep:"a" doc:"x"`
		}{}, //nolint:govet
		"no doc": &struct {
			A string `deep:"a"`
		}{}, //nolint:govet
		"bad name": &struct {
			A string `deep:"A-b" doc:"x"`
		}{}, //nolint:govet
		"unknown flag": &struct {
			A string `deep:"a,secret" doc:"x"`
		}{}, //nolint:govet
		"bad default": &struct {
			A int64 `deep:"a" default:"x" doc:"x"`
		}{}, //nolint:govet
		"required, default": &struct {
			A string `deep:"a,required" default:"x" doc:"x"`
		}{}, //nolint:govet
		"two of one name": &struct {
			A, B string `deep:"a" doc:"x"`
		}{}, //nolint:govet
		"field not exported": &struct {
			a string `deep:"a" doc:"x"`
		}{}, //nolint:govet,unused
	} {
		if _, err := options(config); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if opts, err := options(nil); err != nil || opts != nil {
		t.Errorf("nil: %v, %v", opts, err)
	}
}
