package guest

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

func TestGroupRange(t *testing.T) {
	for _, c := range []struct {
		gidMap    string
		avoid     uint32
		low, high uint32 // 0, 0: none
	}{
		{"         0          0 4294967295\n", 1000, 1<<30 - 1, 1<<31 - 1},
		{"0 1000 1\n", 0, 0, 0},
		{"0 1000 1\n1 100000 65536\n", 1000, 32768, 65533},
		{"0 100000 65536\n", 40000, 40001, 65533},
		{"0 0 4294967295\n", 1<<30 + 5, 1<<30 + 6, 1<<31 - 1},
		{"", 0, 0, 0},
	} {
		file := filepath.Join(t.TempDir(), "map")
		check(t, os.WriteFile(file, []byte(c.gidMap), 0o600))
		low, high, err := groupRange(file, c.avoid)
		if (err != nil) != (c.high == 0) {
			t.Errorf("%q: %v", c.gidMap, err)
			continue
		}
		if err == nil && (high != c.high || low < c.low || low > c.low+1 || c.avoid >= low && c.avoid <= high) {
			t.Errorf("%q: %d to %d, want %d to %d", c.gidMap, low, high, c.low, c.high)
		}
	}
}

func TestGroupIDs(t *testing.T) {
	alive := map[uint32]bool{101: true, 103: true}
	asked := 0
	present := func() (map[uint32]bool, error) {
		asked++
		now := map[uint32]bool{}
		for g := range alive {
			now[g] = true
		}
		return now, nil
	}
	g := &groupIDs{low: 100, high: 105, next: 100, starting: map[uint32]bool{}}
	var got []uint32
	for range 6 {
		id, err := g.take(present)
		check(t, err)
		if id != 102 { // its process is not there yet
			g.started(id)
		}
		got = append(got, id)
	}
	if !slices.Equal(got, []uint32{100, 101, 102, 103, 104, 105}) || asked != 0 {
		t.Fatalf("%v, asked %d times", got, asked)
	}
	got = nil
	for range 6 {
		id, err := g.take(present)
		check(t, err)
		g.started(id)
		got = append(got, id)
	}
	if !slices.Equal(got, []uint32{100, 104, 105, 100, 104, 105}) {
		t.Fatalf("%v: an id was given while a process had it", got)
	}
	for id := uint32(100); id <= 105; id++ {
		alive[id] = true
	}
	for range 3 {
		if id, err := g.take(present); err == nil && alive[id] && id != 100 && id != 104 && id != 105 {
			t.Fatalf("got %d", id)
		}
	}
	if _, err := g.take(present); err != unix.EAGAIN {
		t.Fatalf("all are taken: %v", err)
	}
}

func TestStateIn(t *testing.T) {
	status := func(state, threads string) []byte {
		return []byte("Name:\tx\nUmask:\t0022\nState:\t" + state + "\nTgid:\t1\nGroups:\t7 1073741830 \nNStgid:\t1\nThreads:\t" + threads + "\nSigQ:\t0/1\n")
	}
	for _, c := range []struct {
		state, threads string
		dead           bool
	}{{"R (running)", "1", false}, {"T (stopped)", "1", false}, {"D (disk sleep)", "2", false}, {"Z (zombie)", "1", true}, {"Z (zombie)", "2", false}, {"X (dead)", "1", true}} {
		if _, dead := stateIn(status(c.state, c.threads)); dead != c.dead {
			t.Errorf("%s with %s threads: dead %v", c.state, c.threads, dead)
		}
	}
	s := &sweeper{low: 1 << 30, high: 1<<31 - 1}
	if g := s.groupIn(status("R", "1")); g != 1073741830 {
		t.Errorf("group %d", g)
	}
	// A name cannot forge the line: the kernel escapes its newline.
	if g := s.groupIn([]byte("Name:\tx\\nGroups:\t1073741831\nGroups:\t \n")); g != 0 {
		t.Errorf("group %d", g)
	}
}

func TestSmallest(t *testing.T) {
	for n := 1; n < 40; n += 7 {
		s := newSmallest(n, cmp.Compare[int])
		var all []int
		for range 100 {
			v := rand.IntN(60)
			all = append(all, v)
			s.add(v)
		}
		slices.Sort(all)
		if got := s.sorted(); !slices.Equal(got, all[:n]) {
			t.Errorf("%v, want %v", got, all[:n])
		}
	}
}

func TestSplitPath(t *testing.T) {
	for _, c := range []struct {
		path, dir, name string
		slash           bool
	}{{"/a/b", "/a/", "b", false}, {"a", ".", "a", false}, {"a/b/", "a/", "b", true}, {"/", "/", "", true}, {"//", "/", "", true}, {"/a", "/", "a", false}, {"../x", "../", "x", false}} {
		dir, name, slash := splitPath(c.path)
		if dir != c.dir || name != c.name || slash != c.slash {
			t.Errorf("%q: %q %q %v", c.path, dir, name, slash)
		}
	}
}

func TestBaseEnv(t *testing.T) {
	env, err := baseEnv([]string{"A=image", "B=image", "DEEP_X=1", "HOME=/root", "TERM=xterm", "broken", "=x"}, [][]byte{[]byte("B=setup"), []byte("LANG=de=x")}, "/home")
	check(t, err)
	for k, want := range map[string]string{"A": "image", "B": "setup", "HOME": "/home", "LANG": "de=x", "PATH": defaultPath} {
		if env[k] != want {
			t.Errorf("%s is %q, want %q", k, env[k], want)
		}
	}
	if len(env) != 5 {
		t.Errorf("%v", env)
	}
	list, path := withEnv(env, "xterm", map[string]string{"A": "exec", "PATH": "/x"})
	if path != "/x" || !slices.Contains(list, "A=exec") || !slices.Contains(list, "TERM=xterm") || !slices.IsSorted(list) || env["A"] != "image" {
		t.Errorf("%v", list)
	}
	env, err = baseEnv(nil, [][]byte{[]byte("TERM=setup")}, "/")
	check(t, err)
	for given, want := range map[string]string{"": "TERM=setup", "exec": "TERM=exec"} {
		extra := map[string]string{}
		if given != "" {
			extra["TERM"] = given
		}
		if list, _ := withEnv(env, "xterm", extra); !slices.Contains(list, want) {
			t.Errorf("%v, want %s", list, want)
		}
	}
	for _, bad := range []string{"novalue", "=x", "A=\x00"} {
		if _, err := baseEnv(nil, [][]byte{[]byte(bad)}, "/"); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestFailed(t *testing.T) {
	for errno, kind := range map[unix.Errno]error{
		unix.ENOENT: backend.ErrNotFound, unix.EEXIST: backend.ErrExists, unix.EISDIR: backend.ErrIsDirectory, unix.ENOTDIR: backend.ErrNotDirectory,
		unix.EACCES: backend.ErrPermission, unix.EPERM: backend.ErrPermission, unix.EROFS: backend.ErrPermission, unix.ELOOP: backend.ErrInvalid,
		unix.ENAMETOOLONG: backend.ErrInvalid, unix.EINVAL: backend.ErrInvalid, unix.ENOSPC: backend.ErrNoSpace, unix.EDQUOT: backend.ErrNoSpace,
		unix.ENOTEMPTY: backend.ErrConflict, unix.EFBIG: backend.ErrTooLarge, unix.EBUSY: backend.ErrUnsupported, unix.EIO: backend.ErrUnavailable,
	} {
		e := wantKind(t, failed("op", "path", errno), kind)
		if e.Op != "op" || e.Path != "path" {
			t.Errorf("%+v", e)
		}
	}
	if e := wantKind(t, failed("stat", "path", unix.ENOENT), backend.ErrNotFound); e.Hint == "" {
		t.Error("what to do where there is no file is not said")
	}
	inner := &backend.Error{Kind: backend.ErrConflict, Path: "inner", Hint: "wait", Count: 3}
	e := wantKind(t, failed("op", "path", inner), backend.ErrConflict)
	if e.Op != "op" || e.Path != "inner" || e.Count != 3 || inner.Op != "" {
		t.Errorf("%+v", e)
	}
	if failed("op", "path", nil) != nil {
		t.Error("no error became one")
	}
}

func TestUnreadableIsPassedOver(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EINVAL, unix.EIO, unix.EPERM, unix.EACCES, unix.ESRCH, unix.ENXIO, unix.EAGAIN, unix.EOPNOTSUPP} {
		tree := &tree{}
		if err := tree.passOver("file", errno); err != nil || !slices.Equal(tree.unreadable, []string{"file"}) {
			t.Errorf("%v: %v, unreadable %q", errno, err, tree.unreadable)
		}
	}
	for _, err := range []error{unix.EMFILE, context.Canceled} {
		if tree := (&tree{}); !errors.Is(tree.passOver("file", err), err) || len(tree.unreadable) > 0 {
			t.Errorf("%v was passed over", err)
		}
	}
}

func TestBadExpression(t *testing.T) {
	for pattern, want := range map[string]string{
		"ab(cd":          "byte 2,",
		"a(b)(c":         "byte 4,",
		"(a(b)":          "byte 0,",
		"ab)cd":          "byte 2,",
		"(a))":           "byte 3,",
		`\(ab)`:          "byte 4,",
		`\Q(\E)`:         "byte 5,",
		`[)(](`:          "byte 4,",
		`[^])](`:         "byte 5,",
		`[[:alpha:](]x)`: "byte 13,",
		"ab[c":           "byte 2,",
		"ab*[z-a]":       "byte 4,",
		"xa{1001}":       "byte 2,",
		"a|*":            "byte 2,",
		"ab(?<n":         "byte 2,",
		"a**b**c":        `, at "**"`,
	} {
		_, err := newMatcher(&backend.GrepRequest{Pattern: pattern})
		if e := wantKind(t, failed("grep", ".", err), backend.ErrInvalid); !strings.Contains(e.Message, want) || e.Hint == "" {
			t.Errorf("%q: %v, want %s", pattern, e, want)
		}
	}
}

func TestFileLocks(t *testing.T) {
	l := newFileLocks()
	key := fileKey{1, 2, "x"}
	unlock, err := l.lock(t.Context(), key)
	check(t, err)
	other, err := l.lock(t.Context(), fileKey{1, 2, "y"})
	check(t, err)
	other()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.lock(ctx, key); err != context.Canceled {
		t.Fatalf("a lock that is held: %v", err)
	}
	unlock()
	unlock, err = l.lock(t.Context(), key)
	check(t, err)
	unlock()
	if len(l.held) != 0 {
		t.Errorf("%d locks stay", len(l.held))
	}
}

// TestLeaseTerms plays time against the terms.
func TestLeaseTerms(t *testing.T) {
	newTerms := func() (*lease, time.Time) {
		l := newLease()
		l.timer.Stop()
		l.tidy.Stop()
		return l, l.began
	}
	expired := func(l *lease, at time.Time) string {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.look(at)
		select {
		case reason := <-l.expired:
			return reason
		default:
			return ""
		}
	}
	l, t0 := newTerms()
	if r := expired(l, t0.Add(setupLease-time.Second)); r != "" {
		t.Errorf("before setup: %s", r)
	}
	if r := expired(l, t0.Add(setupLease)); !strings.Contains(r, "no host") {
		t.Errorf("nobody came: %q", r)
	}
	l, _ = newTerms()
	l.change(1, 0)
	l.settle(time.Minute, time.Hour, 24*time.Hour)
	now := time.Now()
	if r := expired(l, now.Add(59*time.Minute)); r != "" {
		t.Errorf("connected: %s", r)
	}
	l.command(1)
	if r := expired(l, now.Add(2*time.Hour)); r != "" {
		t.Errorf("a command runs: %s", r)
	}
	l.command(-1)
	if r := expired(l, now.Add(3*time.Hour+time.Minute)); !strings.Contains(r, "nothing was done") {
		t.Errorf("idle: %q", r)
	}
	l.change(0, 1)
	if r := expired(l, now.Add(10*time.Hour)); r != "" {
		t.Errorf("a call: %s", r)
	}
	if r := expired(l, now.Add(25*time.Hour)); !strings.Contains(r, "old") {
		t.Errorf("old: %q", r)
	}
	l.change(-1, 0)
	if r := expired(l, time.Now().Add(61*time.Second)); !strings.Contains(r, "no host") {
		t.Errorf("lonely: %q", r)
	}
	l.change(1, 0)
	if r := expired(l, time.Now().Add(61*time.Second)); r != "" {
		t.Errorf("back again: %s", r)
	}
	l.timer.Stop()
	l.tidy.Stop()
}

func TestCutLine(t *testing.T) {
	for _, length := range []int{0, 1, backend.MaxGrepLine, backend.MaxGrepLine + 1, 100_000} {
		line := []byte(strings.Repeat("é", length/2+1)[:length])
		for _, at := range []int{0, length / 2, max(0, length-2)} {
			end := min(length, at+2)
			text, cut := cutLine(line, at, end)
			if len(text) > backend.MaxGrepLine || cut != (length > backend.MaxGrepLine) {
				t.Errorf("%d bytes at %d: %d, cut %v", length, at, len(text), cut)
			}
			if cut && strings.HasPrefix(text, "\xa9") {
				t.Errorf("%d bytes at %d: half a character", length, at)
			}
		}
	}
	line := []byte(strings.Repeat("x", 5000) + "MATCH" + strings.Repeat("y", 5000))
	if text, _ := cutLine(line, 5000, 5005); !strings.Contains(text, "MATCH") || len(text) != backend.MaxGrepLine {
		t.Errorf("%q", text)
	}
}
