package llm

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestRequestOnTheWire(t *testing.T) {
	// Nothing of the SDK's environment may reach the request; a stray OPENAI_BASE_URL would send the key elsewhere.
	t.Setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/elsewhere")
	t.Setenv("OPENAI_API_KEY", "sk-of-the-environment")
	t.Setenv("OPENAI_ORG_ID", "org-of-the-environment")
	t.Setenv("OPENAI_CUSTOM_HEADERS", "X-Stray: 1")

	temperature := 0.0
	e := newEndpoint(t, answer)
	_, err := e.client(t).Complete(t.Context(), Request{
		Model: "m",
		Messages: []Message{
			{Role: RoleSystem, Content: "be brief"},
			{Role: RoleUser, Content: "say <hi> \xff"},
			{Role: RoleAssistant, ToolCalls: []ToolCall{{ID: "c1", Name: "ls", Arguments: `{"path": "."}`}}},
			{Role: RoleTool, ToolCallID: "c1", Content: ""},
			{Role: RoleAssistant, Content: ""},
		},
		Tools:       []Tool{{Name: "ls", Description: "lists", Parameters: json.RawMessage(`{"type":"object","properties":{"z":{},"a":{"maximum":9007199254740993}}}`)}},
		MaxTokens:   9,
		Temperature: &temperature,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}

	r := e.requests[0]
	if r.Method != "POST" || r.URL.Path != "/v1/chat/completions" || r.Header.Get("Authorization") != "Bearer "+testKey || r.UserAgent() != "deep" {
		t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
	}
	for name, values := range r.Header {
		if strings.HasPrefix(name, "X-") || strings.Contains(strings.Join(values, ""), "of-the-environment") {
			t.Errorf("stray header %s: %s", name, values)
		}
	}
	var got, want any
	if err := json.Unmarshal([]byte(e.bodies[0]), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(`{
		"model": "m", "max_tokens": 9, "temperature": 0, "stream": true, "stream_options": {"include_usage": true},
		"messages": [
			{"role": "system", "content": "be brief"},
			{"role": "user", "content": "say <hi> \ufffd"},
			{"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "ls", "arguments": "{\"path\": \".\"}"}}]},
			{"role": "tool", "tool_call_id": "c1", "content": ""},
			{"role": "assistant", "content": ""}
		],
		"tools": [{"type": "function", "function": {"name": "ls", "description": "lists",
			"parameters": {"type": "object", "properties": {"z": {}, "a": {"maximum": 9007199254740993}}}}}]
	}`), &want); err != nil {
		t.Fatal(err)
	}
	if g, w := indent(t, got), indent(t, want); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
	// Decoded JSON has lost what this is about: order, and numbers beyond a float's precision.
	wantIn(t, e.bodies[0], `{"z":{},"a":{"maximum":9007199254740993}}`)
}

func indent(t *testing.T, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestNoKeySendsNoHeader(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t, answer)
	c := e.client(t, func(c *Config) { c.APIKey, c.NoStreamUsage = "", true })
	if _, err := c.Complete(t.Context(), hello, nil); err != nil {
		t.Fatal(err)
	}
	if _, sent := e.requests[0].Header["Authorization"]; sent || strings.Contains(e.bodies[0], "stream_options") {
		t.Errorf("sent %v %s", e.requests[0].Header, e.bodies[0])
	}
}

func TestTokenLimitHasTheNameTheEndpointKnows(t *testing.T) {
	t.Parallel()
	for base, newName := range map[string]bool{
		"": true, "https://x.openai.azure.com/openai/v1": true,
		"http://localhost:11434/v1": false, "https://notapi.openai.com.example/v1": false,
	} {
		c, err := New(Config{BaseURL: base})
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.params(Request{Model: "m", Messages: hello.Messages, MaxTokens: 5})
		if err != nil {
			t.Fatal(err)
		}
		if p.MaxCompletionTokens.Valid() != newName || p.MaxTokens.Valid() == newName {
			t.Errorf("%s: max_completion_tokens %v, max_tokens %v", base, p.MaxCompletionTokens, p.MaxTokens)
		}
	}
}

func TestSenselessRequestIsNotSent(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t, answer)
	c := e.client(t)
	user := hello.Messages[0]
	for name, req := range map[string]Request{
		"no model":         {Messages: hello.Messages},
		"no messages":      {Model: "m"},
		"unknown role":     {Model: "m", Messages: []Message{{Role: "robot"}}},
		"result of what":   {Model: "m", Messages: []Message{user, {Role: RoleTool, Content: "x"}}},
		"user with call":   {Model: "m", Messages: []Message{{Role: RoleUser, ToolCalls: []ToolCall{{ID: "a"}}}}},
		"user with result": {Model: "m", Messages: []Message{{Role: RoleUser, ToolCallID: "a"}}},
		"nameless tool":    {Model: "m", Messages: hello.Messages, Tools: []Tool{{}}},
		"broken schema":    {Model: "m", Messages: hello.Messages, Tools: []Tool{{Name: "x", Parameters: json.RawMessage(`{"a":`)}}},
		"schema is a list": {Model: "m", Messages: hello.Messages, Tools: []Tool{{Name: "x", Parameters: json.RawMessage(`[]`)}}},
		"schema is null":   {Model: "m", Messages: hello.Messages, Tools: []Tool{{Name: "x", Parameters: json.RawMessage(`null`)}}},
	} {
		if _, err := c.Complete(t.Context(), req, nil); !errors.Is(err, ErrBadRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if e.count() != 0 {
		t.Errorf("%d requests were sent", e.count())
	}
}

func TestConfigMistakes(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{
		"scheme":          {BaseURL: "ftp://host/v1"},
		"file":            {BaseURL: "file:///etc/passwd"},
		"no scheme":       {BaseURL: "api.example.com/v1"},
		"no host":         {BaseURL: "https:///v1"},
		"port only":       {BaseURL: "http://:80/v1"},
		"password":        {BaseURL: "https://me:hunter2@host/v1"},
		"broken password": {BaseURL: "https://me:hunter2@ho st/v1"},
		"query":           {BaseURL: "https://host/v1?key=hunter2"},
		"fragment":        {BaseURL: "https://host/v1#x"},
		"key with line":   {APIKey: "hunter2\n"},
		"key not ASCII":   {APIKey: "hunter2é"},
		"tries":           {MaxTries: -1},
		"duration":        {IdleTimeout: -1},
	} {
		_, err := New(cfg)
		if !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the secret is in the error: %v", name, err)
		}
		if !strings.Contains(err.Error(), ";") {
			t.Errorf("%s: no remedy: %v", name, err)
		}
	}
}
