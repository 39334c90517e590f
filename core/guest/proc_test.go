package guest

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/deep-sandbox/deep/core/backend"
)

// caseProcOfGuest tries each file operation on what is the guest's in /proc, named in
// each way there is.
func caseProcOfGuest(f *fixture) {
	check(f.t, os.Symlink("/proc/1", f.path("link")))
	check(f.t, os.Symlink("/proc/self", f.path("self")))
	check(f.t, os.Symlink("/proc/self/root", f.path("root")))
	var holes []string
	victim := filepath.Join(f.dir, "victim")
	f.put("victim/file", "untouched")
	for _, guest := range []string{
		"/proc/1", "/proc/self", "/proc/thread-self", "/proc/sys/../1", "/proc/self/../1", "/dev/../proc/1/", "link", "self/.",
		"/proc/" + anotherThread(f.t), "/proc/1/task/" + anotherThread(f.t),
	} {
		for _, name := range []string{"", "exe", "cwd", "root", "fd", "fd/0", "fdinfo", "ns", "ns/pid", "map_files", "environ", "mem", "maps", "task", "comm", "root" + victim + "/file", "cwd" + victim + "/file"} {
			holes = append(holes, f.triedOn(guest+"/"+name)...)
		}
		holes = append(holes, f.triedIn(guest+"/root"+victim)...)
	}
	for _, path := range []string{"/dev/fd/0", "/dev/fd/3", "/dev/stdin", "root" + victim + "/file"} {
		holes = append(holes, f.triedOn(path)...)
	}
	holes = append(holes, f.triedIn("root"+victim)...)
	if len(holes) > 0 {
		f.t.Errorf("the guest's own can be got at:\n%s", strings.Join(holes, "\n"))
	}
	if got := f.get("victim/file"); got != "untouched" {
		f.t.Errorf("a file behind a link of /proc holds %q", got)
	}
	if _, err := f.read("/proc/sys/kernel/cad_pid"); err == nil {
		f.t.Error("a setting that is root's was read")
	}
	// What is the user's own is seen as ever, but for what its links lead to.
	defer f.begin("own", &backend.ExecRequest{Shell: "echo ready; exec sleep 1000"})()
	pid := strconv.Itoa(f.processesOf("own")[0].PID)
	if got, err := f.read("/proc/" + pid + "/status"); err != nil || !strings.Contains(got, "State:") {
		f.t.Errorf("%q, %v", got, err)
	}
	_, err := f.read("/proc/" + pid + "/root" + f.path("victim/file"))
	wantKind(f.t, err, backend.ErrInvalid)
}

// anotherThread is one of this process's that does not touch files.
func anotherThread(t testing.TB) string {
	entries, err := os.ReadDir("/proc/self/task")
	check(t, err)
	for _, e := range entries {
		if e.Name() != "1" {
			return e.Name()
		}
	}
	t.Fatal("there is one thread only")
	return ""
}

// triedOn names the operations on a file or directory that were not refused.
func (f *fixture) triedOn(path string) (holes []string) {
	ctx := f.t.Context()
	note := func(op string, err error) {
		if err == nil {
			holes = append(holes, op+" "+path)
		}
	}
	_, err := f.Stat(ctx, &backend.StatRequest{Path: path})
	if path != "/dev/stdin" { // a link of text
		note("stat", err)
	}
	_, err = f.Stat(ctx, &backend.StatRequest{Path: path, Follow: true})
	note("stat of the target of", err)
	_, err = f.read(path)
	note("read", err)
	note("write", f.write(path, "x"))
	_, err = f.WriteFile(ctx, &backend.WriteFileRequest{Path: path, Content: strings.NewReader("x"), Append: true})
	note("append to", err)
	_, err = f.Edit(ctx, &backend.EditRequest{Path: path, Old: []byte("untouched"), New: []byte("x")})
	note("edit", err)
	_, err = f.List(ctx, &backend.ListDirRequest{Path: path})
	note("list", err)
	_, err = f.Glob(ctx, &backend.GlobRequest{Path: path, Pattern: "*", Directories: true})
	note("glob", err)
	_, err = f.Grep(ctx, &backend.GrepRequest{Path: path, Pattern: "."})
	note("grep", err)
	return holes
}

// triedIn names the operations in a directory that were not refused.
func (f *fixture) triedIn(dir string) (holes []string) {
	ctx := f.t.Context()
	for op, err := range map[string]error{
		"write in":   f.write(dir+"/new", "x"),
		"mkdir in":   f.Mkdir(ctx, &backend.MkdirRequest{Path: dir + "/new"}),
		"remove":     f.Remove(ctx, &backend.RemoveRequest{Path: dir + "/file"}),
		"rename in":  f.Rename(ctx, &backend.RenameRequest{From: dir + "/file", To: dir + "/moved"}),
		"rename to":  f.Rename(ctx, &backend.RenameRequest{From: "victim/file", To: dir + "/moved"}),
		"unpack in":  second(f.putArchive(dir, archiveOf(f.t, fileEntry("new", "x")))),
		"run in":     second(f.Exec(ctx, &backend.ExecRequest{Argv: []string{"true"}, Dir: dir})),
		"pack":       second(f.GetArchive(ctx, &backend.GetArchiveRequest{Path: dir})),
		"glob below": second(f.Glob(ctx, &backend.GlobRequest{Path: dir, Pattern: "*"})),
	} {
		if err == nil {
			holes = append(holes, op+" "+dir)
		}
	}
	return holes
}

func second[T any](_ T, err error) error { return err }
