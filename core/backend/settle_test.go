package backend

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

var allCaps = []Capability{CapImages, CapBind, CapNetworkFull, CapKeepWorkspace}

func TestSettleFillsInDefaults(t *testing.T) {
	got, err := Spec{}.Settle(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Image != DefaultImage || got.Pull != PullMissing || got.Workspace.Path != DefaultWorkspace ||
		got.Network != NetworkNone || got.Memory != DefaultMemory || got.PIDs != DefaultPIDs ||
		got.CPUs != DefaultCPUs || got.Timeout != DefaultTimeout || got.Lease != DefaultLease || got.IdleTimeout != 0 {
		t.Errorf("Settle() = %+v", got)
	}
}

func TestSettleKeepsWhatIsGiven(t *testing.T) {
	in := Spec{
		Image: "busybox", Pull: PullNever, Network: NetworkFull, Memory: 32 << 20, PIDs: 96, CPUs: 0.5,
		Timeout: Unlimited, Lease: time.Second, IdleTimeout: time.Minute,
		Workspace: Workspace{Path: "/work//here/", Source: "/srv/it"},
		Mounts:    []Mount{{Source: "/data", Target: "/data/", ReadOnly: true}},
		Env:       map[string]string{"A": "\xff"},
	}
	got, err := in.Settle(allCaps)
	if err != nil {
		t.Fatal(err)
	}
	if got.Timeout != Unlimited || got.Memory != 32<<20 || got.Workspace.Path != "/work/here" || got.Mounts[0].Target != "/data" {
		t.Errorf("Settle() = %+v", got)
	}
	got.Env["A"], got.Mounts[0].Source = "changed", "/changed"
	if in.Env["A"] != "\xff" || in.Mounts[0].Source != "/data" {
		t.Error("the settled Spec shares memory with the caller's")
	}
}

func TestSettleRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		spec Spec
		caps []Capability
		kind error
		path string
	}{
		{"negative memory", Spec{Memory: -1}, allCaps, ErrInvalid, "memory"},
		{"too little memory", Spec{Memory: 16<<20 - 1}, allCaps, ErrInvalid, "memory"},
		{"absurd memory", Spec{Memory: math.MaxInt64}, allCaps, ErrInvalid, "memory"},
		{"too few pids", Spec{PIDs: 95}, allCaps, ErrInvalid, "pids"},
		{"negative pids", Spec{PIDs: -512}, allCaps, ErrInvalid, "pids"},
		{"absurd pids", Spec{PIDs: math.MaxInt64}, allCaps, ErrInvalid, "pids"},
		{"negative cpus", Spec{CPUs: -1}, allCaps, ErrInvalid, "cpus"},
		{"cpus not a number", Spec{CPUs: math.NaN()}, allCaps, ErrInvalid, "cpus"},
		{"infinite cpus", Spec{CPUs: math.Inf(1)}, allCaps, ErrInvalid, "cpus"},
		{"negative timeout", Spec{Timeout: -time.Second}, allCaps, ErrInvalid, "timeout"},
		{"short lease", Spec{Lease: time.Millisecond}, allCaps, ErrInvalid, "lease"},
		{"negative lease", Spec{Lease: -1}, allCaps, ErrInvalid, "lease"},
		{"negative idle timeout", Spec{IdleTimeout: -1}, allCaps, ErrInvalid, "idle_timeout"},
		{"negative lifetime", Spec{MaxLifetime: -1}, allCaps, ErrInvalid, "max_lifetime"},
		{"layer of nobody", Spec{AcceptDegraded: []string{NameSeccomp, "bogus"}}, allCaps, ErrInvalid, "accept_degraded"},
		{"layer of one's own without a name", Spec{AcceptDegraded: []string{OwnLayer}}, allCaps, ErrInvalid, "accept_degraded"},
		{"env key with =", Spec{Env: map[string]string{"A=B": "c"}}, allCaps, ErrInvalid, "env"},
		{"empty env key", Spec{Env: map[string]string{"": "c"}}, allCaps, ErrInvalid, "env"},
		{"env key with NUL", Spec{Env: map[string]string{"A\x00": "c"}}, allCaps, ErrInvalid, "env"},
		{"env value with NUL", Spec{Env: map[string]string{"A": "c\x00"}}, allCaps, ErrInvalid, "env"},
		{"unknown network", Spec{Network: "allow"}, allCaps, ErrInvalid, "network"},
		{"network not here", Spec{Network: NetworkFull}, nil, ErrUnsupported, "network"},
		{"unknown pull policy", Spec{Pull: "sometimes"}, allCaps, ErrInvalid, "pull"},
		{"image with a newline", Spec{Image: "a\nb"}, allCaps, ErrInvalid, "image"},
		{"workspace relative", Spec{Workspace: Workspace{Path: "here"}}, allCaps, ErrInvalid, "workspace"},
		{"workspace is the root", Spec{Workspace: Workspace{Path: "/a/.."}}, allCaps, ErrInvalid, "workspace"},
		{"workspace over the guest", Spec{Workspace: Workspace{Path: "/.deep/x"}}, allCaps, ErrInvalid, "workspace"},
		{"workspace over /proc", Spec{Workspace: Workspace{Path: "/proc"}}, allCaps, ErrInvalid, "workspace"},
		{"workspace too long", Spec{Workspace: Workspace{Path: "/" + strings.Repeat("a", 4095)}}, allCaps, ErrInvalid, "workspace"},
		{"workspace bound and kept", Spec{Workspace: Workspace{Source: "/a", Name: "b"}}, allCaps, ErrInvalid, "workspace"},
		{"workspace source relative", Spec{Workspace: Workspace{Source: "a"}}, allCaps, ErrInvalid, "workspace"},
		{"workspace name", Spec{Workspace: Workspace{Name: "../x"}}, allCaps, ErrInvalid, "workspace"},
		{"no bind here", Spec{Workspace: Workspace{Source: "/a"}}, []Capability{CapKeepWorkspace}, ErrUnsupported, "workspace"},
		{"no keeping here", Spec{Workspace: Workspace{Name: "b"}}, []Capability{CapBind}, ErrUnsupported, "workspace"},
		{"mount without source", Spec{Mounts: []Mount{{Target: "/data"}}}, allCaps, ErrInvalid, `volume "/data"`},
		{"mount over the workspace", Spec{Mounts: []Mount{{Source: "/a", Target: "/workspace/"}}}, allCaps, ErrInvalid, `volume "/workspace/"`},
		{"mount twice", Spec{Mounts: []Mount{{Source: "/a", Target: "/d"}, {Source: "/b", Target: "/d"}}}, allCaps, ErrInvalid, `volume "/d"`},
		{"mount not here", Spec{Mounts: []Mount{{Source: "/a", Target: "/d"}}}, nil, ErrUnsupported, `volume "/d"`},
	} {
		_, err := c.spec.Settle(c.caps)
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, c.kind) || e.Path != c.path {
			t.Errorf("%s: %v, want %v with Path %q", c.name, err, c.kind, c.path)
		}
	}
}

// A workspace may be /proc-like without being it.
func TestSettleTakesNeighbours(t *testing.T) {
	for _, p := range []string{"/process", "/.deeper", "/srv/proc"} {
		if _, err := (Spec{Workspace: Workspace{Path: p}}).Settle(nil); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
}
