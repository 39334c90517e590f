package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/control"
)

const killsAll = "a kill ends all that has the command's group, which nobody can leave"

// hostile attackers try to leave something behind when they are killed.
var hostile = []struct {
	name, what string
	args       []string
	// least processes that are there when it is killed: the attack was real.
	least int
}{
	{"kill-child", "leaves a child", []string{"child"}, 2},
	{"kill-setsid", "leaves a chain of fifty, each in a session of its own", []string{"chain", "setsid", "50"}, 50},
	{"kill-double-fork", "leaves a chain of fifty whose parents have ended", []string{"chain", "orphan", "50", "first"}, 2},
	{"kill-term-ignored", "ignores every signal that can be ignored", []string{"ignore"}, 2},
	{"kill-stopped", "stops itself and its child", []string{"stop"}, 2},
	{"kill-relay", "lives on in one process after another", []string{"relay"}, 1},
	{"kill-cleared", "clears its environment and changes its name", []string{"cleared"}, 2},
}

const protectsPID1 = "the kernel lets nothing but a handler reach PID 1 from inside"

func processAttacks() []attack {
	var list []attack
	for _, h := range hostile {
		list = append(list, attack{name: h.name, what: h.what, defence: killsAll, control: opening(control.KillAll), run: func(t *trial) {
			t.survive(t.sandbox(nil), h.args, h.least)
		}})
	}
	endures := uncontrolled("it is a matter of endurance: there is nothing to open")
	return append(list,
		attack{name: "kill-fork-bomb", what: "forks in a loop", defence: killsAll + "; stopped first, then killed", control: opening(control.KillAll), run: (*trial).bomb},
		attack{name: "kill-threads", what: "has a hundred threads", defence: killsAll, control: uncontrolled("they are one process to the kernel, which ends them together"),
			run: func(t *trial) { t.survive(t.sandbox(nil), []string{"threads", "100"}, 1) }},
		attack{name: "cancel-any-time", what: "is cancelled at any moment of its start", defence: killsAll, control: opening(control.KillAll),
			run: func(t *trial) { t.cancelAnyTime(40) }},
		attack{name: "thousand-kills", what: "is killed a thousand times, without grace", defence: killsAll, control: opening(control.KillAll), long: true,
			run: func(t *trial) { t.cancelAnyTime(1000) }},
		attack{name: "daemon", what: "ends, and leaves a daemon that holds its output open", defence: "a result waits for the command alone", control: endures,
			run: (*trial).daemon},
		attack{name: "kill-everybody", what: "kills every process that it may", defence: "the guest is another user, and PID 1", control: uncontrolled(protectsPID1),
			run: func(t *trial) {
				sb := t.sandbox(nil)
				t.inside(sb, "signal", "-1", "9")
				t.alive(sb)
			}},
		attack{name: "signal-guest", what: "sends PID 1 every signal", defence: "the guest is another user; on local Landlock", control: opening(control.UserSplit, control.Landlock),
			run: func(t *trial) {
				sb := t.sandbox(nil)
				_, _, _ = t.exec(sb, t.request("signals", "1"))
				t.alive(sb)
			}},
		attack{name: "ptrace-guest", what: "traces PID 1", defence: "the guest is another user, and undumpable; on local Landlock", run: func(t *trial) { t.inside(t.sandbox(nil), "ptrace", "1") },
			control: uncontrolled("a guest with threads of another user is undumpable to the kernel, whatever it asks for")},
		attack{name: "read-guest", what: "reads the memory, environment and descriptors of PID 1", defence: "the guest is another user, and undumpable; on local Landlock", run: func(t *trial) { t.inside(t.sandbox(nil), "proc1") },
			control: opening(control.UserSplit, control.Landlock)},
		attack{name: "zombies", what: "leaves as many zombies as there may be", defence: "the guest reaps", control: endures, run: func(t *trial) {
			sb := t.sandbox(nil)
			t.inside(sb, "zombies", fmt.Sprint(t.scale(2_000, 10_000)))
			t.alive(sb)
			if list, err := sb.Processes(t.ctx, &backend.ProcessesRequest{}); err != nil || len(list.Processes) > 2 {
				t.gets("processes that are left: %v, %+v", err, list)
			}
		}},
		attack{name: "exit-truth", what: "ends by every exit code and every signal that kills", defence: "the guest tells the kernel's word", control: endures, run: (*trial).exits},
		attack{name: "argv-limits", what: "has arguments and an environment at, and over, the kernel's limits", defence: "the kernel's answer is told", control: endures, run: (*trial).argvLimits},
		attack{name: "timeouts", what: "timeouts of 0, -1, 1 ns and the longest there is", defence: "what means nothing is refused", control: endures, run: (*trial).timeouts},
	)
}

// survive runs an attacker, ends it without grace when it has made what it makes,
// and looks for what is left the moment deep says that it is dead.
func (t *trial) survive(sb backend.Sandbox, args []string, least int) {
	r := t.start(sb, args...)
	defer r.cancel()
	t.must(eventually(t.ctx, func() error {
		if n := len(tagged(t.tag)); n < least {
			return fmt.Errorf("%d processes, where %d were to be", n, least)
		}
		return nil
	}))
	if err := r.end(); !errors.Is(err, context.Canceled) {
		t.fail("it was not cancelled: %v", err)
	}
	// More than once: one that lives for a moment is easily missed.
	for range 5 {
		if left := tagged(t.tag); len(left) > 0 {
			t.gets("%d survivors: %.100q", len(left), left)
			return
		}
		time.Sleep(3 * time.Millisecond)
	}
}

// bomb forks in a loop; meanwhile the guest does what it is asked to.
func (t *trial) bomb() {
	sb := t.sandbox(func(s *backend.Spec) { s.PIDs = 160 })
	t.must(t.write(sb, "file", "content"))
	r := t.start(sb, "bomb")
	defer r.cancel()
	if text, err := t.read(sb, "file", 0); err != nil || text != "content" {
		t.gets("a guest that does not read: %q, %v", text, err)
	}
	_ = r.end()
	if left := tagged(t.tag); len(left) > 0 {
		t.gets("%d survivors", len(left))
		return
	}
	t.alive(sb)
}

func (t *trial) cancelAnyTime(n int) {
	sb := t.sandbox(nil)
	for i := 0; i < n && !t.gotten() && t.ctx.Err() == nil; i++ {
		ctx, cancel := context.WithTimeout(t.ctx, time.Duration(rand.Int64N(int64(40*time.Millisecond))))
		req := t.request("chain", "setsid", "5")
		_, err := sb.Exec(ctx, req)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.fail("run %d ended with %v", i, err)
		}
		if left := tagged(t.tag); len(left) > 0 {
			t.gets("%d survivors of run %d", len(left), i)
		}
	}
}

func (t *trial) daemon() {
	sb := t.sandbox(nil)
	begin := time.Now()
	res, _ := t.inside(sb, "daemon")
	if took := time.Since(begin); took > 10*time.Second || res.Outcome != backend.OutcomeExit {
		t.gets("a result after %v: %+v", took, res)
	}
	if len(tagged(t.tag)) == 0 {
		t.fail("there is no daemon")
	}
}

func (t *trial) exits() {
	sb := t.shared()
	for code := range 256 {
		res, _ := t.inside(sb, "exit", fmt.Sprint(code))
		if res.Outcome != backend.OutcomeExit || res.ExitCode != code {
			t.gets("for exit code %d: %+v", code, res)
		}
	}
	for sig := 1; sig <= 64; sig++ {
		switch sig {
		case 17, 18, 19, 20, 21, 22, 23, 28, 32, 33: // they do not end a program, or are the runtime's
			continue
		}
		res, _ := t.inside(sb, "raise", fmt.Sprint(sig))
		if res.Outcome != backend.OutcomeSignal || res.Signal != sig || res.ExitCode != 128+sig {
			t.gets("for signal %d: %+v", sig, res)
		}
	}
}

func (t *trial) argvLimits() {
	sb := t.shared()
	const most = 128 << 10 // of one argument, its end included
	for _, c := range []struct {
		size, count int
		ok          bool
	}{{most - 1, 1, true}, {most, 1, false}, {1 << 10, 1000, true}, {64 << 10, 64, false}} {
		req := t.request("none")
		for range c.count {
			req.Argv = append(req.Argv, strings.Repeat("x", c.size))
		}
		res, _, err := t.exec(sb, req)
		started := err == nil && res.Outcome == backend.OutcomeExit && res.ExitCode == 0
		if started != c.ok {
			t.gets("with %d arguments of %d bytes: %+v, %v", c.count, c.size, res, err)
		}
		req = t.request("none")
		req.Env["BIG"] = strings.Repeat("x", c.size*c.count)
		res, _, err = t.exec(sb, req)
		if big := c.size*c.count+len("BIG=") >= most; (err == nil && res.Outcome == backend.OutcomeExit) == big {
			t.gets("with %d bytes of environment: %+v, %v", c.size*c.count, res, err)
		}
	}
	t.alive(sb)
}

func (t *trial) timeouts() {
	sb := t.shared()
	for _, c := range []struct {
		timeout time.Duration
		outcome backend.Outcome
	}{{0, backend.OutcomeExit}, {-1, ""}, {-backend.Unlimited, ""}, {1, backend.OutcomeTimeout}, {backend.Unlimited - 1, backend.OutcomeExit}, {backend.Unlimited, backend.OutcomeExit}} {
		req := t.request("pause")
		req.Timeout = c.timeout
		req.Stdout, req.Stderr = io.Discard, io.Discard
		res, _, err := t.exec(sb, req)
		switch {
		case c.outcome == "" && errors.Is(err, backend.ErrInvalid):
		case c.outcome == "" || err != nil || res.Outcome != c.outcome:
			t.gets("for a timeout of %v: %+v, %v", c.timeout, res, err)
		}
	}
}
