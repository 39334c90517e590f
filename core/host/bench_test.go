package host

import (
	"testing"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/plugintest"
)

// BenchmarkStart is from nothing to the answer of a first call, checksum
// included, with this test's program as the plugin.
func BenchmarkStart(b *testing.B) {
	engine := plugintest.Dir(b)
	o, _ := options(b, "engine", engine)
	for b.Loop() {
		p, err := Launch(b.Context(), o)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.Check(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := p.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkCall is one small call to a sandbox through host, plugin and guest.
func BenchmarkCall(b *testing.B) {
	p, _, _ := launch(b, "engine")
	sb := create(b, p, "x", backend.Spec{Ephemeral: true})
	for b.Loop() {
		if _, err := sb.Stat(b.Context(), &backend.StatRequest{Path: "."}); err != nil {
			b.Fatal(err)
		}
	}
}
