package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"unicode/utf8"
)

// version is the only one so far. A change that an older deep would misread gets the next.
const version = 1

func decodeRecording(src []byte) (*Recording, *inputError) {
	if at := invalidUTF8(src); at >= 0 {
		return nil, &inputError{at: at, what: "not UTF-8 text; save it as UTF-8"}
	}
	top, mistake := parseJSON(src)
	if mistake != nil {
		return nil, mistake
	}
	d := recordingDecoder{src: src}
	rec := d.recording(top)
	return rec, d.err
}

// invalidUTF8 gives the place of the first byte that is not UTF-8, or -1. The JSON decoder would silently replace it.
func invalidUTF8(src []byte) int {
	for at := 0; at < len(src); {
		r, size := utf8.DecodeRune(src[at:])
		if r == utf8.RuneError && size == 1 {
			return at
		}
		at += size
	}
	return -1
}

type recordingDecoder struct {
	decoder
	src []byte
}

func (d *recordingDecoder) recording(v *value) *Recording {
	o := d.object(v, "version", "description", "steps")
	if n := d.required(v, o, "version"); n != nil && n.data != json.Number("1") {
		d.fail(n, "this deep reads recordings of version %d", version)
	}
	rec := &Recording{Description: d.text(o["description"])}
	for _, s := range d.some(v, o, "steps") {
		rec.Steps = append(rec.Steps, d.step(s))
	}
	return rec
}

func (d *recordingDecoder) step(v *value) Step {
	o := d.object(v, "expect", "reply", "error")
	s := Step{Expect: d.expect(o["expect"]), Reply: d.reply(o["reply"])}
	if o["error"] != nil {
		s.Failure = d.failure(o["error"], s.Reply != nil)
	}
	if s.Reply == nil && s.Failure == nil {
		d.fail(v, `has neither "reply" nor "error"; say what the model shall answer`)
	}
	return s
}

func (d *recordingDecoder) expect(v *value) Expect {
	o := d.object(v, "user", "results")
	var e Expect
	if user := o["user"]; user != nil {
		m := d.match(user, d.object(user, "contains", "equals", "matches"))
		e.User = &m
	}
	for _, r := range d.array(o["results"]) {
		ro := d.object(r, "tool", "contains", "equals", "matches")
		e.Results = append(e.Results, ResultMatch{Tool: d.text(ro["tool"]), Match: d.match(r, ro)})
	}
	return e
}

func (d *recordingDecoder) match(v *value, o map[string]*value) Match {
	var m Match
	if c := o["contains"]; c != nil {
		text := d.text(c)
		if text == "" {
			d.fail(c, "is in every text; write what must be in this one")
		}
		m.Contains = &text
	}
	if e := o["equals"]; e != nil {
		text := d.text(e)
		m.Equals = &text
	}
	if x := o["matches"]; x != nil {
		pattern, err := regexp.Compile(d.text(x))
		if err != nil {
			d.fail(x, "%v; the syntax is RE2", err)
		}
		m.Matches = pattern
	}
	if m == (Match{}) {
		d.fail(v, `expects nothing; add "contains", "equals" or "matches"`)
	}
	return m
}

func (d *recordingDecoder) reply(v *value) *Reply {
	if v == nil {
		return nil
	}
	o := d.object(v, "content", "tool_calls", "finish_reason", "usage")
	r := &Reply{Content: d.text(o["content"]), FinishReason: "stop"}
	for _, c := range d.array(o["tool_calls"]) {
		r.ToolCalls = append(r.ToolCalls, d.toolCall(c))
		r.FinishReason = "tool_calls"
	}
	if len(r.ToolCalls) == 0 && o["content"] == nil {
		d.fail(v, `has neither "content" nor "tool_calls"; say what the model shall answer`)
	}
	if f := o["finish_reason"]; f != nil {
		if r.FinishReason = d.text(f); r.FinishReason == "" {
			d.fail(f, `is empty; leave it out, or write one such as "length"`)
		}
	}
	if u := o["usage"]; u != nil {
		r.Usage = d.usage(u)
	}
	return r
}

func (d *recordingDecoder) toolCall(v *value) ToolCall {
	o := d.object(v, "name", "arguments", "arguments_text")
	name := d.required(v, o, "name")
	call := ToolCall{Name: d.text(name)}
	if name != nil && !validName(call.Name) {
		d.fail(name, "must be 1 to 64 letters, digits, _ or -")
	}
	arguments, text := o["arguments"], o["arguments_text"]
	switch {
	case arguments != nil && text != nil:
		d.fail(v, `has both "arguments" and "arguments_text"; remove one`)
	case text != nil:
		call.Arguments = d.text(text)
	case arguments == nil:
		d.fail(v, `has no "arguments"; write {} for none`)
	case !arguments.isObject():
		d.fail(arguments, `must be an object, not %s; to play a model that errs, use "arguments_text"`, arguments.kind())
	default:
		var compact bytes.Buffer
		_ = json.Compact(&compact, d.src[arguments.start:arguments.end]) // cannot fail: it was parsed
		call.Arguments = compact.String()
	}
	return call
}

// maxTokens bounds counts so that sums of them stay far from overflow.
const maxTokens = 1e12

func (d *recordingDecoder) usage(v *value) *Usage {
	o := d.object(v, "prompt_tokens", "completion_tokens", "cached_tokens")
	u := &Usage{
		Prompt:     d.number(d.required(v, o, "prompt_tokens"), 0, maxTokens),
		Completion: d.number(d.required(v, o, "completion_tokens"), 0, maxTokens),
		Cached:     d.number(o["cached_tokens"], 0, maxTokens),
	}
	if u.Cached > u.Prompt {
		d.fail(o["cached_tokens"], "is more than prompt_tokens, of which it is a part")
	}
	return u
}

func (d *recordingDecoder) failure(v *value, hasReply bool) *Failure {
	o := d.object(v, "status", "retry_after", "body", "times")
	f := &Failure{
		Status:     int(d.number(d.required(v, o, "status"), 400, 599)),
		RetryAfter: d.number(o["retry_after"], 0, 1e6),
		Times:      1,
	}
	if times := o["times"]; times != nil {
		f.Times = d.number(times, 1, 1e6)
		if !hasReply {
			d.fail(times, `needs a "reply" to follow the error; without one the step always fails`)
		}
	}
	switch body := o["body"]; {
	case body == nil:
		f.Body = string(errorBody{Message: fmt.Sprintf("recorded failure: %s", http.StatusText(f.Status)), Type: "replay_failure"}.json())
	case body.kind() == "a string":
		f.Body = d.text(body)
	default:
		f.Body = string(d.src[body.start:body.end])
	}
	return f
}
