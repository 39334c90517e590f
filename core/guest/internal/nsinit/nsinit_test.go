package nsinit

import (
	"io"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSpec(t *testing.T) {
	for _, s := range []Spec{
		{Program: "/bin/true", Dir: "/", Argv: []string{"true"}, Env: []string{"A=b"}},
		{Program: "x", Dir: "d", Argv: []string{"x", "", "\xff\n"}, Env: []string{}, Terminal: true, Rules: `{"a":1}`},
	} {
		f, err := s.File()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := parseSpec(b)
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("%+v, %v, want %+v", got, err, s)
		}
	}
	for _, b := range []string{"", "a\x00", "a\x00b\x00x\x00", "a\x00b\x001\x00", "a\x00b\x001\x00\x00", "a\x00b\x00maybe\x00\x000\x00", "a\x00b\x001\x00\x00x\x00",
		"a\x00b\x001\x00\x00-1\x00", "a\x00b\x001\x00\x005\x00c\x00"} {
		if s, err := parseSpec([]byte(b)); err == nil {
			t.Errorf("%q is %+v", b, s)
		}
	}
}

func TestReport(t *testing.T) {
	for _, r := range []Report{
		{},
		{Failed: unix.ENOENT},
		{Ended: true, Last: true},
		{Ended: true, Status: unix.WaitStatus(9), Usage: unix.Rusage{Maxrss: 5, Utime: unix.NsecToTimeval(1_234_567_000), Stime: unix.NsecToTimeval(89_000)}},
	} {
		got, err := ParseReport(r.String() + "\n")
		if err != nil || got != r {
			t.Errorf("%+v, %v, want %+v", got, err, r)
		}
	}
	for _, line := range []string{"", "x", "1 true", "1 maybe 0 0 0 0 true", "0 true 0 0 0 0"} {
		if r, err := ParseReport(line); err == nil {
			t.Errorf("%q is %+v", line, r)
		}
	}
}
