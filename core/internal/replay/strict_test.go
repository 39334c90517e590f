package replay_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/deep-sandbox/deep/core/internal/replay"
)

type answer struct {
	status int
	header http.Header
	body   string
}

// post sends a body with the server's key.
func post(t *testing.T, s *replay.Server, body string) answer {
	t.Helper()
	return send(t, "POST", s.BaseURL()+"/chat/completions", body, "Bearer "+s.APIKey(), "application/json")
}

func send(t *testing.T, method, url, body, authorization, contentType string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

const twoSteps = `{"version": 1, "steps": [
	{"reply": {"content": "Ünï<b>", "tool_calls": [{"name": "ls", "arguments": {"path": "."}}, {"name": "rm", "arguments": {}}]}},
	{"reply": {"content": "done"}}
]}`

func TestOnlyWhoHasTheKey(t *testing.T) {
	t.Parallel()
	s := play(t, parse(t, twoSteps))
	url, key := s.BaseURL()+"/chat/completions", "Bearer "+s.APIKey()
	body := `{"model":"m","messages":[{"role":"user","content":"x"}]}`
	for name, tc := range map[string]struct {
		status                       int
		method, url, auth, mediaType string
	}{
		"all right":     {200, "POST", url, key, "application/json; charset=utf-8"},
		"no key":        {401, "POST", url, "", "application/json"},
		"wrong key":     {401, "POST", url, key + "x", "application/json"},
		"other scheme":  {401, "POST", url, "Basic " + s.APIKey(), "application/json"},
		"path, no key":  {401, "GET", s.BaseURL() + "/models", "", ""},
		"other path":    {404, "POST", s.BaseURL() + "/completions", key, "application/json"},
		"other method":  {405, "GET", url, key, ""},
		"a page's form": {400, "POST", url, key, "text/plain"},
	} {
		got := send(t, tc.method, tc.url, body, tc.auth, tc.mediaType)
		if got.status != tc.status {
			t.Errorf("%s: %d, want %d: %s", name, got.status, tc.status, got.body)
		}
		if strings.Contains(got.body, s.APIKey()) {
			t.Errorf("%s: the key is in the answer", name)
		}
	}
	if !strings.HasPrefix(s.BaseURL(), "http://127.0.0.1:") {
		t.Errorf("listens on %s", s.BaseURL())
	}
	if other := play(t, parse(t, twoSteps)); other.APIKey() == s.APIKey() {
		t.Error("two servers with one key")
	}
}

// Parts of conversations, from which the tables below are made.
const (
	user  = `{"role":"user","content":"x"}`
	turn1 = `{"role":"assistant","content":"Ünï<b>","tool_calls":[` + ls1 + `,` + rm1 + `]}`
	ls1   = `{"id":"call_1_1","type":"function","function":{"name":"ls","arguments":"{\"path\":\".\"}"}}`
	rm1   = `{"id":"call_1_2","type":"function","function":{"name":"rm","arguments":"{}"}}`
	res1  = `{"role":"tool","tool_call_id":"call_1_1","content":"r"}`
	res2  = `{"role":"tool","tool_call_id":"call_1_2","content":"r"}`
	tool1 = `{"type":"function","function":{"name":"ls","description":"d","parameters":{"type":"object"}}}`
)

func messages(m ...string) string {
	return fmt.Sprintf(`{"model":"m","messages":[%s]}`, strings.Join(m, ","))
}

func with(fields string) string {
	return fmt.Sprintf(`{"model":"m","messages":[%s],%s}`, user, fields)
}

func TestGoodRequests(t *testing.T) {
	t.Parallel()
	s := play(t, parse(t, twoSteps))
	for name, body := range map[string]string{
		"plain":            messages(user),
		"all roles":        messages(`{"role":"system","content":"s"}`, `{"role":"developer","content":"d","name":"n"}`, user, turn1, res1, res2),
		"results swapped":  messages(user, turn1, res2, res1),
		"then a user":      messages(user, turn1, res1, res2, user),
		"content in parts": messages(`{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}`),
		"nulls":            messages(user, strings.Replace(turn1, `,"tool_calls"`, `,"refusal":null,"tool_calls"`, 1), res1, res2),
		"spaced arguments": messages(user, strings.Replace(turn1, `{\"path\":\".\"}`, `{ \"path\" : \"\\u002e\" }`, 1), res1, res2),
		"settings":         with(`"temperature":0.5,"max_tokens":5,"n":1,"tools":[` + tool1 + `],"tool_choice":"auto","seed":1,"stream":false`),
	} {
		if got := post(t, s.Server, body); got.status != 200 {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	s := play(t, parse(t, twoSteps))
	call := func(fields string) string {
		return messages(user, `{"role":"assistant","tool_calls":[{`+fields+`}]}`)
	}
	for name, tc := range map[string]struct{ body, param, text string }{
		"not JSON":              {`{"model":`, "", "not JSON"},
		"nothing":               {``, "", "not JSON"},
		"two values":            {messages(user) + `{}`, "", "not JSON"},
		"a list":                {`[]`, "", "must be an object"},
		"no model":              {`{"messages":[` + user + `]}`, "", `"model"`},
		"empty model":           {strings.Replace(messages(user), `"m"`, `""`, 1), "model", "name a model"},
		"blank model":           {strings.Replace(messages(user), `"m"`, `" "`, 1), "model", "name a model"},
		"no messages":           {`{"model":"m"}`, "", `"messages"`},
		"empty messages":        {messages(), "messages", "empty"},
		"unknown field":         {with(`"temprature":1`), "", `"temprature"`},
		"field in capitals":     {strings.Replace(messages(user), `"model"`, `"Model"`, 1), "", `"Model"`},
		"key twice":             {with(`"model":"n"`), "", "twice"},
		"unknown role":          {messages(`{"role":"robot","content":"x"}`), "messages[0].role", `"robot"`},
		"legacy role":           {messages(`{"role":"function","name":"f","content":"x"}`), "messages[0].role", "unknown role"},
		"no role":               {messages(`{"content":"x"}`), "messages[0]", `"role"`},
		"message is text":       {messages(`"x"`), "messages[0]", "object"},
		"field in message":      {messages(user, `{"role":"user","content":"x","id":"7"}`), "messages[1]", `"id"`},
		"calls of a user":       {messages(`{"role":"user","content":"x","tool_calls":[` + ls1 + `]}`), "messages[0]", `"tool_calls"`},
		"user without content":  {messages(`{"role":"user","content":null}`), "messages[0]", "no content"},
		"empty assistant":       {messages(user, `{"role":"assistant"}`), "messages[1]", "no content"},
		"content of number":     {messages(`{"role":"user","content":5}`), "messages[0].content", "array"},
		"picture":               {messages(`{"role":"user","content":[{"type":"image_url","text":""}]}`), "messages[0].content[0].type", "text only"},
		"empty calls":           {messages(user, `{"role":"assistant","content":"x","tool_calls":[]}`), "messages[1].tool_calls", "empty"},
		"call without id":       {call(`"type":"function","function":{"name":"ls","arguments":"{}"}`), "messages[1].tool_calls[0]", `"id"`},
		"call with empty id":    {call(`"id":"","type":"function","function":{"name":"ls","arguments":"{}"}`), "messages[1].tool_calls[0].id", "empty"},
		"call without type":     {call(`"id":"a","function":{"name":"ls","arguments":"{}"}`), "messages[1].tool_calls[0]", `"type"`},
		"call of odd name":      {call(`"id":"a","type":"function","function":{"name":"l s","arguments":"{}"}`), "messages[1].tool_calls[0].function.name", "letters"},
		"arguments as object":   {call(`"id":"a","type":"function","function":{"name":"ls","arguments":{}}`), "messages[1].tool_calls[0].function.arguments", "a string"},
		"index left in":         {call(`"index":0,"id":"a","type":"function","function":{"name":"ls","arguments":"{}"}`), "messages[1].tool_calls[0]", `"index"`},
		"result without call":   {messages(user, `{"role":"tool","tool_call_id":"a","content":"r"}`), "messages[1].tool_call_id", `no call has the id "a"`},
		"result without id":     {messages(user, turn1, `{"role":"tool","content":"r"}`), "messages[2]", `"tool_call_id"`},
		"result missing":        {messages(user, turn1, res1), "messages[1].tool_calls[1]", "call_1_2"},
		"results missing":       {messages(user, turn1), "messages[1].tool_calls[0]", "call_1_1"},
		"result after user":     {messages(user, turn1, res1, user, res2), "messages[1].tool_calls[1]", "no result"},
		"result given twice":    {messages(user, turn1, res1, res2, res1), "messages[4].tool_call_id", "already"},
		"id twice in a turn":    {messages(user, `{"role":"assistant","tool_calls":[`+ls1+`,`+ls1+`]}`, res1), "messages[1].tool_calls[1]", "earlier call"},
		"id twice in all":       {messages(user, turn1, res1, res2, turn1, res1, res2), "messages[4].tool_calls[0]", "earlier call"},
		"result before call":    {messages(user, res1, turn1, res2), "messages[1].tool_call_id", "no call"},
		"tools with one name":   {with(`"tools":[` + tool1 + `,` + tool1 + `]`), "tools[1].function.name", `"ls"`},
		"no tools":              {with(`"tools":[]`), "tools", "empty"},
		"tool of odd name":      {with(`"tools":[{"type":"function","function":{"name":"l.s"}}]`), "tools[0].function.name", "letters"},
		"tool without type":     {with(`"tools":[{"function":{"name":"ls"}}]`), "tools[0]", `"type"`},
		"tool with field":       {with(`"tools":[{"type":"function","function":{"name":"ls","paramters":{}}}]`), "tools[0].function", `"paramters"`},
		"schema is a list":      {with(`"tools":[{"type":"function","function":{"name":"ls","parameters":[]}}]`), "tools[0].function.parameters", "schema"},
		"too many tools":        {with(`"tools":[` + manyTools(129) + `]`), "tools", "128"},
		"stream is text":        {with(`"stream":"true"`), "stream", "true or false"},
		"options without":       {with(`"stream_options":{"include_usage":true}`), "stream_options", "streams only"},
		"unknown option":        {with(`"stream":true,"stream_options":{"usage":true}`), "stream_options", `"usage"`},
		"both limits":           {with(`"max_tokens":1,"max_completion_tokens":1`), "max_tokens", "beside"},
		"limit of zero":         {with(`"max_tokens":0`), "max_tokens", "from 1"},
		"two answers":           {with(`"n":2`), "n", "from 1 to 1"},
		"temperature of a star": {with(`"temperature":5800`), "temperature", "0 to 2"},
	} {
		got := post(t, s.Server, tc.body)
		var e struct {
			Error struct {
				Message, Type string
				Param, Code   *string
			}
		}
		if err := json.Unmarshal([]byte(got.body), &e); err != nil || got.status != 400 || e.Error.Type != "invalid_request_error" {
			t.Errorf("%s: %d %s", name, got.status, got.body)
			continue
		}
		param := ""
		if e.Error.Param != nil {
			param = *e.Error.Param
		}
		if param != tc.param || !strings.Contains(e.Error.Message, tc.text) {
			t.Errorf("%s: param %q, message %s", name, param, e.Error.Message)
		}
	}
	if got := post(t, s.Server, strings.Repeat(" ", 33<<20)); got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("33 MiB: %d %s", got.status, got.body)
	}
	if s.Err() != nil {
		t.Errorf("a bad request is no mismatch: %v", s.Err())
	}
}

func manyTools(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`{"type":"function","function":{"name":"t%d"}}`, i))
	}
	return strings.Join(all, ",")
}

func TestWholeAnswer(t *testing.T) {
	t.Parallel()
	s := play(t, parse(t, twoSteps))
	var got struct {
		Object  string
		Model   string
		Choices []struct {
			Index        int
			FinishReason string `json:"finish_reason"`
			Message      struct {
				Role, Content string
				ToolCalls     []struct {
					Index    *int
					ID, Type string
					Function struct{ Name, Arguments string }
				} `json:"tool_calls"`
			}
		}
		Usage struct {
			Total int64 `json:"total_tokens"`
		}
	}
	a := post(t, s.Server, messages(user))
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != 200 {
		t.Fatalf("%v: %d %s", err, a.status, a.body)
	}
	c := got.Choices[0]
	if got.Object != "chat.completion" || got.Model != "m" || c.FinishReason != "tool_calls" || c.Message.Role != "assistant" ||
		c.Message.Content != "Ünï<b>" || len(c.Message.ToolCalls) != 2 || got.Usage.Total == 0 {
		t.Errorf("%s", a.body)
	}
	if call := c.Message.ToolCalls[0]; call.Index != nil || call.ID != "call_1_1" || call.Type != "function" || call.Function.Arguments != `{"path":"."}` {
		t.Errorf("%+v", call)
	}
}

func TestStreamOnTheWire(t *testing.T) {
	t.Parallel()
	s := play(t, parse(t, twoSteps))
	for _, usage := range []bool{true, false} {
		a := post(t, s.Server, with(fmt.Sprintf(`"stream":true,"stream_options":{"include_usage":%v}`, usage)))
		if a.status != 200 || a.header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("%d %v", a.status, a.header)
		}
		events := strings.Split(strings.TrimSuffix(a.body, "\n\n"), "\n\n")
		if last := events[len(events)-1]; last != "data: [DONE]" {
			t.Errorf("ends with %s", last)
		}
		events = events[:len(events)-1]
		if strings.Contains(a.body, `"usage"`) != usage {
			t.Errorf("usage asked for: %v; %s", usage, a.body)
		}
		if usage {
			if last := events[len(events)-1]; !strings.Contains(last, `"choices":[]`) || !strings.Contains(last, `"total_tokens"`) {
				t.Errorf("no usage at the end: %s", last)
			}
			events = events[:len(events)-1]
			for _, e := range events {
				if !strings.Contains(e, `"usage":null`) {
					t.Errorf("usage is not null in %s", e)
				}
			}
		}
		if first := events[0]; !strings.Contains(first, `"delta":{"role":"assistant","content":""},"finish_reason":null`) {
			t.Errorf("begins with %s", first)
		}
		if last := events[len(events)-1]; !strings.Contains(last, `"delta":{},"finish_reason":"tool_calls"`) {
			t.Errorf("finishes with %s", last)
		}
		for _, e := range events {
			if !strings.HasPrefix(e, "data: {") || !strings.Contains(e, `"object":"chat.completion.chunk"`) {
				t.Errorf("odd event %s", e)
			}
		}
	}
}
