package main

import (
	"slices"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

// An attack is a row of the table. It is tried twice: as deep is, where it must
// get nothing, and with its defence open, where it must get something: what would
// fail anyway shows nothing.
type attack struct {
	name, family string
	// what it tries, and what stops it, for the table.
	what, defence string
	control       controlArm
	// notOn has the reasons why there is nothing to try on a backend.
	notOn map[string]string
	// host: it attacks deep itself, whatever the backend.
	host bool
	// long: only in `make adversarial-long`.
	long bool
	run  func(*trial)
}

// controlArm says how the defence of an attack is opened.
type controlArm struct {
	// opened are defences of package control, in programs built for it.
	opened []string
	// spec gives a sandbox what the defence withholds.
	spec func(*trial, *backend.Spec)
	// inside: the attack itself does without the defence when trial.open is set. It
	// says how, for the table.
	inside string
	// none says why no control can exist; noneOn the same of single backends.
	none   string
	noneOn map[string]string
}

// opening is a control by defences of package control.
func opening(defences ...string) controlArm { return controlArm{opened: defences} }

// uncontrolled says why there is no control.
func uncontrolled(reason string) controlArm { return controlArm{none: reason} }

// on reports whether a target is one that the attack is for.
func (a *attack) on(target string) bool { return a.host == (target == deepItself) }

// key is the same for controls that can share programs.
func (c controlArm) key() string { return strings.Join(slices.Sorted(slices.Values(c.opened)), ",") }

// without returns why there is no control on a backend, "" if there is one.
func (c controlArm) without(target string) string {
	if c.none != "" {
		return c.none
	}
	return c.noneOn[target]
}

// opens is what the table says of the control.
func (c controlArm) opens() string {
	var ways []string
	if len(c.opened) > 0 {
		ways = append(ways, strings.Join(c.opened, ", "))
	}
	if c.spec != nil {
		ways = append(ways, "the specification")
	}
	if c.inside != "" {
		ways = append(ways, c.inside)
	}
	if len(ways) == 0 {
		return "nothing: " + c.none
	}
	return strings.Join(ways, " and ")
}

// families in the order of the table; each fills in the name of its own.
func attacks() []attack {
	var all []attack
	for _, f := range []struct {
		name    string
		attacks []attack
	}{
		{"files", fileAttacks()},
		{"system calls", callAttacks()},
		{"network", networkAttacks()},
		{"processes", processAttacks()},
		{"leaks", leakAttacks()},
		{"resources", resourceAttacks()},
		{"plugins", pluginAttacks()},
		{"configuration", configAttacks()},
	} {
		for _, a := range f.attacks {
			a.family = f.name
			all = append(all, a)
		}
	}
	return all
}
