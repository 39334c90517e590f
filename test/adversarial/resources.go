package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/control"
)

func resourceAttacks() []attack {
	endures := uncontrolled("it is a matter of endurance: there is nothing to open")
	memory := func(n int64) controlArm {
		return controlArm{spec: func(_ *trial, s *backend.Spec) { s.Memory = n }}
	}
	return []attack{
		{name: "memory", what: "takes 256 MiB where 64 are to be had", defence: "a limit of memory, without swap", control: memory(1 << 30), run: func(t *trial) {
			sb := t.sandbox(func(s *backend.Spec) { s.Memory = 64 << 20 })
			_, _, _ = t.exec(sb, t.request("memory", "256"))
			t.alive(sb)
		}},
		{name: "memory-in-tmp", what: "fills /tmp, which is memory", defence: "sized file systems in memory", control: memory(1 << 30), run: func(t *trial) {
			sb := t.sandbox(func(s *backend.Spec) { s.Memory = 128 << 20 })
			t.inside(sb, "write", "/tmp/big", "100")
			t.alive(sb)
		}},
		{name: "processes", what: "has 200 processes where 128 are to be had", defence: "a limit of processes", control: controlArm{spec: func(_ *trial, s *backend.Spec) { s.PIDs = 1024 }},
			run: func(t *trial) {
				sb := t.sandbox(func(s *backend.Spec) { s.PIDs = 128 })
				t.inside(sb, "many", "200")
				t.alive(sb)
			}},
		{name: "file-size", what: "makes a sparse file of 1 TiB", defence: "a limit of a file's size", control: opening(control.ResourceLimits),
			run: func(t *trial) { t.inside(t.sandbox(nil), "sparse", "/workspace/sparse", "1024") }},
		{name: "open-files", what: "opens 5,000 files", defence: "a limit of open files", control: opening(control.ResourceLimits),
			run: func(t *trial) { t.inside(t.sandbox(nil), "open", "5000") }},
		{name: "raise-limits", what: "raises its own limits", defence: "hard limits, and no capability", control: uncontrolled("a limit that is open needs no raising"),
			run: func(t *trial) { t.inside(t.shared(), "raise-limits") }},
		{name: "core-dump", what: "leaves a core of what it crashed", defence: "a limit of core files", control: uncontrolled("where cores go is this machine's own setting"),
			run: func(t *trial) {
				sb := t.sandbox(nil)
				_, _, _ = t.exec(sb, t.request("raise", "6"))
				list, err := sb.List(t.ctx, &backend.ListDirRequest{})
				t.must(err)
				if len(list.Entries) > 1 {
					t.gets("%+v", list.Entries)
				}
			}},
		{name: "processor", what: "spins on four threads where a tenth of a processor is to be had", defence: "a limit of processor time",
			control: controlArm{spec: func(_ *trial, s *backend.Spec) { s.CPUs = 2 }}, run: func(t *trial) {
				sb := t.sandbox(func(s *backend.Spec) { s.CPUs = 0.1 })
				res, _ := t.inside(sb, "spin")
				if used := res.UserTime + res.SystemTime; used > 450*time.Millisecond {
					t.gets("%v of processor time within two seconds", used)
				}
			}},
		{name: "output", what: "writes without an end, to both streams, without a newline", defence: "windows of fixed size", control: endures,
			run: func(t *trial) { t.flood(int64(t.scale(128, 10<<10)) << 20) }},
		{name: "output-unread", what: "writes to somebody who never reads", defence: "a slow reader slows the command", control: endures, run: (*trial).unread},
		{name: "input-unread", what: "does not read what is written to it", defence: "windows of fixed size", control: endures, run: func(t *trial) {
			sb := t.sandbox(nil)
			req := t.request("quiet")
			req.Stdin, req.Timeout = io.LimitReader(zeros{}, 50<<20), time.Second
			t.within(func() {
				res, _, err := t.exec(sb, req)
				if err != nil || res.Outcome != backend.OutcomeTimeout {
					t.gets("%+v, %v", res, err)
				}
			})
			t.alive(sb)
		}},
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// swell is how much a plugin may grow by what a sandbox does, in bytes.
const swell = 32 << 20

// within notes by how much the plugin has grown.
func (t *trial) within(f func()) {
	before := resident(t.arm.plugin.PID())
	f()
	if grown := resident(t.arm.plugin.PID()) - before; grown > swell {
		t.gets("a plugin that has grown by %d MiB", grown>>20)
	}
}

// resident is the memory of a process, in bytes.
func resident(pid int) int64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "RssAnon:" {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n << 10
		}
	}
	return 0
}

func (t *trial) flood(n int64) {
	sb := t.sandbox(nil)
	t.within(func() {
		req := t.request("flood", fmt.Sprint(n))
		req.Stdout, req.Stderr, req.Timeout = io.Discard, io.Discard, 10*time.Minute
		res, _, err := t.exec(sb, req)
		if err != nil || res.StdoutBytes+res.StderrBytes != n {
			t.gets("%+v, %v", res, err)
		}
	})
	t.alive(sb)
}

// stuck is a writer that never returns until it is let go.
type stuck struct{ letGo chan struct{} }

func (s stuck) Write(p []byte) (int, error) { <-s.letGo; return len(p), nil }

func (t *trial) unread() {
	sb := t.sandbox(nil)
	t.within(func() {
		w := stuck{make(chan struct{})}
		req := t.request("flood", fmt.Sprint(1<<40))
		req.Stdout, req.Stderr, req.Timeout = w, w, backend.Unlimited
		ctx, cancel := context.WithCancel(t.ctx)
		ended := beside(func() error { _, err := sb.Exec(ctx, req); return err })
		time.Sleep(time.Second)
		t.alive(sb)
		cancel()
		close(w.letGo)
		<-ended //nolint:errcheck // it was told to end
	})
	if left := tagged(t.tag); len(left) > 0 {
		t.gets("%d survivors", len(left))
	}
}
