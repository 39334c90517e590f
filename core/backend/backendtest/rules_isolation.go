package backendtest

import (
	"fmt"

	"github.com/deep-sandbox/deep/core/backend"
)

var isolationRules = []Rule{
	{
		Name:     "isolation",
		Sentence: "Info of a sandbox that was created or opened tells what is in force in it, as commands find it; of what the specification asked for, what is not in force is degraded.",
		Shell:    true,
		run: func(t *T) {
			const pids = 128
			sb := t.newSandbox(func(s *backend.Spec) { s.PIDs = pids })
			info := sb.Info()
			i := info.Isolation
			if i == nil {
				t.Fatalf("it is not told")
			}
			r := t.execIn(t.ctx, sb, &backend.ExecRequest{Shell: "id -u; id -g; ulimit -c"})
			t.wantOutput("user, group and size of core dumps", r, fmt.Sprintf("%d\n%d\n%d\n", i.UID, i.GID, i.CoreSize))
			if user := fmt.Sprintf("%d:%d", i.UID, i.GID); user != info.User {
				t.Errorf("found user %s, settled %s", user, info.User)
			}
			if i.PIDs != pids && !degraded(sb, backend.NamePIDsLimit) {
				t.Errorf("%d processes, want %d", i.PIDs, pids)
			}
			if i.Network != backend.NetworkNone && !degraded(sb, backend.NameNetwork) {
				t.Errorf("network %q", i.Network)
			}
			if i.RootFileSystem == backend.RootReadOnly {
				if _, err := sb.WriteFile(t.ctx, &backend.WriteFileRequest{Path: "/" + t.rule.Name}); err == nil {
					t.Errorf("the root file system is read-only, and was written")
				}
			}
			t.sameLimits(sb, i)
			opened, err := t.kit.b.Open(t.ctx, &backend.OpenRequest{ID: info.ID})
			t.must("open", err)
			if again := opened.Info().Isolation; again == nil || *again != *i {
				t.Errorf("opened again it tells %+v, before %+v", again, i)
			}
			t.must("close", opened.Close())
		},
	},
}

// sameLimits notes a problem if Stats tells other limits, where it tells any.
func (t *T) sameLimits(sb backend.Sandbox, i *backend.Isolation) {
	if !t.declares(backend.CapProcesses) {
		return
	}
	stats, err := sb.Stats(t.ctx, &backend.StatsRequest{})
	t.must("stats", err)
	for _, l := range []struct {
		what        string
		stats, told int64
	}{{"processes", stats.PIDsLimit, i.PIDs}, {"bytes of memory", stats.MemoryLimit, i.Memory}} {
		switch {
		case l.stats > 0 && l.told == l.stats:
		case l.stats <= 0 && l.told < 0: // neither tells one
		default:
			t.Errorf("a limit of %d %s, and Stats tells %d", l.told, l.what, l.stats)
		}
	}
}
