package procid

import (
	"os"
	"os/exec"
	"testing"

	"github.com/deep-sandbox/deep/core/backend"
)

func TestSelfIsAlive(t *testing.T) {
	me, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	if me.PID != os.Getpid() || me.HostID == "" || me.BootID == "" || me.StartTime == 0 {
		t.Fatalf("Self() = %+v", me)
	}
	if Dead(me) {
		t.Error("this process is said to be dead")
	}
	if back := backend.ParseOwner(me.String()); back != me {
		t.Errorf("ParseOwner(%q) = %+v, want %+v", me, back, me)
	}
}

func TestDead(t *testing.T) {
	me, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^$")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	with := func(change func(*backend.Owner)) backend.Owner {
		o := me
		change(&o)
		return o
	}
	for _, c := range []struct {
		name string
		o    backend.Owner
		want bool
	}{
		{"process has ended", with(func(o *backend.Owner) { o.PID = cmd.Process.Pid }), true},
		{"pid was reused", with(func(o *backend.Owner) { o.StartTime-- }), true},
		{"boot is over", with(func(o *backend.Owner) { o.BootID = "another" }), true},
		{"another host", with(func(o *backend.Owner) { o.HostID = "another"; o.PID = cmd.Process.Pid }), false},
		{"nobody", backend.Owner{}, false},
	} {
		if got := Dead(c.o); got != c.want {
			t.Errorf("%s: Dead(%v) = %v, want %v", c.name, c.o, got, c.want)
		}
	}
}

func TestParseOwnerRefuses(t *testing.T) {
	for _, s := range []string{"", "a/b/1", "a/b/c/4", "a/b/1/x", "/b/1/2", "a/b/-1/2", "a/b/1/2/3"} {
		if o := backend.ParseOwner(s); o != (backend.Owner{}) {
			t.Errorf("ParseOwner(%q) = %+v", s, o)
		}
	}
}
