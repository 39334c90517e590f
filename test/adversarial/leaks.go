package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// secret is in the environment of this process and of the plugins.
var secret = "secret-" + backend.NewID()

func leakAttacks() []attack {
	return []attack{
		{name: "environment", what: "looks for a secret of deep's and the plugin's environment in that of every process", defence: "a sandbox is given no environment of the host",
			control: controlArm{spec: func(_ *trial, s *backend.Spec) { s.Env = map[string]string{"LEAK": secret} }},
			run:     func(t *trial) { t.inside(t.shared(), "environment", secret) }},
		{name: "processes-of-others", what: "looks for processes of the host, and of another sandbox", defence: "a PID namespace of its own",
			control: uncontrolled("the guest refuses to be anything but PID 1"), run: func(t *trial) {
				other := t.sandbox(nil)
				_, err := other.Start(t.ctx, t.request("quiet"))
				t.must(err)
				t.inside(t.shared(), "others")
			}},
		{name: "files-of-others", what: "looks for a file of another sandbox, everywhere", defence: "a workspace of its own",
			control: controlArm{spec: func(t *trial, s *backend.Spec) { s.Workspace.Source = t.dirs[0] }}, run: func(t *trial) {
				t.dir()
				other := t.sandbox(nil)
				name := "canary-" + t.tag
				t.must(t.write(other, name, "of the other"))
				t.must(t.write(other, "/tmp/"+name+"-tmp", "of the other"))
				t.inside(t.shared(), "find", "canary-", t.tag)
			}},
		{name: "secret-on-engine", what: "looks for a secret of a command in labels, names, arguments, and in deep's files", defence: "what is secret goes over the guest's connection alone",
			control: controlArm{inside: "the secret as the name of a workspace"}, run: (*trial).secretOutside},
		{name: "secret-in-error", what: "looks for a secret in an error's text", defence: "an error names a variable, not what is in it",
			control: uncontrolled("there is no other text of an error"), run: func(t *trial) {
				hidden := "hidden-" + backend.NewID()
				for _, env := range []map[string]string{{"A=B": hidden}, {"NUL": hidden + "\x00"}, {"": hidden}} {
					req := t.request("none")
					req.Env = env
					_, _, err := t.exec(t.shared(), req)
					if err == nil || strings.Contains(err.Error(), hidden) {
						t.gets("an error that says %q", err)
					}
				}
			}},
	}
}

// secretOutside looks for what is in a sandbox's environment on this host.
func (t *trial) secretOutside() {
	hidden := "hidden" + backend.NewID()
	sb := t.sandbox(func(s *backend.Spec) {
		s.Env = map[string]string{"TOKEN": hidden}
		if t.open {
			s.Workspace.Name = hidden
		}
	})
	req := t.request("quiet")
	req.Env = map[string]string{"ADVERSARIAL": t.tag, "PASSWORD": hidden}
	_, err := sb.Start(t.ctx, req)
	t.must(err)
	if t.target.engine != nil {
		found, err := t.target.engine.ContainerList(t.ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", pluginsdk.LabelSandbox+"="+sb.Info().ID))})
		t.must(err)
		for _, c := range found {
			_, raw, err := t.target.engine.ContainerInspectWithRaw(t.ctx, c.ID, false)
			t.must(err)
			if bytes.Contains(raw, []byte(hidden)) {
				t.gets("it in what the engine tells of the container")
			}
		}
		if len(found) == 0 {
			t.fail("the engine has no such container")
		}
	}
	// The command itself has it in its environment; nobody has it as an argument.
	for _, p := range tagged(hidden) {
		if strings.Contains(p, hidden) {
			t.gets("it in the arguments of process %s", p)
		}
	}
	t.must(filepath.WalkDir(t.arm.state, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && !d.Type().IsRegular() {
			return nil
		}
		if err != nil {
			return err
		}
		if b, err := os.ReadFile(path); err == nil && bytes.Contains(b, []byte(hidden)) {
			t.gets("it in %s", path)
		}
		return nil
	}))
}
