package host

import (
	"fmt"
	"math"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hcldec"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/deep-sandbox/deep/core/backend"
)

// ctyTypes are the types of options in HCL's words.
var ctyTypes = map[backend.AttributeType]cty.Type{
	backend.TypeString:     cty.String,
	backend.TypeNumber:     cty.Number,
	backend.TypeBool:       cty.Bool,
	backend.TypeStringList: cty.List(cty.String),
	backend.TypeStringMap:  cty.Map(cty.String),
}

// ConfigSpec returns the specification of a block `config { }` that takes the
// options of schema.
func ConfigSpec(schema backend.Schema) hcldec.Spec {
	spec := hcldec.ObjectSpec{}
	for _, a := range schema {
		t, ok := ctyTypes[a.Type]
		if !ok {
			t = cty.DynamicPseudoType // DecodeConfig complains of it
		}
		spec[a.Name] = &hcldec.AttrSpec{Name: a.Name, Type: t, Required: a.Required}
	}
	return spec
}

// SensitiveExtra is the Extra of a diagnostic about an option that is sensitive.
// Whoever prints it must not quote the line: the value stands there.
type SensitiveExtra interface{ SensitiveOption() string }

type sensitiveOption string

func (s sensitiveOption) SensitiveOption() string { return string(s) }

// DecodeConfig returns the body of a block `config { }` as the JSON that
// ConfigureRequest carries. A nil body is an empty block. Every mistake is a
// diagnostic with its place; an unknown option comes with the nearest valid one.
func DecodeConfig(schema backend.Schema, body hcl.Body, ctx *hcl.EvalContext) ([]byte, hcl.Diagnostics) {
	if body == nil {
		body = hcl.EmptyBody()
	}
	var diags hcl.Diagnostics
	for _, a := range schema {
		if _, ok := ctyTypes[a.Type]; !ok {
			diags = diags.Append(&hcl.Diagnostic{
				Severity: hcl.DiagError, Summary: "Faulty plugin",
				Detail: fmt.Sprintf("The plugin describes its option %s with the type %s, which deep does not know. A newer deep may.", backend.Printable(a.Name), backend.Printable(string(a.Type))),
			})
		}
	}
	if diags.HasErrors() {
		return nil, diags
	}
	value, decoded := hcldec.Decode(body, ConfigSpec(schema), ctx)
	diags = diags.Extend(decoded)

	places, _, _ := body.PartialContent(attributes(schema)) // hcldec has complained
	given := map[string]cty.Value{}
	types := map[string]cty.Type{}
	for _, a := range schema {
		attr := places.Attributes[a.Name]
		if attr == nil {
			continue
		}
		mine := touching(diags, attr)
		if len(mine) == 0 {
			v, _ := value.GetAttr(a.Name).UnmarkDeep()
			if d := checkValue(a, attr, v); d != nil {
				diags = append(diags, d)
				mine = hcl.Diagnostics{d}
			} else if !v.IsNull() {
				given[a.Name], types[a.Name] = v, ctyTypes[a.Type]
			}
		}
		if a.Sensitive {
			for _, d := range mine {
				// Both would lead a printer to the value.
				d.Expression, d.EvalContext = nil, nil
				d.Extra = sensitiveOption(a.Name)
			}
		}
	}
	if diags.HasErrors() {
		return nil, diags
	}
	data, err := ctyjson.Marshal(cty.ObjectVal(given), cty.Object(types))
	if err != nil {
		return nil, diags.Append(&hcl.Diagnostic{
			Severity: hcl.DiagError, Summary: "Unusable configuration",
			Detail:  "The options cannot be written as JSON.",
			Subject: body.MissingItemRange().Ptr(),
		})
	}
	return data, diags
}

func attributes(schema backend.Schema) *hcl.BodySchema {
	s := &hcl.BodySchema{}
	for _, a := range schema {
		s.Attributes = append(s.Attributes, hcl.AttributeSchema{Name: a.Name})
	}
	return s
}

// touching returns the diagnostics about attr.
func touching(diags hcl.Diagnostics, attr *hcl.Attribute) hcl.Diagnostics {
	var found hcl.Diagnostics
	for _, d := range diags {
		if d.Subject != nil && d.Subject.Overlaps(attr.Range) {
			found = append(found, d)
		}
	}
	return found
}

// checkValue refuses what has the right type and is no value.
func checkValue(a backend.Attribute, attr *hcl.Attribute, v cty.Value) *hcl.Diagnostic {
	complain := func(detail string) *hcl.Diagnostic {
		return &hcl.Diagnostic{
			Severity: hcl.DiagError, Summary: "Invalid option",
			Detail:  fmt.Sprintf("%s %s.", a.Name, detail),
			Subject: attr.Expr.Range().Ptr(), Context: attr.Range.Ptr(),
		}
	}
	switch {
	case v.IsNull() && a.Required:
		return complain("is required and must not be null")
	case v.IsNull():
		return nil
	case !v.IsWhollyKnown():
		return complain("has a value that is not known")
	case v.Type() == cty.Number:
		// Beyond those it would be written with as many digits as it says, a
		// thousand million too, and most decoders refuse it.
		n := v.AsBigFloat()
		if f, _ := n.Float64(); math.IsInf(f, 0) || f == 0 && n.Sign() != 0 {
			return complain("is a number beyond ±1.8e308, or closer to zero than 5e-324")
		}
		return nil
	case !v.CanIterateElements():
		return nil
	}
	for it := v.ElementIterator(); it.Next(); {
		if _, element := it.Element(); element.IsNull() {
			return complain("must not hold null")
		}
	}
	return nil
}
