package trust

import (
	"os"
	"path/filepath"
	"testing"
)

// somebody is no user of any machine the tests run on.
const somebody = 54321

func TestWriter(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root gives files away")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		uid  int
		mode os.FileMode
		also []uint32
		want string
	}{
		{0, 0o755, nil, ""},
		{0, 0o775, nil, "its group"},
		{0, 0o757, nil, "everybody"},
		{somebody, 0o755, nil, "another user (uid 54321)"},
		{somebody, 0o755, []uint32{somebody}, ""},
		{somebody, 0o775, []uint32{somebody}, "its group"},
	} {
		if err := os.Chown(file, c.uid, 0); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, c.mode); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := Writer(info, c.also...); got != c.want {
			t.Errorf("%d %v, also %v: %q, want %q", c.uid, c.mode, c.also, got, c.want)
		}
	}
}

func TestDirectory(t *testing.T) {
	closed, open, sticky := t.TempDir(), t.TempDir(), t.TempDir()
	for dir, mode := range map[string]os.FileMode{closed: 0o755, open: 0o777, sticky: 0o777 | os.ModeSticky} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(closed, "link")
	if err := os.Symlink(filepath.Join(open, "file"), link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(closed, "file"): "", filepath.Join(sticky, "file"): "", filepath.Join(open, "file"): open, link: open,
	} {
		dir, who, err := Directory(path)
		if err != nil || dir != want || (who == "everybody") != (want != "") {
			t.Errorf("%s: %q by %q, %v, want %q", path, dir, who, err, want)
		}
	}
	if _, _, err := Directory(filepath.Join(closed, "nothing")); err == nil {
		t.Error("a file that is not there")
	}
}
