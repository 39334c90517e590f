package llm

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/shared"
)

// params makes the SDK's request. What no endpoint could make sense of is refused here, before anything is sent.
func (c *Client) params(req Request) (openai.ChatCompletionNewParams, error) {
	p := openai.ChatCompletionNewParams{Model: req.Model}
	if req.Model == "" {
		return p, requestError("no model is named", "name one (--model, or model in config.hcl)")
	}
	if len(req.Messages) == 0 {
		return p, requestError("the conversation is empty", "give a task")
	}
	for i, m := range req.Messages {
		converted, err := messageParam(m)
		if err != nil {
			return p, requestError(fmt.Sprintf("message %d: %v", i+1, err), "the stored conversation may be damaged; start a new run")
		}
		p.Messages = append(p.Messages, converted)
	}
	for _, t := range req.Tools {
		converted, err := toolParam(t)
		if err != nil {
			return p, requestError(fmt.Sprintf("tool %q: %v", t.Name, err), "mend the tool's definition")
		}
		p.Tools = append(p.Tools, converted)
	}
	if req.MaxTokens > 0 {
		if wantsCompletionTokens(c.base) {
			p.MaxCompletionTokens = param.NewOpt(req.MaxTokens)
		} else {
			p.MaxTokens = param.NewOpt(req.MaxTokens)
		}
	}
	if req.Temperature != nil {
		p.Temperature = param.NewOpt(*req.Temperature)
	}
	if !c.cfg.NoStreamUsage {
		p.StreamOptions.IncludeUsage = param.NewOpt(true)
	}
	return p, nil
}

// wantsCompletionTokens reports whether the endpoint is OpenAI's own, whose newer models refuse max_tokens. The others
// mostly know only that older name.
func wantsCompletionTokens(base string) bool {
	u, err := url.Parse(base)
	return err == nil && (u.Hostname() == "api.openai.com" || strings.HasSuffix(u.Hostname(), ".openai.azure.com"))
}

func messageParam(m Message) (openai.ChatCompletionMessageParamUnion, error) {
	var none openai.ChatCompletionMessageParamUnion
	if len(m.ToolCalls) > 0 && m.Role != RoleAssistant {
		return none, fmt.Errorf("role %q cannot call tools", m.Role)
	}
	if (m.ToolCallID != "") != (m.Role == RoleTool) {
		return none, fmt.Errorf("role %q with tool call id %q", m.Role, m.ToolCallID)
	}
	switch m.Role {
	case RoleSystem:
		return openai.SystemMessage(m.Content), nil
	case RoleUser:
		return openai.UserMessage(m.Content), nil
	case RoleTool:
		return openai.ToolMessage(m.Content, m.ToolCallID), nil
	case RoleAssistant:
		return assistantParam(m), nil
	}
	return none, fmt.Errorf("unknown role %q", m.Role)
}

func assistantParam(m Message) openai.ChatCompletionMessageParamUnion {
	var a openai.ChatCompletionAssistantMessageParam
	// Content may be left out beside tool calls only, and several servers refuse an empty string there.
	if m.Content != "" || len(m.ToolCalls) == 0 {
		a.Content.OfString = param.NewOpt(m.Content)
	}
	for _, call := range m.ToolCalls {
		a.ToolCalls = append(a.ToolCalls, openai.ChatCompletionMessageToolCallUnionParam{
			OfFunction: &openai.ChatCompletionMessageFunctionToolCallParam{
				ID: call.ID,
				Function: openai.ChatCompletionMessageFunctionToolCallFunctionParam{
					Name:      call.Name,
					Arguments: call.Arguments,
				},
			},
		})
	}
	return openai.ChatCompletionMessageParamUnion{OfAssistant: &a}
}

func toolParam(t Tool) (openai.ChatCompletionToolUnionParam, error) {
	if t.Name == "" {
		return openai.ChatCompletionToolUnionParam{}, fmt.Errorf("it has no name")
	}
	if t.Parameters != nil {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(t.Parameters, &object); err != nil || object == nil {
			return openai.ChatCompletionToolUnionParam{}, fmt.Errorf("its parameters are not a JSON object")
		}
	}
	// The SDK's own field is a map, which would sort the properties; Tool keeps their order and has the right keys.
	return openai.ChatCompletionFunctionTool(param.Override[shared.FunctionDefinitionParam](t)), nil
}

func requestError(what, remedy string) *Error {
	return &Error{Kind: ErrBadRequest, Message: what, Remedy: remedy}
}
