package main

import (
	"os"
	"testing"
)

// The table of the page is that of the attacks there are.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	now, err := withTable(string(page))
	if err != nil {
		t.Fatal(err)
	}
	if now != string(page) {
		t.Error("docs/security.md is stale: run `go run ./test/adversarial -docs docs/security.md`")
	}
}

// Every attack says what it is, has a name of its own, and a control or the reason
// why there is none.
func TestAttacks(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range attacks() {
		if seen[a.name] || a.name == "" || a.what == "" || a.defence == "" || a.run == nil {
			t.Errorf("%q is not complete, or there are two", a.name)
		}
		seen[a.name] = true
		c := a.control
		if controlled := len(c.opened) > 0 || c.spec != nil || c.inside != ""; controlled == (c.none != "") {
			t.Errorf("%s has neither a control nor a reason to have none, or both", a.name)
		}
	}
}
