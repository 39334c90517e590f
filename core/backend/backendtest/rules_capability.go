package backendtest

import (
	"errors"

	"github.com/deep-sandbox/deep/core/backend"
)

// undeclared says, for each capability that a call can ask for, which call that
// is. Images are left out: a backend without them ignores Spec.Image.
var undeclared = []struct {
	capability backend.Capability
	call       func(t *T) error
}{
	{backend.CapBind, func(t *T) error {
		_, err := t.create(backend.NewID(), func(s *backend.Spec) { s.Workspace = backend.Workspace{Source: "/"} })
		return err
	}},
	{backend.CapNetworkFull, func(t *T) error {
		_, err := t.create(backend.NewID(), func(s *backend.Spec) { s.Network = backend.NetworkFull })
		return err
	}},
	{backend.CapKeepWorkspace, func(t *T) error {
		_, err := t.create(backend.NewID(), func(s *backend.Spec) { s.Workspace = backend.Workspace{Name: backend.NewID()} })
		return err
	}},
	{backend.CapTTY, func(t *T) error {
		return t.exec(&backend.ExecRequest{Argv: []string{"true"}, TTY: &backend.WindowSize{Rows: 24, Cols: 80}}).err
	}},
	{backend.CapDial, func(t *T) error {
		conn, err := t.sandbox().Dial(t.ctx, &backend.DialRequest{Port: 1})
		if err == nil {
			return errors.Join(conn.Close(), err)
		}
		return err
	}},
	{backend.CapProcesses, func(t *T) error {
		_, err := t.sandbox().Processes(t.ctx, &backend.ProcessesRequest{})
		return err
	}},
	{backend.CapProcesses, func(t *T) error {
		_, err := t.sandbox().Stats(t.ctx, &backend.StatsRequest{})
		return err
	}},
}

var capabilityRules = []Rule{{
	Name:     "capability-undeclared",
	Sentence: "What a backend can do it declares: what needs a capability it does not declare is ErrUnsupported.",
	run: func(t *T) {
		for _, u := range undeclared {
			if !t.declares(u.capability) {
				t.wantKind("without the capability "+string(u.capability), u.call(t), backend.ErrUnsupported)
			}
		}
	},
}}
