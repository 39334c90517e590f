package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/control"
)

const ownRoot = "a root file system of its own: a path means what it means inside"

// resolvesAgain is what is not promised of engines.
const resolvesAgain = "the engine follows the path once more by itself: whoever may write to what a bound directory lies in decides what is bound"

// links that lead from the workspace to a path of this host.
var links = []struct {
	name, what string
	// make makes the link "link" in the directory of that name.
	make func(t *trial, sb backend.Sandbox, to string)
}{
	{"link-absolute", "reads and writes a file of the host through an absolute link", func(t *trial, sb backend.Sandbox, to string) {
		t.inside(sb, "link", to, "link")
	}},
	{"link-relative", "the same through a link that goes up with ..", func(t *trial, sb backend.Sandbox, to string) {
		t.inside(sb, "link", strings.Repeat("../", 20)+to[1:], "link")
	}},
	{"link-chain", "the same through thirty links", func(t *trial, sb backend.Sandbox, to string) {
		for i := range 30 {
			name := fmt.Sprintf("chain%d", i)
			t.inside(sb, "link", to, name)
			to = name
		}
		t.inside(sb, "link", to, "link")
	}},
	{"link-proc", "the same through /proc/self/root", func(t *trial, sb backend.Sandbox, to string) {
		t.inside(sb, "link", "/proc/self/root"+to, "link")
	}},
	{"link-directory", "the same through a link to its directory", func(t *trial, sb backend.Sandbox, to string) {
		t.inside(sb, "link", filepath.Dir(to), "directory")
		t.inside(sb, "link", "directory/"+filepath.Base(to), "link")
	}},
}

// specials are no regular files. Reading one blocks, does not end, or gives what is
// the guest's.
var specials = []struct {
	name, what, path string
	// make is the attack that makes it.
	make string
	arm  controlArm
}{
	{"read-zero", "lets the guest read /dev/zero", "/dev/zero", "none", opening(control.RegularFiles)},
	{"read-link-to-zero", "lets the guest read a link to /dev/zero", "zero", "link /dev/zero zero", opening(control.RegularFiles)},
	{"read-fifo", "lets the guest read a pipe that somebody fills", "fifo", "fifo fifo", uncontrolled("the guest reads by offset, which a pipe has not")},
	{"read-socket", "lets the guest read a socket", "socket", "socket-file socket", uncontrolled("the kernel opens no socket")},
	{"read-guest-memory", "lets the guest read its own memory map", "/proc/self/maps", "none", opening(control.GuestFiles)},
	{"read-guest-environment", "lets the guest read its own environment", "/proc/thread-self/environ", "none", uncontrolled("the kernel lets only its owner open it")},
	{"read-guest-status", "lets the guest read its own status", "/proc/1/../self/status", "none", opening(control.GuestFiles)},
}

func fileAttacks() []attack {
	var list []attack
	for _, l := range links {
		list = append(list, attack{name: l.name, what: l.what, defence: ownRoot, control: shown, run: func(t *trial) {
			c := t.canary()
			sb := t.sandbox(nil)
			l.make(t, sb, c.path)
			t.unharmed(c, t.reach(sb, "link")...)
		}})
	}
	for _, s := range specials {
		list = append(list, attack{name: s.name, what: s.what, defence: "only regular files are read, and none of the guest's own", control: s.arm,
			run: func(t *trial) { t.special(s.path, strings.Fields(s.make)) }})
	}
	return append(list,
		attack{name: "link-loop", what: "lets the guest follow links without an end", defence: "the kernel counts them, and so does the guest",
			control: uncontrolled("the kernel counts links itself"), run: (*trial).loop},
		attack{name: "host-mount", what: "has the whole host mounted", defence: "places of the host that no sandbox is shown",
			control: opening(control.HostPlaces), run: (*trial).hostMount},
		attack{name: "write-read-only", what: "writes into a directory that is mounted read-only", defence: "a read-only mount",
			control: controlArm{spec: func(_ *trial, s *backend.Spec) { s.Mounts[0].ReadOnly = false }}, run: (*trial).readOnlyMount},
		attack{name: "etc", what: "writes to /etc, also through a link", defence: "a read-only root file system; commands are not root",
			control: opening(control.RootFileSystem, control.UserSplit, control.Landlock, control.Capabilities), run: (*trial).etc},
		attack{name: "image-user-root", what: "an image says that its user is root", defence: "commands run as who deep says",
			control: opening(control.UserSplit), notOn: map[string]string{"local": "there are no images"}, run: (*trial).imageUser},
		attack{name: "mknod", what: "makes a node of the host's disk", defence: "commands have no capability",
			control: controlArm{opened: []string{control.Capabilities, control.UserSplit, control.Seccomp},
				noneOn: map[string]string{"local": "in a user namespace no capability makes a device"}},
			run: func(t *trial) { t.inside(t.sandbox(nil), "mknod") }},
		attack{name: "proc-sys", what: "opens the kernel's settings and its doors for writing", defence: "read-only mounts; nobody inside is root outside",
			control: controlArm{opened: []string{control.UserSplit, control.ProcMounts, control.Landlock},
				noneOn: map[string]string{"local": "nobody inside is root outside, whatever is mounted"}},
			run: func(t *trial) { t.inside(t.sandbox(nil), "doors") }},
		attack{name: "cgroup", what: "raises its own limits, or sets a release_agent", defence: "commands are not root; cgroups are shown read-only",
			control: controlArm{opened: []string{control.Seccomp, control.Capabilities, control.UserSplit, control.Landlock},
				noneOn: map[string]string{"local": "a user namespace mounts no hierarchy that it may write"}},
			run: func(t *trial) { t.inside(t.sandbox(nil), "cgroup") }},
		attack{name: "archive-parent", what: "an archive with names that go up", defence: "what would be outside is refused",
			control: opening(control.ArchiveNames), run: func(t *trial) { t.archive(entry{name: "../../workspace/escaped"}, "/workspace/escaped") }},
		attack{name: "archive-absolute", what: "an archive with an absolute name", defence: "what would be outside is refused",
			control: uncontrolled("names are taken below the directory in any case"), run: func(t *trial) { t.archive(entry{name: "/workspace/escaped"}, "/workspace/escaped") }},
		attack{name: "archive-link", what: "an archive with a link, and a file through it", defence: "nothing is unpacked through a link",
			control: opening(control.NoFollow), run: func(t *trial) {
				t.archive(entry{name: "up", kind: tar.TypeSymlink, to: "/workspace"}, "/workspace/escaped", entry{name: "up/escaped"})
			}},
		attack{name: "archive-hard-link", what: "an archive with a hard link to a file outside", defence: "nothing is unpacked through a link",
			control: uncontrolled("a name that goes up is refused as any other is"), run: func(t *trial) {
				t.archive(entry{name: "hard", kind: tar.TypeLink, to: "../attacker"}, "/workspace/into/hard")
			}},
		attack{name: "archive-device", what: "an archive with devices and pipes", defence: "only files, directories and links are unpacked",
			control: uncontrolled("the guest has no code that makes one"), run: func(t *trial) {
				t.archive(entry{name: "disk", kind: tar.TypeBlock}, "/workspace/into/disk")
				t.archive(entry{name: "pipe", kind: tar.TypeFifo}, "/workspace/into/pipe")
			}},
		attack{name: "setid-archive", what: "an archive with a setuid program", defence: "of a mode only permissions are kept",
			control: controlArm{opened: []string{control.Modes, control.Seccomp}}, run: func(t *trial) { t.setIDByGuest(true) }},
		attack{name: "setid-write", what: "has the guest write a setuid program", defence: "of a mode only permissions are taken",
			control: uncontrolled("a request with such a mode is refused on the way, by the plugin too"), run: func(t *trial) { t.setIDByGuest(false) }},
		attack{name: "names", what: "names with newlines, escapes, bidi, dashes, 255 bytes, no UTF-8", defence: "names are bytes, and printed escaped",
			control: uncontrolled("it is a round trip: there is nothing to open"), run: (*trial).names},
		attack{name: "deep-tree", what: "a tree 3,000 directories deep under list, glob, grep, archive, remove", defence: "one descriptor, whatever the depth",
			control: uncontrolled("it is a matter of endurance: there is nothing to open"), run: (*trial).deepTree},
		attack{name: "wide-directory", what: "20,000 files in a directory, a million in a long run, under the same", defence: "pages and limits",
			control: uncontrolled("it is a matter of endurance: there is nothing to open"), run: func(t *trial) { t.wide(t.scale(20_000, 1_000_000)) }},
		attack{name: "race-remove", what: "exchanges a directory and a link while the guest removes it", defence: "no link is followed, at any moment",
			control: opening(control.NoFollow), run: (*trial).raceRemove},
		attack{name: "race-write", what: "exchanges a directory and a link to the host while the guest writes and reads in it", defence: ownRoot,
			control: shown, run: (*trial).raceWrite},
		attack{name: "race-bind", what: "exchanges a directory and a link to one of root while it is bound as a workspace", defence: "what was looked at is what is shown",
			notOn:   map[string]string{"docker": resolvesAgain, "podman": resolvesAgain},
			control: controlArm{inside: "the link there before, to a directory of the user"}, run: (*trial).raceBind},
		attack{name: "race-destroy", what: "exchanges directories and links while a kept workspace is removed", defence: "no link is followed, at any moment",
			notOn:   map[string]string{"docker": "the engine removes its own volumes, when nobody is left in them", "podman": "the engine removes its own volumes, when nobody is left in them"},
			control: opening(control.NoFollow), run: (*trial).raceDestroy},
		attack{name: "workspace-link", what: "a link in the place of a kept workspace", defence: "what is not a directory of ours is refused",
			notOn:   map[string]string{"docker": "only the engine's root reaches its volumes", "podman": "only the engine's root reaches its volumes"},
			control: uncontrolled("the kernel is asked not to follow links there as well"), run: (*trial).workspaceLink},
	)
}

// special lets the guest read a path that a command has made.
func (t *trial) special(path string, make []string) {
	sb := t.sandbox(nil)
	ctx, cancel := context.WithCancel(t.ctx)
	ended := beside(func() error {
		_, err := sb.Exec(ctx, t.request(make[0], make[1:]...))
		return err
	})
	defer stopped(cancel, ended)
	if strings.HasPrefix(path, "/") || t.there(sb, path) {
		begin := time.Now()
		ctx, cancelRead := context.WithTimeout(t.ctx, 10*time.Second)
		defer cancelRead()
		f, err := sb.ReadFile(ctx, &backend.ReadFileRequest{Path: path, Length: 4096})
		if err == nil {
			b, _ := io.ReadAll(f)
			_ = f.Close()
			if len(b) > 0 {
				t.gets("%d bytes, which begin %.20q", len(b), b)
			}
		}
		// Ours refuses what the guest must not have answered.
		if errors.Is(err, backend.ErrUnavailable) {
			t.gets("an answer, which the host refused: %v", err)
		}
		if took := time.Since(begin); took > 9*time.Second {
			t.gets("a read that hung for %v", took)
		}
	}
}

// beside runs f beside the trial.
func beside(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

// there waits until a path is.
func (t *trial) there(sb backend.Sandbox, path string) bool {
	t.must(eventually(t.ctx, func() error {
		_, err := sb.Stat(t.ctx, &backend.StatRequest{Path: path})
		return err
	}))
	return true
}

func (t *trial) loop() {
	sb := t.sandbox(nil)
	t.inside(sb, "link", "b", "a")
	t.inside(sb, "link", "a", "b")
	t.inside(sb, "link", ".", "here")
	begin := time.Now()
	for _, path := range []string{"a", "b", strings.Repeat("here/", 60) + "attacker"} {
		if text, err := t.read(sb, path, 0); err == nil {
			t.gets("%d bytes through a loop", len(text))
		}
		if err := t.write(sb, path, "x"); err == nil && !strings.HasPrefix(path, "here") {
			t.gets("a file written through a loop")
		}
	}
	_, _ = sb.Glob(t.ctx, &backend.GlobRequest{Pattern: "**/*"})
	if took := time.Since(begin); took > 10*time.Second {
		t.gets("%v of the guest's time", took)
	}
}

func (t *trial) hostMount() {
	for _, source := range []string{"/", "/etc", "/proc", "/run", "/root", t.arm.state} {
		sb, err := t.create(func(s *backend.Spec) {
			s.Mounts = []backend.Mount{{Source: source, Target: "/host", ReadOnly: true}}
		})
		if err == nil {
			_, out := t.inside(sb, "list", "/host")
			t.gets("%s, which holds %.40q", source, out)
			return
		}
		if !errors.Is(err, backend.ErrPermission) && !t.open {
			t.must(err)
		}
	}
}

func (t *trial) readOnlyMount() {
	c, own := t.canary(), t.dir()
	sb := t.sandbox(func(s *backend.Spec) {
		s.Mounts = []backend.Mount{{Source: filepath.Dir(c.path), Target: "/shown", ReadOnly: true}}
		s.Workspace.Source = own // on local whose files those are is known inside
	})
	t.reach(sb, "/shown/canary")
	t.inside(sb, "remount", "/shown")
	t.reach(sb, "/shown/canary")
	t.unharmed(c)
}

func (t *trial) etc() {
	sb := t.sandbox(nil)
	t.inside(sb, "link", "/etc/passwd", "link")
	t.inside(sb, "overwrite", "link")
	t.inside(sb, "overwrite", "/etc/planted")
	_ = t.write(sb, "link", "written by the guest")
	for _, path := range []string{"/etc/passwd", "/etc/planted"} {
		if text, err := t.read(sb, path, 0); err == nil && strings.Contains(text, "overwritten") {
			t.gets("%s, which says %.30q", path, text)
		}
	}
}

func (t *trial) imageUser() {
	sb := t.sandbox(func(s *backend.Spec) { s.Image = trapImage })
	r := t.start(sb, "sleep")
	defer func() { _ = r.end() }()
	for _, p := range tagged(t.tag) {
		pid, _, _ := strings.Cut(p, " ")
		status, _ := os.ReadFile("/proc/" + pid + "/status")
		for l := range strings.Lines(string(status)) {
			if ids, ok := strings.CutPrefix(l, "Uid:"); ok && slices.Contains(strings.Fields(ids), "0") {
				t.gets("process %s of uid %s", pid, strings.TrimSpace(ids))
			}
		}
	}
}

// entry of an archive.
type entry struct {
	name, to string
	kind     byte
	mode     int64
}

func tarOf(entries ...entry) io.Reader {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Linkname: e.to, Typeflag: e.kind, Mode: e.mode | 0o644}
		const text = "unpacked"
		if e.kind == 0 {
			h.Typeflag, h.Size = tar.TypeReg, int64(len(text))
		}
		_ = w.WriteHeader(h) // into memory
		if h.Size > 0 {
			_, _ = io.WriteString(w, text)
		}
	}
	_ = w.Close()
	return &b
}

// archive unpacks entries in a directory, and looks for one where it must not be.
func (t *trial) archive(first entry, escaped string, more ...entry) {
	sb := t.sandbox(nil)
	t.must(sb.Mkdir(t.ctx, &backend.MkdirRequest{Path: "into"}))
	_, err := sb.PutArchive(t.ctx, &backend.PutArchiveRequest{Path: "into", Content: tarOf(append([]entry{first}, more...)...)})
	if info, statErr := sb.Stat(t.ctx, &backend.StatRequest{Path: escaped}); statErr == nil {
		t.gets("a %s at %s", info.Type, escaped)
	} else if err == nil {
		t.gets("no error for an archive that lacks an entry")
	}
}

func (t *trial) setIDByGuest(archive bool) {
	sb := t.shared()
	t.must(sb.Mkdir(t.ctx, &backend.MkdirRequest{Path: t.tag}))
	if archive {
		_, _ = sb.PutArchive(t.ctx, &backend.PutArchiveRequest{Path: t.tag, Content: tarOf(entry{name: "program", mode: 0o6755})})
	} else {
		_, _ = sb.WriteFile(t.ctx, &backend.WriteFileRequest{Path: t.tag + "/program", Mode: 0o6755})
	}
	t.setIDs(filepath.Join(t.arm.workspace, t.tag))
}

// hostileNames are names of files as a model, or a joker, makes them.
var hostileNames = []string{
	"new\nline", "esc\x1b[31mape", "osc\x1b]0;title\x07", "bidi\u202egnp.exe", "-rf", "--", "~", "$(reboot)", "'\"`", " ", "tab\t", "\x01",
	"not\xff\xfeutf8", "..a", "...", "a\\b", "*", "CON", strings.Repeat("n", 255), "\u0065\u0301", "\u00e9",
}

func (t *trial) names() {
	sb := t.sandbox(nil)
	t.must(sb.Mkdir(t.ctx, &backend.MkdirRequest{Path: "names"}))
	for i, name := range hostileNames {
		text := fmt.Sprint(i)
		if err := t.write(sb, "names/"+name, text); err != nil {
			t.gets("no file called %q: %v", name, err)
		}
		if got, err := t.read(sb, "names/"+name, 0); err != nil || got != text {
			t.gets("another file than %q: %q, %v", name, got, err)
		}
		// What is printed of it.
		err := sb.Remove(t.ctx, &backend.RemoveRequest{Path: "missing/" + name})
		if err == nil || strings.ContainsAny(err.Error(), "\x1b\x07\n\x01\u202e") {
			t.gets("an error that moves the cursor: %q", err)
		}
	}
	listed, err := sb.List(t.ctx, &backend.ListDirRequest{Path: "names"})
	t.must(err)
	var names []string
	for _, e := range listed.Entries {
		names = append(names, e.Path)
	}
	want := slices.Sorted(slices.Values(hostileNames))
	slices.Sort(names)
	if !slices.Equal(names, want) {
		t.gets("a list of %q", names)
	}
	for _, name := range hostileNames {
		if err := sb.Remove(t.ctx, &backend.RemoveRequest{Path: "names/" + name}); err != nil {
			t.gets("%q that cannot be removed: %v", name, err)
		}
	}
}

func (t *trial) deepTree() {
	sb := t.sandbox(nil)
	t.inside(sb, "dig", "tree", "3000")
	t.endures(sb, "tree")
}

func (t *trial) wide(n int) {
	sb := t.sandbox(nil)
	req := t.request("fill", "tree", fmt.Sprint(n))
	req.Timeout = 10 * time.Minute
	_, _, err := t.exec(sb, req)
	t.must(err)
	t.endures(sb, "tree")
}

// endures lets every operation go over a tree and then removes it.
func (t *trial) endures(sb backend.Sandbox, path string) {
	_, err := sb.List(t.ctx, &backend.ListDirRequest{Path: path})
	t.must(err)
	_, err = sb.Glob(t.ctx, &backend.GlobRequest{Pattern: path + "/**/*"})
	t.must(err)
	_, err = sb.Grep(t.ctx, &backend.GrepRequest{Pattern: "needle", Literal: true, Path: path})
	t.must(err)
	if archive, err := sb.GetArchive(t.ctx, &backend.GetArchiveRequest{Path: path}); err == nil {
		_, _ = io.Copy(io.Discard, archive)
		_ = archive.Close()
	}
	if err := sb.Remove(t.ctx, &backend.RemoveRequest{Path: path, Recursive: true}); err != nil {
		t.gets("a tree that cannot be removed: %v", err)
	}
	t.alive(sb)
}
