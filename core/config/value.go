package config

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/llm"
)

// parse makes a value of what stands at a key. What is not as it should be is
// noted; then there is no value.
type parse[T any] func(d *decoder, a *hclsyntax.Attribute) (T, bool)

// into returns what reads a value to a variable.
func into[T any](v *T, p parse[T]) read {
	return func(d *decoder, a *hclsyntax.Attribute) {
		if value, ok := p(d, a); ok {
			*v = value
		}
	}
}

// wrong notes that the value of a key is not one it can have.
func wrong[T any](d *decoder, a *hclsyntax.Attribute, what, hint string) (T, bool) {
	var none T
	d.mistake(a.Expr.Range(), a.Name+" "+what, hint)
	return none, false
}

// value computes the expression of a key, which must come out as a type. There is
// no conversion: "512" for a number is as likely a slip as it is meant.
func value(d *decoder, a *hclsyntax.Attribute, want cty.Type, example string) (cty.Value, bool) {
	v, diags := a.Expr.Value(d.evaluation)
	if diags.HasErrors() {
		for _, diag := range diags {
			// An expression without a scope has no names; HCL tells of its own internals.
			if diag.Summary == "Variables not allowed" || diag.Summary == "Unknown variable" {
				d.mistake(*diag.Subject, "a text stands in quotes", "env(\"NAME\") reads the environment")
				continue
			}
			d.diags = append(d.diags, diag)
		}
		return v, false
	}
	got := v.Type()
	switch {
	case v.IsNull():
		return wrong[cty.Value](d, a, "is null", "leave the key out for its default")
	case !v.IsWhollyKnown() || !got.Equals(want):
		return wrong[cty.Value](d, a, "is "+typeName(got)+", not "+typeName(want), "write it as in "+a.Name+" = "+example)
	}
	return v, true
}

// checkNumbers refuses numbers of astronomic size: "${1e9999999}" as a text has
// ten million digits, and takes minutes to become it.
func (d *decoder) checkNumbers(body *hclsyntax.Body) {
	_ = hclsyntax.VisitAll(body, func(node hclsyntax.Node) hcl.Diagnostics {
		literal, ok := node.(*hclsyntax.LiteralValueExpr)
		if ok && !literal.Val.IsNull() && literal.Val.Type() == cty.Number {
			if exp := literal.Val.AsBigFloat().MantExp(nil); exp > maxExponent || exp < -maxExponent {
				d.mistake(literal.SrcRange, "this number is out of range", "write a smaller one")
			}
		}
		return nil
	})
}

// maxExponent is the power of two of the largest numbers, well beyond the largest
// that any key takes.
const maxExponent = 1100

func typeName(t cty.Type) string {
	switch {
	case t == cty.String:
		return "a text"
	case t == cty.Number:
		return "a number"
	case t == cty.Bool:
		return "true or false"
	case t.IsTupleType() || t.IsListType():
		return "a list"
	case t.IsObjectType() || t.IsMapType():
		return "a table"
	}
	return "something else"
}

// text is a string that is not empty.
func text(example string) parse[string] {
	return func(d *decoder, a *hclsyntax.Attribute) (string, bool) {
		v, ok := value(d, a, cty.String, example)
		switch {
		case !ok:
			return "", false
		case v.AsString() == "":
			return wrong[string](d, a, "is empty", "leave the key out for its default")
		case strings.ContainsRune(v.AsString(), 0):
			return wrong[string](d, a, "holds a NUL", "")
		}
		return v.AsString(), true
	}
}

// baseURL is an address that the model's client takes.
func baseURL(d *decoder, a *hclsyntax.Attribute) (string, bool) {
	s, ok := text(`"https://api.openai.com/v1"`)(d, a)
	return s, ok && modelTakes(d, a, llm.Config{BaseURL: s})
}

// apiKey is a text that may be empty, as env("NAME", "") makes it.
func apiKey(d *decoder, a *hclsyntax.Attribute) (string, bool) {
	v, ok := value(d, a, cty.String, `env("OPENAI_API_KEY")`)
	if !ok {
		return "", false
	}
	return v.AsString(), modelTakes(d, a, llm.Config{APIKey: v.AsString()})
}

// modelTakes has the model's client say whether it can use a value, so that there
// is one rule. What it says holds neither keys nor passwords.
func modelTakes(d *decoder, a *hclsyntax.Attribute, c llm.Config) bool {
	client, err := llm.New(c)
	var e *llm.Error
	switch {
	case err == nil:
		client.Close()
		return true
	case errors.As(err, &e):
		d.mistake(a.Expr.Range(), e.Message, e.Remedy)
	default:
		d.mistake(a.Expr.Range(), a.Name+": "+err.Error(), "")
	}
	return false
}

// absolute is a path that does not depend on where deep is called.
func absolute(example string) parse[string] {
	return func(d *decoder, a *hclsyntax.Attribute) (string, bool) {
		path, ok := text(example)(d, a)
		if ok && !strings.HasPrefix(path, "/") {
			return wrong[string](d, a, "is not an absolute path", "begin it with /")
		}
		return path, ok
	}
}

func boolean(d *decoder, a *hclsyntax.Attribute) (bool, bool) {
	v, ok := value(d, a, cty.Bool, "true")
	return ok && v.True(), ok
}

// whole is a number without a fraction within bounds.
func whole[T int | int64](least, most T) parse[T] {
	return func(d *decoder, a *hclsyntax.Attribute) (T, bool) {
		v, ok := value(d, a, cty.Number, fmt.Sprint(max(least, 1)))
		if !ok {
			return 0, false
		}
		n, accuracy := v.AsBigFloat().Int64()
		if accuracy != big.Exact || n < int64(least) || n > int64(most) {
			return wrong[T](d, a, fmt.Sprintf("is not a whole number from %d to %d", least, most), "")
		}
		return T(n), true
	}
}

// number is any finite number within bounds.
func number(least, most float64) parse[float64] {
	return func(d *decoder, a *hclsyntax.Attribute) (float64, bool) {
		v, ok := value(d, a, cty.Number, "1.5")
		if !ok {
			return 0, false
		}
		n, _ := v.AsBigFloat().Float64()
		if n < least || n > most {
			return wrong[float64](d, a, fmt.Sprintf("is not from %g to %g", least, most), "")
		}
		return n, true
	}
}

// temperature is a number the zero value of which means something.
func temperature(d *decoder, a *hclsyntax.Attribute) (*float64, bool) {
	n, ok := number(0, 2)(d, a)
	return &n, ok
}

// texts is a list of strings.
func texts(example string) parse[[]string] {
	return func(d *decoder, a *hclsyntax.Attribute) ([]string, bool) {
		v, diags := a.Expr.Value(d.evaluation)
		if !diags.HasErrors() && !v.IsNull() && v.IsWhollyKnown() && v.Type().IsTupleType() {
			list := make([]string, 0, v.LengthInt())
			for _, element := range v.AsValueSlice() {
				if element.IsNull() || element.Type() != cty.String || element.AsString() == "" {
					return wrong[[]string](d, a, "holds something that is no text, or an empty one", "write it as in "+a.Name+" = "+example)
				}
				list = append(list, element.AsString())
			}
			return list, true
		}
		_, _ = value(d, a, cty.List(cty.String), example) // says what is wrong
		return nil, false
	}
}

// table is a map of strings.
func table(example string) parse[map[string]string] {
	return func(d *decoder, a *hclsyntax.Attribute) (map[string]string, bool) {
		v, diags := a.Expr.Value(d.evaluation)
		if !diags.HasErrors() && !v.IsNull() && v.IsWhollyKnown() && v.Type().IsObjectType() {
			values := map[string]string{}
			for key, element := range v.AsValueMap() {
				if element.IsNull() || element.Type() != cty.String {
					return wrong[map[string]string](d, a, "has a value that is no text, at "+backend.Printable(key), "write it as in "+a.Name+" = "+example)
				}
				values[key] = element.AsString()
			}
			return values, true
		}
		_, _ = value(d, a, cty.Map(cty.String), example) // says what is wrong
		return nil, false
	}
}

// duration is a positive time; "none" stands for none, unless that is noneOf.
func duration(example string, none time.Duration) parse[time.Duration] {
	return func(d *decoder, a *hclsyntax.Attribute) (time.Duration, bool) {
		hint := "write it as in " + a.Name + " = " + example
		if none != noneOf {
			hint += `, or "none"`
		}
		v, diags := a.Expr.Value(d.evaluation)
		if !diags.HasErrors() && !v.IsNull() && v.Type() == cty.Number {
			return wrong[time.Duration](d, a, "has no unit", hint)
		}
		s, ok := text(example)(d, a)
		if !ok {
			return 0, false
		}
		if s == "none" && none != noneOf {
			return none, true
		}
		t, err := ParseDuration(s)
		if err != nil {
			return wrong[time.Duration](d, a, err.Error(), hint)
		}
		return t, true
	}
}

// noneOf, in place of a duration, says that "none" is no value of a key.
const noneOf = -1

// ParseDuration is time.ParseDuration for people: positive, and with an error
// that says what is wrong with the text, to go behind what it is of.
func ParseDuration(s string) (time.Duration, error) {
	t, err := time.ParseDuration(s)
	switch {
	case err == nil && t > 0:
		return t, nil
	case err == nil && t == 0:
		return 0, fmt.Errorf("is zero")
	case err == nil:
		return 0, fmt.Errorf("is negative")
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return 0, fmt.Errorf("has no unit: %q", s)
	}
	return 0, fmt.Errorf("is not a duration: %q", s)
}

// units of sizes, in bytes.
var units = map[string]int64{
	"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}

// size is a number of bytes with its unit.
func size(example string) parse[int64] {
	return func(d *decoder, a *hclsyntax.Attribute) (int64, bool) {
		v, diags := a.Expr.Value(d.evaluation)
		if !diags.HasErrors() && !v.IsNull() && v.Type() == cty.Number {
			return wrong[int64](d, a, "has no unit", "write it as in "+a.Name+" = "+example)
		}
		s, ok := text(example)(d, a)
		if !ok {
			return 0, false
		}
		n, what, hint := parseSize(s)
		if what != "" {
			if hint == "" {
				hint = "write it as in " + a.Name + " = " + example
			}
			return wrong[int64](d, a, what, hint)
		}
		return n, true
	}
}

// parseSize reads "1.5GiB". A fraction must come out as whole bytes.
func parseSize(s string) (n int64, what, hint string) {
	digits := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	unit := s[len(digits):]
	count, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	switch {
	case err != nil || math.IsNaN(count) || math.IsInf(count, 0):
		return 0, fmt.Sprintf("is not a size: %q", s), ""
	case count < 0:
		return 0, "is negative", ""
	case count == 0:
		return 0, "is zero", ""
	case unit == "":
		return 0, fmt.Sprintf("has no unit: %q", s), ""
	}
	factor, ok := units[unit]
	if !ok {
		return 0, fmt.Sprintf("has a unit that is none: %q", unit), suggestUnit(unit)
	}
	bytes := count * float64(factor)
	if bytes != math.Trunc(bytes) || bytes > 1<<53 {
		return 0, fmt.Sprintf("is not a whole number of bytes that can be counted: %q", s), ""
	}
	return int64(bytes), "", ""
}

// suggestUnit answers the usual slips: "g", "gb", "gib", "Gi".
func suggestUnit(unit string) string {
	if unit != "" {
		for _, known := range []string{"KiB", "MiB", "GiB", "TiB"} {
			if strings.EqualFold(unit, known) || strings.EqualFold(unit, known[:2]) || strings.EqualFold(unit, known[:1]) {
				return "did you mean " + known + "?"
			}
			if strings.EqualFold(unit, known[:1]+"B") {
				return fmt.Sprintf("did you mean %sB (powers of 1000) or %s (of 1024)?", known[:1], known)
			}
		}
	}
	return "the units are B, KB, MB, GB, TB and KiB, MiB, GiB, TiB"
}
