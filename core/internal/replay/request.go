package replay

import (
	"encoding/json"
	"strings"
)

// maxRequestBytes bounds a request; a conversation near it would be millions of tokens.
const maxRequestBytes = 32 << 20

// request is the part of a Chat Completions request that decides the answer.
type request struct {
	model        string
	messages     []message
	stream       bool
	includeUsage bool
	size         int
}

// ignored are the fields the protocol knows and a recording has no use for.
var ignored = []string{
	"frequency_penalty", "presence_penalty", "top_p", "seed", "stop", "user", "metadata", "store", "reasoning_effort",
	"response_format", "service_tier", "parallel_tool_calls", "tool_choice", "logit_bias", "verbosity", "prompt_cache_key",
	"safety_identifier",
}

var fields = append([]string{
	"model", "messages", "tools", "stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature", "n",
}, ignored...)

// readRequest reads a body as strictly as a real endpoint would.
func readRequest(body []byte) (*request, *inputError) {
	top, mistake := parseJSON(body)
	if mistake != nil {
		return nil, mistake
	}
	var d requestDecoder
	req := d.request(top)
	if d.err == nil {
		d.pairing(req.messages)
	}
	req.size = len(body)
	return req, d.err
}

type requestDecoder struct{ decoder }

func (d *requestDecoder) request(v *value) *request {
	o := d.object(v, fields...)
	req := &request{model: d.text(d.required(v, o, "model")), stream: d.bool(o["stream"])}
	if m := o["model"]; m != nil && strings.TrimSpace(req.model) == "" {
		d.fail(m, "must name a model")
	}
	for _, m := range d.some(v, o, "messages") {
		req.messages = append(req.messages, d.message(m))
	}
	d.tools(o["tools"])

	if so := o["stream_options"]; so != nil {
		if !req.stream {
			d.fail(so, "is for streams only; set stream")
		}
		req.includeUsage = d.bool(d.object(so, "include_usage", "include_obfuscation")["include_usage"])
	}
	if o["max_tokens"] != nil && o["max_completion_tokens"] != nil {
		d.fail(o["max_tokens"], "stands beside max_completion_tokens; send one of them")
	}
	for _, key := range []string{"max_tokens", "max_completion_tokens"} {
		d.number(o[key], 1, maxTokens)
	}
	d.number(o["n"], 1, 1) // a recording has one answer a step
	if t := o["temperature"]; t != nil {
		f, err := scalar[json.Number](&d.decoder, t, "a number").Float64()
		if err != nil || f < 0 || f > 2 {
			d.fail(t, "must be a number from 0 to 2")
		}
	}
	return req
}
