package guest

import (
	"maps"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/control"
	"github.com/deep-sandbox/deep/core/guest/internal/confine"
	"github.com/deep-sandbox/deep/core/guest/internal/nsinit"
)

// groupDomain gives each command a supplementary group of its own.
type groupDomain struct {
	uid, gid uint32
	reaper   *reaper
	files    *userThreads
	sweeper  *sweeper
	starter  *starter
	groups   *groupIDs
}

func newGroupDomain(uid, gid uint32, r *reaper, files *userThreads, rules confine.Rules) (*groupDomain, error) {
	low, high, err := groupRange("/proc/self/gid_map", gid)
	if err != nil {
		return nil, err
	}
	sw, err := newSweeper(low, high)
	if err != nil {
		return nil, err
	}
	st, err := newStarter(rules)
	if err != nil {
		sw.close()
		return nil, err
	}
	return &groupDomain{uid: uid, gid: gid, reaper: r, files: files, sweeper: sw, starter: st,
		groups: &groupIDs{low: low, high: high, next: low, starting: map[uint32]bool{}}}, nil
}

func (*groupDomain) name() string { return "group" }

func (d *groupDomain) start(cmd *command) (task, error) {
	group, err := d.groups.take(d.sweeper.present)
	if err != nil {
		return nil, err
	}
	defer d.groups.started(group)
	credential := &syscall.Credential{Uid: d.uid, Gid: d.gid, Groups: []uint32{group}}
	if control.Opened(control.UserSplit) {
		credential.Uid, credential.Gid = 0, 0
	}
	c, err := d.reaper.start(func() (pid int, err error) {
		d.starter.do(func() {
			pid, err = syscall.ForkExec(cmd.program, cmd.argv, &syscall.ProcAttr{
				Dir: cmd.dir, Env: cmd.env, Files: cmd.stdio[:],
				Sys: &syscall.SysProcAttr{Setsid: true, Setctty: cmd.terminal, Credential: credential},
			})
		})
		return pid, err
	})
	if err != nil {
		return nil, err
	}
	d.raiseOOMScore(c.pid)
	return &groupTask{domain: d, group: group, child: c}, nil
}

// raiseOOMScore does so from outside, after the start: the file belongs to the
// command's user. A program nobody may read keeps the score it has.
func (d *groupDomain) raiseOOMScore(pid int) {
	_ = d.files.doAnyway(func() error {
		fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		_, err = unix.Write(fd, strconv.AppendInt(nil, nsinit.OOMScore, 10))
		_ = unix.Close(fd)
		return err
	})
}

func (d *groupDomain) endAll(grace time.Duration) {
	if d.sweeper.sweep(allGroups, unix.SIGTERM).none() {
		return
	}
	for end := time.Now().Add(grace); time.Now().Before(end); {
		if d.sweeper.sweep(allGroups, 0).none() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	d.sweeper.kill(allGroups, unkillable)
}

func (d *groupDomain) close() {
	d.starter.close()
	d.sweeper.close()
}

// groupTask is a command of a groupDomain.
type groupTask struct {
	domain *groupDomain
	group  uint32
	child  *child
}

func (t *groupTask) done() <-chan struct{} { return t.child.done }
func (t *groupTask) ended() ended          { return t.child.end }
func (t *groupTask) terminate()            { t.domain.sweeper.sweep(t.group, unix.SIGTERM) }
func (t *groupTask) alive() bool           { return !t.domain.sweeper.sweep(t.group, 0).none() }

func (t *groupTask) signal(sig unix.Signal, all bool) {
	if all {
		t.domain.sweeper.sweep(t.group, sig)
		return
	}
	t.domain.reaper.signal(t.child, sig)
}

func (t *groupTask) kill(limit time.Duration) bool {
	if control.Opened(control.KillAll) {
		t.domain.reaper.signal(t.child, unix.SIGKILL)
		<-t.child.done
		return true
	}
	return t.domain.sweeper.kill(t.group, limit)
}

// groupIDs hands out group ids, each again only when no process has it.
type groupIDs struct {
	low, high uint32 // the range, both ends included

	mu       sync.Mutex
	next     uint32
	starting map[uint32]bool // taken, and perhaps no process has it yet
	taken    map[uint32]bool // by processes that were alive when next was last low
}

// take returns an id. When all have been used once, present is asked which are
// still somebody's: only a process that has an id can pass it on.
func (g *groupIDs) take(present func() (map[uint32]bool, error)) (uint32, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for wrapped := false; ; {
		if g.next > g.high || g.next < g.low {
			if wrapped {
				return 0, unix.EAGAIN
			}
			wrapped = true
			now, err := present()
			if err != nil {
				return 0, err
			}
			maps.Copy(now, g.starting)
			g.taken, g.next = now, g.low
		}
		id := g.next
		g.next++
		if !g.taken[id] {
			g.starting[id] = true
			return id, nil
		}
	}
}

// started says that a process has id now, or never will.
func (g *groupIDs) started(id uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.starting, id)
}

// groupRange picks the ids to hand out from those mapped in this user namespace:
// the upper half of the largest stretch, away from the groups an image knows.
func groupRange(mapFile string, avoid uint32) (low, high uint32, err error) {
	b, err := os.ReadFile(mapFile)
	if err != nil {
		return 0, 0, err
	}
	var start, size uint64
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		first, err1 := strconv.ParseUint(f[0], 10, 32)
		count, err2 := strconv.ParseUint(f[2], 10, 32)
		if err1 == nil && err2 == nil && count > size {
			start, size = first, count
		}
	}
	if size == 0 {
		return 0, 0, unix.ENOTSUP
	}
	const nobody = 65534
	first, last := start+size/2, start+size-1
	// No programs of 16 bits, and no id that reads as "none" or as signed.
	last = min(last, math.MaxInt32)
	first = min(first, last/2)
	if first <= nobody && last >= nobody {
		last = nobody - 1
	}
	if uint64(avoid) >= first && uint64(avoid) <= last {
		first = uint64(avoid) + 1
	}
	// An id comes again only when the exec that had it before is forgotten, though
	// all that may run at once do.
	if last < first || last-first < 4*remembered {
		return 0, 0, unix.ENOTSUP
	}
	return uint32(first), uint32(last), nil
}
