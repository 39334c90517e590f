package pluginsdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

// decode fills the struct config points to from the JSON object in data, after
// setting every option to its default. What the configuration gets wrong is
// ErrInvalid with the option's name as Path; values are never repeated in a
// message, they may be secrets in the wrong place.
func decode(data []byte, opts []option, config any) error {
	given := map[string]json.RawMessage{}
	if len(bytes.TrimSpace(data)) > 0 {
		dec := json.NewDecoder(bytes.NewReader(data))
		if err := dec.Decode(&given); err != nil {
			return &backend.Error{Kind: backend.ErrInvalid, Op: "configure", Message: "the options are no JSON object"}
		}
		if _, err := dec.Token(); !errors.Is(err, io.EOF) {
			return &backend.Error{Kind: backend.ErrInvalid, Op: "configure", Message: "something follows the JSON object of the options"}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !slices.ContainsFunc(opts, func(o option) bool { return o.Name == name }) {
			return &backend.Error{Kind: backend.ErrInvalid, Op: "configure", Path: name,
				Message: "unknown option", Hint: knownOptions(opts)}
		}
	}
	for _, o := range opts {
		field := reflect.ValueOf(config).Elem().Field(o.index)
		raw, ok := given[o.Name]
		if !ok || string(raw) == "null" {
			if o.Required {
				return &backend.Error{Kind: backend.ErrInvalid, Op: "configure", Path: o.Name,
					Message: "this option is required", Hint: o.Description}
			}
			if o.initial != nil {
				field.Set(clone(o.initial))
			} else {
				field.SetZero()
			}
			continue
		}
		value, err := decodeValue(raw, field.Type())
		if err != nil {
			return &backend.Error{Kind: backend.ErrInvalid, Op: "configure", Path: o.Name,
				Message: err.Error(), Hint: o.Description}
		}
		field.Set(reflect.ValueOf(value))
	}
	return nil
}

// clone keeps a list or map that is a default from being shared with the struct.
func clone(v any) reflect.Value {
	switch v := v.(type) {
	case []string:
		return reflect.ValueOf(slices.Clone(v))
	case map[string]string:
		return reflect.ValueOf(maps.Clone(v))
	}
	return reflect.ValueOf(v)
}

// decodeValue returns raw as a value of type t, one of fieldTypes.
func decodeValue(raw json.RawMessage, t reflect.Type) (any, error) {
	kind := fieldTypes[t]
	if kind == backend.TypeNumber {
		return decodeNumber(raw, t)
	}
	ptr := reflect.New(t)
	if err := json.Unmarshal(raw, ptr.Interface()); err != nil {
		return nil, fmt.Errorf("want a %s", kind)
	}
	// encoding/json takes null for an element and leaves it empty.
	var elements []any
	var entries map[string]any
	if json.Unmarshal(raw, &elements) == nil && slices.Contains(elements, nil) {
		return nil, fmt.Errorf("want a %s, one element is null", kind)
	}
	if json.Unmarshal(raw, &entries) == nil {
		for _, v := range entries {
			if v == nil {
				return nil, fmt.Errorf("want a %s, one value is null", kind)
			}
		}
	}
	return ptr.Elem().Interface(), nil
}

func decodeNumber(raw json.RawMessage, t reflect.Type) (any, error) {
	var n json.Number
	if len(raw) == 0 || raw[0] == '"' || json.Unmarshal(raw, &n) != nil {
		return nil, errors.New("want a number")
	}
	f, err := n.Float64()
	if err != nil || math.IsInf(f, 0) {
		return nil, errors.New("the number is too large")
	}
	if t.Kind() == reflect.Float64 {
		return f, nil
	}
	// 1e3 and 2.0 are whole numbers too, as HCL writes them.
	if i, err := n.Int64(); err == nil {
		return i, nil
	}
	if f != math.Trunc(f) {
		return nil, errors.New("want a whole number")
	}
	if math.Abs(f) > 1<<53 {
		return nil, errors.New("the number is too large")
	}
	return int64(f), nil
}

func knownOptions(opts []option) string {
	if len(opts) == 0 {
		return "this backend takes no options"
	}
	names := make([]string, 0, len(opts))
	for _, o := range opts {
		names = append(names, o.Name)
	}
	slices.Sort(names)
	return "it knows " + strings.Join(names, ", ")
}
