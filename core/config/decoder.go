package config

import (
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// A decoder reads one file and collects every mistake in it.
type decoder struct {
	source     *source
	evaluation *hcl.EvalContext
	diags      hcl.Diagnostics
}

// A block says what may stand in a block of the file.
type block struct {
	keys   map[string]read
	blocks map[string]nested
	// done, if not nil, looks at the whole once everything in it was read; clean
	// tells that there was no mistake in it.
	done func(d *decoder, at hcl.Range, clean bool)
	// places, if not nil, learns where the value of each key stands.
	places map[string]hcl.Range
}

// read takes the value of a key.
type read func(d *decoder, a *hclsyntax.Attribute)

// nested says what a block within a block is.
type nested struct {
	// label says what the one label of the block is, "" if it has none.
	label string
	// open returns what may stand in it, for a label.
	open func(label string) *block
	// keep takes the inside as it is, in place of open.
	keep func(*hclsyntax.Body)
}

// body reads what stands in a block that begins at a place.
func (d *decoder) body(body *hclsyntax.Body, b *block, at hcl.Range) {
	before := len(d.diags)
	for _, name := range slices.Sorted(maps.Keys(body.Attributes)) {
		a := body.Attributes[name]
		read, known := b.keys[name]
		switch {
		case known:
			if b.places != nil {
				b.places[name] = a.Expr.Range()
			}
			read(d, a)
		case has(b.blocks, name):
			d.mistake(a.NameRange, name+" is a block, not a key", fmt.Sprintf("write %s { … }, without =", name))
		default:
			d.mistake(a.NameRange, "unknown key "+name, b.suggest(name))
		}
	}
	seen := map[string]hcl.Range{}
	for _, inner := range body.Blocks {
		d.nested(inner, b, seen)
	}
	if b.done != nil {
		b.done(d, at, len(d.diags) == before)
	}
}

// nested reads a block within a block. seen tells where those before it stand.
func (d *decoder) nested(inner *hclsyntax.Block, b *block, seen map[string]hcl.Range) {
	n, known := b.blocks[inner.Type]
	at := inner.DefRange()
	switch {
	case has(b.keys, inner.Type):
		d.mistake(inner.TypeRange, inner.Type+" is a key, not a block", fmt.Sprintf("write %s = …", inner.Type))
		return
	case !known:
		d.mistake(inner.TypeRange, "unknown block "+inner.Type, b.suggest(inner.Type))
		return
	case n.label == "" && len(inner.Labels) > 0:
		d.mistake(inner.LabelRanges[0], "the block "+inner.Type+" has no name", fmt.Sprintf("write %s { … }", inner.Type))
		return
	case n.label != "" && len(inner.Labels) != 1:
		d.mistake(at, fmt.Sprintf("the block %s wants one name", inner.Type), fmt.Sprintf("write %s %q { … }", inner.Type, n.label))
		return
	}
	var label string
	if n.label != "" {
		label = inner.Labels[0]
	}
	what := inner.Type
	if label != "" {
		what = fmt.Sprintf("%s %q", inner.Type, label)
	}
	if first, twice := seen[what]; twice {
		d.mistake(at, "the block "+what+" stands twice", fmt.Sprintf("the first one is in line %d", first.Start.Line))
		return
	}
	seen[what] = at
	if b.places != nil {
		b.places[what] = at
	}
	if n.keep != nil {
		n.keep(inner.Body)
		return
	}
	d.body(inner.Body, n.open(label), at)
}

// suggest says what may have been meant by name.
func (b *block) suggest(name string) string {
	names := slices.Concat(slices.Collect(maps.Keys(b.keys)), slices.Collect(maps.Keys(b.blocks)))
	return Suggest(name, names)
}

func has[V any](m map[string]V, name string) bool {
	_, ok := m[name]
	return ok
}

// mistake notes that something is wrong at a place.
func (d *decoder) mistake(at hcl.Range, what, hint string) {
	d.diags = append(d.diags, &hcl.Diagnostic{Severity: hcl.DiagError, Summary: what, Detail: hint, Subject: &at, Extra: ownWords{}})
}

// err returns the mistakes, nil if there are none.
func (d *decoder) err() error { return mistakes(d.source, d.diags) }
