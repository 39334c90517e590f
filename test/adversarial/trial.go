package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"strings"
	"sync"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

const (
	// trialTime bounds one trial, cleanTime what is done after it.
	trialTime = 90 * time.Second
	cleanTime = 60 * time.Second
	// attackerPath is where the attacker is in a sandbox.
	attackerPath = "/workspace/attacker"
)

// A trial is one attack on one target, in one arm.
type trial struct {
	ctx    context.Context
	attack *attack
	target *target
	arm    *arm
	// open: the defence is.
	open bool
	// tag is in the environment and the arguments of all that is run.
	tag string
	// long: take the time there is.
	long bool

	mu       sync.Mutex
	got      []string
	cleanups []func(context.Context) error
	// dirs of this host that were made for it.
	dirs []string
}

// broken ends a trial that could not be made.
type broken struct{ error }

// try runs an attack and returns what it got. The error says that it could not be
// tried, or that it left something behind.
func (t *trial) try(ctx context.Context) (got []string, err error) {
	limit := trialTime
	if t.long {
		limit = 20 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	t.ctx, t.tag = ctx, "adversarial-"+backend.NewID()
	func() {
		defer func() {
			switch p := recover().(type) {
			case nil:
			case broken:
				err = p.error
			default:
				panic(p)
			}
		}()
		t.attack.run(t)
	}()
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		err = errors.Join(err, t.cleanups[i](clean))
	}
	err = errors.Join(err, t.left(clean))
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.got, err
}

// gets notes that the attack got something.
func (t *trial) gets(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.got = append(t.got, fmt.Sprintf(format, args...))
}

// gotten reports whether the attack got anything yet.
func (t *trial) gotten() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.got) > 0
}

// must ends the trial if err is one.
func (t *trial) must(err error) {
	if err != nil {
		panic(broken{err})
	}
}

func (t *trial) fail(format string, args ...any) { t.must(fmt.Errorf(format, args...)) }

// after runs f when the trial is over.
func (t *trial) after(f func(context.Context) error) { t.cleanups = append(t.cleanups, f) }

// dir makes a directory of this host that everybody may enter, for uid 1000.
func (t *trial) dir() string {
	dir, err := os.MkdirTemp(t.target.dir, "trial-")
	t.must(err)
	t.must(errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, backend.DefaultUID, backend.DefaultUID)))
	t.after(func(context.Context) error { return os.RemoveAll(dir) })
	t.dirs = append(t.dirs, dir)
	return dir
}

// shared is a sandbox that several attacks use, those that leave it as it was.
func (t *trial) shared() backend.Sandbox {
	if t.open && t.attack.control.spec != nil {
		return t.sandbox(nil)
	}
	sb, err := t.arm.sharedSandbox(t.ctx)
	t.must(err)
	return sb
}

// sandbox makes one for this trial alone.
func (t *trial) sandbox(change func(*backend.Spec)) backend.Sandbox {
	sb, err := t.create(change)
	t.must(err)
	return sb
}

// create is sandbox for attacks that expect to be refused.
func (t *trial) create(change func(*backend.Spec)) (backend.Sandbox, error) {
	spec := t.arm.spec()
	if change != nil {
		change(&spec)
	}
	if t.open && t.attack.control.spec != nil {
		t.attack.control.spec(t, &spec)
	}
	id := backend.NewID()
	sb, err := t.arm.plugin.Create(t.ctx, &backend.CreateRequest{ID: id, Spec: spec})
	if err != nil {
		return nil, err
	}
	t.after(func(ctx context.Context) error { return t.arm.destroy(ctx, id) })
	return sb, t.place(sb)
}

// place puts the attacker into a sandbox.
func (t *trial) place(sb backend.Sandbox) error { return placeAttacker(t.ctx, sb, t.target.attacker) }

func placeAttacker(ctx context.Context, sb backend.Sandbox, program []byte) error {
	_, err := sb.WriteFile(ctx, &backend.WriteFileRequest{Path: attackerPath, Content: bytes.NewReader(program), Mode: 0o755})
	return err
}

// attackTime is what an attacker gets that does not end by itself.
const attackTime = 20 * time.Second

// request asks for a run of the attacker.
func (t *trial) request(name string, args ...string) *backend.ExecRequest {
	return &backend.ExecRequest{
		Argv: append([]string{attackerPath, t.tag, name}, args...), Env: map[string]string{"ADVERSARIAL": t.tag},
		Timeout: attackTime, Grace: new(time.Duration),
	}
}

// inside runs the attacker, which prints what it gets in lines that begin with
// "got ", and returns the result and all that it printed.
func (t *trial) inside(sb backend.Sandbox, name string, args ...string) (*backend.ExecResult, string) {
	res, out, err := t.exec(sb, t.request(name, args...))
	t.must(err)
	return res, out
}

// exec runs a request and notes what the attacker got.
func (t *trial) exec(sb backend.Sandbox, req *backend.ExecRequest) (*backend.ExecResult, string, error) {
	var out bytes.Buffer
	if req.Stdout == nil {
		req.Stdout, req.Stderr = &out, &out
	}
	res, err := sb.Exec(t.ctx, req)
	for line := range strings.Lines(out.String()) {
		switch {
		case strings.HasPrefix(line, "got "):
			t.gets("%s", strings.TrimSpace(line[len("got "):]))
		case strings.HasPrefix(line, "broken "):
			t.fail("attacker %v: %s", req.Argv, line)
		}
	}
	return res, out.String(), err
}

// read reads a file of a sandbox through the guest.
func (t *trial) read(sb backend.Sandbox, path string, limit int64) (string, error) {
	f, err := sb.ReadFile(t.ctx, &backend.ReadFileRequest{Path: path, Length: limit})
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	var b bytes.Buffer
	_, err = b.ReadFrom(f)
	return b.String(), err
}

// write writes a file of a sandbox through the guest.
func (t *trial) write(sb backend.Sandbox, path, content string) error {
	_, err := sb.WriteFile(t.ctx, &backend.WriteFileRequest{Path: path, Content: strings.NewReader(content)})
	return err
}

// alive says that the guest still does what it is asked to.
func (t *trial) alive(sb backend.Sandbox) {
	res, out, err := t.exec(sb, &backend.ExecRequest{Argv: []string{attackerPath, t.tag, "echo", "alive"}, Env: map[string]string{"ADVERSARIAL": t.tag}, Timeout: attackTime})
	if err != nil || res.Outcome != backend.OutcomeExit || out != "alive\n" {
		t.gets("the guest no longer works: %v, %+v, %q", err, res, out)
	}
}
