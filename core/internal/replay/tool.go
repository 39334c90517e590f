package replay

import "regexp"

// tools checks the tools on offer. Nothing is kept of them: a model may call what it was not offered, and an agent must
// bear it.
func (d *requestDecoder) tools(v *value) {
	seen := map[string]bool{}
	items := d.array(v)
	if len(items) > 128 {
		d.fail(v, "has %d tools; at most 128 are allowed", len(items))
	}
	for _, t := range items {
		o := d.object(t, "type", "function")
		d.functionType(t, o)
		function := d.required(t, o, "function")
		f := d.object(function, "name", "description", "parameters", "strict")
		name := d.name(function, f)
		if seen[name] {
			d.fail(f["name"], "two tools are called %q", name)
		}
		seen[name] = true
		d.text(f["description"])
		if s := f["strict"]; !s.isNull() {
			d.bool(s)
		}
		if p := f["parameters"]; p != nil && !p.isObject() {
			d.fail(p, "must be a JSON schema, an object, not %s", p.kind())
		}
	}
}

func (d *requestDecoder) functionType(v *value, o map[string]*value) {
	if t := d.required(v, o, "type"); t != nil && d.text(t) != "function" {
		d.fail(t, `must be "function"`)
	}
}

func (d *requestDecoder) name(v *value, o map[string]*value) string {
	at := d.required(v, o, "name")
	name := d.text(at)
	if at != nil && !validName(name) {
		d.fail(at, "must be 1 to 64 letters, digits, _ or -")
	}
	return name
}

var namePattern = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)

func validName(name string) bool { return namePattern.MatchString(name) }
