package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// attackAll tries the attacks on a target: all with the defences as they are, then
// those that have the same defence open together.
func (t *target) attackAll(ctx context.Context, all []attack, r *results, long bool) {
	var groups []string
	with := map[string][]*attack{}
	for i := range all {
		a := &all[i]
		if !a.on(t.name) {
			continue
		}
		if reason := a.notOn[t.name]; reason != "" {
			r.set(a, t.name, result{status: notApplicable, reason: reason})
			continue
		}
		with[""] = append(with[""], a)
		if a.control.without(t.name) != "" {
			continue
		}
		// Where another specification is all it takes, the released programs do.
		key := a.control.key()
		if key == "" {
			key = closedKey
		}
		if with[key] == nil {
			groups = append(groups, key)
		}
		with[key] = append(with[key], a)
	}
	t.tryGroup(ctx, "", with[""], func(a *attack, arm *arm) { r.set(a, t.name, t.closed(ctx, a, arm, long)) }, r)
	for _, key := range groups {
		t.tryGroup(ctx, strings.TrimPrefix(key, closedKey), with[key], func(a *attack, arm *arm) {
			// What was not held off has been told.
			if r.get(a, t.name).status == held {
				r.set(a, t.name, t.control(ctx, a, arm, r.get(a, t.name), long))
			}
		}, r)
	}
}

// closedKey stands for a control that needs no program of its own.
const closedKey = "-"

// tryGroup tries attacks that can share a plugin.
func (t *target) tryGroup(ctx context.Context, defences string, group []*attack, try func(*attack, *arm), r *results) {
	if len(group) == 0 || ctx.Err() != nil {
		return
	}
	arm, err := t.newArm(ctx, defences)
	if err != nil {
		for _, a := range group {
			r.set(a, t.name, result{status: failed, reason: fmt.Sprintf("with %q open: %v", defences, err)})
		}
		return
	}
	for _, a := range group {
		if ctx.Err() == nil {
			try(a, arm)
		}
	}
	if err := arm.close(ctx); err != nil {
		r.set(group[len(group)-1], t.name, result{status: failed, reason: "after this and those before it: " + err.Error()})
	}
}

// closed tries an attack on deep as it is.
func (t *target) closed(ctx context.Context, a *attack, arm *arm, long bool) result {
	begin := time.Now()
	tr := &trial{attack: a, target: t, arm: arm, long: long}
	got, err := tr.try(ctx)
	res := result{status: held, without: a.control.without(t.name), took: time.Since(begin)}
	if len(got) > 0 {
		err = errors.Join(fmt.Errorf("the attack got %.500q", got), err)
	}
	if err != nil {
		res.status, res.reason = failed, err.Error()
	}
	return res
}

// control tries an attack with its defence open.
func (t *target) control(ctx context.Context, a *attack, arm *arm, res result, long bool) result {
	begin := time.Now()
	tr := &trial{attack: a, target: t, arm: arm, open: true, long: long}
	got, err := tr.try(ctx)
	res.took += time.Since(begin)
	switch {
	case err != nil && len(got) == 0:
		res.status, res.reason = failed, "with the defence open: "+err.Error()
	case len(got) == 0:
		res.status, res.reason = vacuous, "with the defence open it got nothing either"
	case err != nil:
		res.status, res.reason = failed, fmt.Sprintf("with the defence open it got %.200q, and: %v", got, err)
	}
	return res
}
