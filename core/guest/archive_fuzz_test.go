package guest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// FuzzPutArchive unpacks what may be an archive, beside something that it must
// not touch.
func FuzzPutArchive(f *testing.F) {
	for _, entries := range hostileArchives("/outside") {
		f.Add([]byte(archiveOf(f, entries...)))
	}
	good := archiveOf(f, dirEntry("d", 0o700), fileEntry("d/f", "content"), linkEntry(2, "l", "d"), linkEntry(1, "h", "d/f"), fileEntry("l", "no link"))
	for _, stream := range []string{good, good[:len(good)-1024], good[:1300], good + "more", paxSparse(f, "100000"), oldSparse(f, 1<<20), hugeHeader(f, 1<<50), ""} {
		f.Add([]byte(stream))
	}
	threads, err := newUserThreads(1, uint32(os.Geteuid()), uint32(os.Getegid()))
	check(f, err)
	f.Cleanup(threads.close)
	locks := newFileLocks()
	// A sparse file is as large as it says, which takes long to read. Where this is
	// but one test of many, the limit would be theirs too.
	limit := sync.OnceValue(func() error {
		if flag.Lookup("test.fuzzworker").Value.String() != "true" {
			return nil
		}
		signal.Ignore(unix.SIGXFSZ)
		return unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 16 << 20, Max: unix.RLIM_INFINITY})
	})
	f.Fuzz(func(t *testing.T, stream []byte) {
		check(t, limit())
		base := t.TempDir()
		outside, in := filepath.Join(base, "outside"), filepath.Join(base, "in")
		check(t, errors.Join(os.Mkdir(outside, 0o755), os.WriteFile(filepath.Join(outside, "victim"), []byte("untouched"), 0o644), os.Mkdir(in, 0o755)))
		for name, to := range map[string]string{"before": "..", "d-link": outside, "victim": "../outside/victim"} {
			check(t, os.Symlink(to, filepath.Join(in, name)))
		}
		before := everything(t, base, in)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := unpack(ctx, threads, locks, in, strings.NewReader(string(stream)))
		if err != nil && backend.KindOf(failed("put archive", in, err)) == nil {
			t.Errorf("no error of the contract: %v", err)
		}
		if after := everything(t, base, in); !slices.Equal(before, after) {
			t.Errorf("outside there was %q and is %q", before, after)
		}
		check(t, filepath.WalkDir(in, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return nil //nolint:nilerr // a directory may be closed to its owner
			}
			info, err := e.Info()
			switch {
			case err != nil:
				return err
			case info.Mode()&(os.ModeSetuid|os.ModeSetgid|os.ModeSticky|os.ModeDevice|os.ModeNamedPipe|os.ModeSocket|os.ModeIrregular) != 0:
				t.Errorf("%q has the mode %v", path, info.Mode())
			case strings.HasPrefix(e.Name(), ".deep-"):
				t.Errorf("%q stays", path)
			case e.IsDir():
				return os.Chmod(path, 0o700) // to be removed
			}
			return nil
		}))
	})
}

// everything describes what is below base and not below without.
func everything(t *testing.T, base, without string) []string {
	t.Helper()
	var all []string
	check(t, filepath.WalkDir(base, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == without {
			return fs.SkipDir
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		content, _ := os.ReadFile(path)
		all = append(all, fmt.Sprint(path, st.Mode, st.Nlink, st.Mtim, st.Ctim, string(content)))
		return nil
	}))
	return all
}
