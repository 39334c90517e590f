//go:build linux

package main

import (
	"bytes"
	"testing"

	"github.com/deep-sandbox/deep/core/pluginsdk/seccomp"
)

// What is committed is what the generator makes.
func TestGenerated(t *testing.T) {
	for _, arch := range architectures {
		want, err := arch.profile()
		if err != nil {
			t.Fatal(err)
		}
		got, err := seccomp.Profile(arch.name)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s.json is stale, %v: run `go generate ./core/pluginsdk/seccomp`", arch.name, err)
		}
	}
}
