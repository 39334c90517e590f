package pluginsdk

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

// option is one field of a Config struct.
type option struct {
	backend.Attribute
	// index of the field in the struct.
	index int
	// initial is its value when the configuration does not name it.
	initial any
}

// fieldTypes are the Go types an option may have.
var fieldTypes = map[reflect.Type]backend.AttributeType{
	reflect.TypeFor[string]():            backend.TypeString,
	reflect.TypeFor[bool]():              backend.TypeBool,
	reflect.TypeFor[int64]():             backend.TypeNumber,
	reflect.TypeFor[float64]():           backend.TypeNumber,
	reflect.TypeFor[[]string]():          backend.TypeStringList,
	reflect.TypeFor[map[string]string](): backend.TypeStringMap,
}

// options reads the tags of the struct config points to; nil has none. What it
// complains of is a mistake of the plugin's author.
func options(config any) ([]option, error) {
	if config == nil {
		return nil, nil
	}
	ptr := reflect.TypeOf(config)
	if ptr.Kind() != reflect.Pointer || ptr.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("Plugin.Config is a %s, want a pointer to a struct", ptr)
	}
	var opts []option
	for i := range ptr.Elem().NumField() {
		field := ptr.Elem().Field(i)
		tag, ok := field.Tag.Lookup("deep")
		if !ok {
			continue
		}
		o, err := newOption(field, tag)
		if err != nil {
			return nil, fmt.Errorf("field %s of %s: %w", field.Name, ptr.Elem(), err)
		}
		o.index = i
		if slices.ContainsFunc(opts, func(other option) bool { return other.Name == o.Name }) {
			return nil, fmt.Errorf("field %s of %s: a second option %q", field.Name, ptr.Elem(), o.Name)
		}
		opts = append(opts, o)
	}
	return opts, nil
}

func newOption(field reflect.StructField, tag string) (option, error) {
	name, flags, _ := strings.Cut(tag, ",")
	o := option{Attribute: backend.Attribute{Name: name, Type: fieldTypes[field.Type], Description: field.Tag.Get("doc")}}
	switch {
	case !validOption(name):
		return o, fmt.Errorf("%q is no name for an option: use a-z, 0-9 and _", name)
	case !field.IsExported():
		return o, fmt.Errorf("it is not exported")
	case o.Type == "":
		return o, fmt.Errorf("type %s; use string, bool, int64, float64, []string or map[string]string", field.Type)
	case o.Description == "":
		return o, fmt.Errorf("no `doc`: say in one sentence what it is for")
	}
	for flag := range strings.SplitSeq(flags, ",") {
		switch flag {
		case "":
		case "required":
			o.Required = true
		case "sensitive":
			o.Sensitive = true
		default:
			return o, fmt.Errorf("unknown flag %q; there are required and sensitive", flag)
		}
	}
	text, ok := field.Tag.Lookup("default")
	if !ok {
		return o, nil
	}
	if o.Required {
		return o, fmt.Errorf("it is required and has a default")
	}
	// A default is written as in the configuration, but for the quotes of a
	// string, which would need escaping in a tag.
	raw := json.RawMessage(text)
	o.Default = text
	if o.Type == backend.TypeString {
		raw = mustJSON(text)
		o.Default = strconv.Quote(text)
	}
	value, err := decodeValue(raw, field.Type)
	if err != nil {
		return o, fmt.Errorf("default %s: %w", text, err)
	}
	o.initial = value
	return o, nil
}

func validOption(name string) bool {
	for i, c := range name {
		letter := c >= 'a' && c <= 'z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return name != ""
}

func mustJSON(s string) json.RawMessage {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always marshals
	}
	return b
}

// schemaOf is what Describe tells of the options.
func schemaOf(opts []option) backend.Schema {
	schema := make(backend.Schema, 0, len(opts))
	for _, o := range opts {
		schema = append(schema, o.Attribute)
	}
	return schema
}
