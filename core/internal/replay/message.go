package replay

import "strings"

// message is one turn, its content reduced to text.
type message struct {
	role      string
	content   string
	toolCalls []call // assistant
	callID    string // tool
	from      *value // where it stands, for errors
	callIDAt  *value // where callID stands
}

type call struct {
	id, name, arguments string
	from                *value
}

// fieldsByRole says what a message may hold besides its role.
var fieldsByRole = map[string][]string{
	"system":    {"role", "content", "name"},
	"developer": {"role", "content", "name"},
	"user":      {"role", "content", "name"},
	"assistant": {"role", "content", "name", "refusal", "tool_calls"},
	"tool":      {"role", "content", "tool_call_id"},
}

func (d *requestDecoder) message(v *value) message {
	m := message{from: v}
	role := d.role(v)
	if role == nil {
		return m
	}
	m.role = d.text(role)
	known, ok := fieldsByRole[m.role]
	if !ok {
		d.fail(role, "unknown role %q; known: system, developer, user, assistant, tool", m.role)
		return m
	}
	o := d.object(v, known...)
	d.text(o["name"])

	for _, c := range d.toolCallArray(o["tool_calls"]) {
		m.toolCalls = append(m.toolCalls, d.toolCall(c))
	}
	refusal := o["refusal"]
	if !refusal.isNull() {
		d.text(refusal)
	}
	if content := o["content"]; !content.isNull() {
		m.content = d.content(content)
	} else if m.role != "assistant" || len(m.toolCalls) == 0 && refusal.isNull() {
		d.fail(v, "has no content")
	}
	if m.role == "tool" {
		m.callIDAt = d.required(v, o, "tool_call_id")
		m.callID = d.text(m.callIDAt)
	}
	return m
}

// role finds the role before the other fields are looked at, as it decides which may be there.
func (d *requestDecoder) role(v *value) *value {
	members, ok := v.data.([]member)
	if !ok {
		d.fail(v, "must be an object, not %s", v.kind())
		return nil
	}
	for _, m := range members {
		if m.key == "role" {
			return m.value
		}
	}
	d.fail(v, `has no "role"`)
	return nil
}

// toolCallArray tells a null list, which is none, from an empty one, which is refused.
func (d *requestDecoder) toolCallArray(v *value) []*value {
	if v.isNull() {
		return nil
	}
	return d.array(v)
}

func (d *requestDecoder) content(v *value) string {
	if v.kind() == "a string" {
		return d.text(v)
	}
	var b strings.Builder
	for _, part := range d.array(v) {
		o := d.object(part, "type", "text")
		if kind := d.required(part, o, "type"); kind != nil && d.text(kind) != "text" {
			d.fail(kind, "a recording reads text only")
		}
		b.WriteString(d.text(d.required(part, o, "text")))
	}
	return b.String()
}

func (d *requestDecoder) toolCall(v *value) call {
	o := d.object(v, "id", "type", "function")
	c := call{id: d.text(d.required(v, o, "id")), from: v}
	if id := o["id"]; id != nil && c.id == "" {
		d.fail(id, "must not be empty")
	}
	d.functionType(v, o)
	function := d.required(v, o, "function")
	f := d.object(function, "name", "arguments")
	c.name = d.name(function, f)
	c.arguments = d.text(d.required(function, f, "arguments"))
	return c
}
