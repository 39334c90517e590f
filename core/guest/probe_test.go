package guest

import (
	"slices"
	"strings"
	"testing"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/wire"
	guestv1 "github.com/deep-sandbox/deep/core/proto/guest/v1"
)

// TestProbe: Setup tells what commands are under, in a guest that isolates little,
// and what of the rest is done without is degraded.
func TestProbe(t *testing.T) {
	each(t, func(t *testing.T, start func(t *testing.T) *process) {
		g := start(t)
		c := over(t, g.dial())
		reply, err := c.guest.Setup(t.Context(), g.setup(func(r *guestv1.SetupRequest) {
			r.Expect = &guestv1.Expectations{
				Seccomp: "digest", NoNewPrivileges: true, Capabilities: true, UserSplit: g.uid != 0, NetworkNone: true, ReadOnlyRoot: true, Landlock: true,
			}
			r.AcceptDegraded = []string{backend.NameSeccomp, backend.NamePIDsLimit}
			r.Degraded = []string{"disk quota"}
		}))
		check(t, wire.FromStatus(err))
		f := reply.GetFound()
		if f.GetUid() != g.uid || f.GetGid() != g.uid || f.GetUserSplit() != (g.uid != 0) || f.GetCapabilities() != 0 || !f.GetNoNewPrivileges() ||
			f.GetSeccomp() || len(f.GetPassed()) == 0 || f.GetReadOnlyRoot() || f.GetLandlock() != 0 || f.GetOpenFiles() == 0 {
			t.Errorf("found %v", f)
		}
		if d := reply.GetDegraded(); len(d) != 2 || d[0] != "disk quota" || backend.DegradedLayer(d[1]) != backend.NameSeccomp {
			t.Errorf("degraded: %q", d)
		}
		res, err := c.Exec(t.Context(), &backend.ExecRequest{Argv: []string{"true"}})
		check(t, err)
		if !slices.Equal(res.Degraded, reply.GetDegraded()) {
			t.Errorf("a result is degraded by %q", res.Degraded)
		}
		again, err := c.guest.Info(t.Context(), &guestv1.InfoRequest{})
		if err != nil || again.GetFound().GetOpenFiles() != f.GetOpenFiles() {
			t.Errorf("Info: %v, %v", again, err)
		}
		// Nothing of it is left; of files it makes none that have a name.
		r, err := c.Processes(t.Context(), &backend.ProcessesRequest{})
		check(t, err)
		for _, p := range r.Processes {
			if strings.Contains(strings.Join(p.Args, " "), "probe") {
				t.Errorf("left: %+v", p)
			}
		}
	})
}
