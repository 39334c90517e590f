package probe

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
)

// TestRun looks at this machine, as the command does, and reads what it wrote.
func TestRun(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Args = []string{Name}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse(out)
	if err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	if f.UID[0] != uint32(os.Getuid()) || f.GID[0] != uint32(os.Getgid()) || f.OpenFiles == 0 {
		t.Errorf("%+v", f)
	}
}

func TestParse(t *testing.T) {
	good, err := json.Marshal(Findings{Passed: []string{"unshare"}, OpenFiles: -1, Landlock: 7, Domains: 16})
	if err != nil {
		t.Fatal(err)
	}
	line := append(good, '\n')
	f, err := Parse(line)
	if err != nil || !reflect.DeepEqual(f.Passed, []string{"unshare"}) || f.Domains != 16 {
		t.Errorf("%+v, %v", f, err)
	}
	for what, bad := range map[string][]byte{
		"nothing":         nil,
		"no end":          good,
		"two lines":       append(bytes.Clone(line), line...),
		"no JSON":         []byte("yes\n"),
		"another field":   []byte(`{"Safe":true}` + "\n"),
		"a list too long": []byte(`{"Passed":["` + strings.Repeat(`x","`, 100) + `"]}` + "\n"),
		"a name too long": []byte(`{"Interfaces":["` + strings.Repeat(`x`, 100) + `"]}` + "\n"),
		"a limit":         []byte(`{"CoreSize":-2}` + "\n"),
		"domains":         []byte(`{"Domains":1000}` + "\n"),
	} {
		if f, err := Parse(bad); err == nil {
			t.Errorf("%s: %+v", what, f)
		}
	}
}

func TestStatus(t *testing.T) {
	const text = "Name:\tx: y\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nCapInh:\t0000000000000001\nCapPrm:\t0000000000000002\n" +
		"CapEff:\t0000000000000004\nCapBnd:\t00000000000000e0\nCapAmb:\t0000000000000008\nNoNewPrivs:\t1\nSeccomp:\t2\n"
	s, err := parseStatus(text)
	want := Status{UID: [4]uint32{1, 2, 3, 4}, GID: [4]uint32{5, 6, 7, 8}, Capabilities: 0xf, Bounding: 0xe0, NoNewPrivs: true, Seccomp: 2}
	if err != nil || s != want {
		t.Errorf("%+v, %v", s, err)
	}
	for _, name := range []string{"Uid", "Gid", "CapInh", "CapBnd"} {
		if s, err := parseStatus(strings.ReplaceAll(text, name, "Other")); err == nil {
			t.Errorf("without %s: %+v", name, s)
		}
	}
}
