package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The standard decoder cannot say where an unknown key stands, matches keys in any case and lets the last of two equal
// ones win. Recordings want the first, a strict endpoint the other two, so both are read through this small tree.

// value is a JSON value that knows where it stands.
type value struct {
	path       string // as in messages[3].role, empty for the outermost
	start, end int    // bytes of the source
	data       any    // string, json.Number, bool, nil, []*value or []member
}

type member struct {
	key string
	at  int
	*value
}

// inputError is a mistake in a JSON text.
type inputError struct {
	at   int
	path string
	what string
}

func (e *inputError) Error() string {
	if e.path == "" {
		return e.what
	}
	return e.path + ": " + e.what
}

// parseJSON reads exactly one value.
func parseJSON(src []byte) (*value, *inputError) {
	var whole json.RawMessage
	var syntax *json.SyntaxError
	if err := json.Unmarshal(src, &whole); errors.As(err, &syntax) {
		// The offset counts the bytes up to the faulty one, or to the end if the text stops too early. A byte that is
		// never right, put after the end, makes the two cases one.
		var ended *json.SyntaxError
		errors.As(json.Unmarshal(append(bytes.Clone(src), 0), &whole), &ended)
		at := int(ended.Offset) - 1
		return nil, &inputError{at: at, what: "not JSON: " + syntax.Error()}
	}
	p := parser{src: src, dec: json.NewDecoder(bytes.NewReader(src))}
	p.dec.UseNumber()
	v := p.value("")
	return v, p.err
}

type parser struct {
	src []byte
	dec *json.Decoder
	err *inputError
}

// next gives the next token and where it starts. The text is known to be valid, so there is always one.
func (p *parser) next() (json.Token, int) {
	start := int(p.dec.InputOffset())
	for strings.IndexByte(" \t\r\n,:", p.src[start]) >= 0 {
		start++
	}
	token, _ := p.dec.Token()
	return token, start
}

func (p *parser) value(path string) *value {
	token, start := p.next()
	v := &value{path: path, start: start, data: token}
	switch token {
	case json.Delim('['):
		items := []*value{}
		for p.dec.More() {
			items = append(items, p.value(fmt.Sprintf("%s[%d]", path, len(items))))
		}
		_, _ = p.dec.Token()
		v.data = items
	case json.Delim('{'):
		v.data = p.members(path)
		_, _ = p.dec.Token()
	}
	v.end = int(p.dec.InputOffset())
	return v
}

func (p *parser) members(path string) []member {
	members := []member{}
	seen := map[string]bool{}
	for p.dec.More() {
		token, at := p.next()
		key := token.(string)
		if seen[key] && p.err == nil {
			p.err = &inputError{at: at, path: path, what: fmt.Sprintf("the key %q stands here twice; remove one", key)}
		}
		seen[key] = true
		members = append(members, member{key, at, p.value(strings.TrimPrefix(path+"."+key, "."))})
	}
	return members
}

// decoder takes values apart and remembers the first mistake; after one, results mean nothing. A nil value is an absent
// one and gives the zero value.
type decoder struct{ err *inputError }

func (d *decoder) fail(v *value, format string, args ...any) {
	if d.err == nil {
		d.err = &inputError{at: v.start, path: v.path, what: fmt.Sprintf(format, args...)}
	}
}

// object gives the members by key and refuses all but the known ones.
func (d *decoder) object(v *value, known ...string) map[string]*value {
	if v == nil {
		return nil
	}
	members, ok := v.data.([]member)
	if !ok {
		d.fail(v, "must be an object, not %s", v.kind())
		return nil
	}
	object := make(map[string]*value, len(members))
	for _, m := range members {
		if !slices.Contains(known, m.key) && d.err == nil {
			d.err = &inputError{at: m.at, path: v.path,
				what: fmt.Sprintf("unknown field %q; known here: %s", m.key, strings.Join(known, ", "))}
		}
		object[m.key] = m.value
	}
	return object
}

// required gives a member that must be there.
func (d *decoder) required(v *value, object map[string]*value, key string) *value {
	m := object[key]
	if m == nil && v != nil {
		d.fail(v, "has no %q", key)
	}
	return m
}

// some gives the items of a member that must be there and have some.
func (d *decoder) some(v *value, object map[string]*value, key string) []*value {
	m := d.required(v, object, key)
	if m != nil {
		if items, ok := m.data.([]*value); ok && len(items) == 0 {
			d.fail(m, "is empty; write at least one")
			return nil
		}
	}
	return d.array(m)
}

func (d *decoder) array(v *value) []*value {
	if v == nil {
		return nil
	}
	items, ok := v.data.([]*value)
	if !ok {
		d.fail(v, "must be an array, not %s", v.kind())
	} else if len(items) == 0 {
		d.fail(v, "is empty; leave it out instead")
	}
	return items
}

func (d *decoder) text(v *value) string { return scalar[string](d, v, "a string") }
func (d *decoder) bool(v *value) bool   { return scalar[bool](d, v, "true or false") }

// number gives an integer within bounds.
func (d *decoder) number(v *value, low, high int64) int64 {
	n, err := scalar[json.Number](d, v, "a number").Int64()
	if v != nil && (err != nil || n < low || n > high) {
		d.fail(v, "must be a whole number from %d to %d", low, high)
	}
	return n
}

func scalar[T any](d *decoder, v *value, name string) T {
	var zero T
	if v == nil {
		return zero
	}
	t, ok := v.data.(T)
	if !ok {
		d.fail(v, "must be %s, not %s", name, v.kind())
	}
	return t
}

func (v *value) kind() string {
	switch v.data.(type) {
	case nil:
		return "null"
	case string:
		return "a string"
	case bool:
		return "true or false"
	case json.Number:
		return "a number"
	case []*value:
		return "an array"
	}
	return "an object"
}

// isObject reports whether v is there and an object.
func (v *value) isObject() bool { return v != nil && v.kind() == "an object" }

// isNull reports whether v is absent or null.
func (v *value) isNull() bool { return v == nil || v.data == nil }
