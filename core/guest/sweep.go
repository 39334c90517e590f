package guest

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// allGroups asks a sweep for every group in the range.
const allGroups = 0

// settlePasses is how many passes in a row must find nothing before a group
// counts as gone. A process that forks and ends while it is passed over can be
// missed once, when process ids wrap around; not twice.
const settlePasses = 2

// stubborn bounds a kill that does not come to an end though nothing of it
// sleeps uninterruptibly.
const stubborn = 10 * time.Second

// sweeper finds the processes of a group in /proc and signals them. One pass
// serves all who ask at that time: 200 commands that time out together cost a
// few passes, not 200.
type sweeper struct {
	low, high uint32
	proc      int // descriptor of /proc

	mu      sync.Mutex
	pending []*sweepRequest
	wake    chan struct{}
	quit    chan struct{}
	ended   sync.WaitGroup
}

type sweepRequest struct {
	group uint32
	sig   unix.Signal
	found found
	done  chan struct{}
}

// found tells what a pass saw of a group.
type found struct {
	alive int
	// asleep of these cannot be killed now: they sleep uninterruptibly.
	asleep int
	// stopped of these were stopped, and start nothing.
	stopped int
	// partial: /proc could not be read to its end; there may be more.
	partial bool
}

func (f found) none() bool { return f.alive == 0 && !f.partial }

func newSweeper(low, high uint32) (*sweeper, error) {
	fd, err := unix.Open("/proc", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /proc: %w", err)
	}
	s := &sweeper{low: low, high: high, proc: fd, wake: make(chan struct{}, 1), quit: make(chan struct{})}
	s.ended.Go(s.run)
	return s, nil
}

// sweep sends sig (none if 0) to each process of group and tells what it saw.
func (s *sweeper) sweep(group uint32, sig unix.Signal) found {
	r := &sweepRequest{group: group, sig: sig, done: make(chan struct{})}
	s.mu.Lock()
	s.pending = append(s.pending, r)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	select {
	case <-r.done:
		return r.found
	case <-s.quit:
		return found{}
	}
}

// freezeTime bounds how long a kill waits for all to stop first.
const freezeTime = 2 * time.Second

// freeze stops group until nothing of it runs. Each process that dies leaves room
// for one that others fork: those of a fork loop that are only killed are made
// anew as fast. Those that are stopped fill the room, and fork no more.
func (s *sweeper) freeze(group uint32) {
	for begin := time.Now(); time.Since(begin) < freezeTime; {
		f := s.sweep(group, unix.SIGSTOP)
		if !f.partial && f.alive == f.stopped+f.asleep {
			return
		}
	}
}

// kill kills group until nothing is left, and reports whether it came to that.
// What sleeps uninterruptibly when limit is over is left to the background.
func (s *sweeper) kill(group uint32, limit time.Duration) bool {
	s.freeze(group)
	begin := time.Now()
	for empty, pass := 0, 0; ; pass++ {
		f := s.sweep(group, unix.SIGKILL)
		if !f.none() {
			empty = 0
		} else if empty++; empty == settlePasses {
			return true
		}
		switch spent := time.Since(begin); {
		case f.alive > 0 && f.alive == f.asleep && !f.partial && spent > limit, spent > stubborn:
			go s.killSlowly(group)
			return false
		case !f.none() && pass > 3:
			// The dying need the processor to die.
			time.Sleep(time.Millisecond)
		}
	}
}

func (s *sweeper) killSlowly(group uint32) {
	for !s.sweep(group, unix.SIGKILL).none() {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-s.quit:
			return
		}
	}
}

func (s *sweeper) close() {
	close(s.quit)
	s.ended.Wait()
	_ = unix.Close(s.proc)
}

func (s *sweeper) run() {
	var p pass
	for {
		select {
		case <-s.wake:
		case <-s.quit:
			return
		}
		s.mu.Lock()
		batch := s.pending
		s.pending = nil
		s.mu.Unlock()
		err := p.each(s.proc, func(pid int, status []byte) { s.visit(batch, pid, status) })
		for _, r := range batch {
			r.found.partial = err != nil
			close(r.done)
		}
	}
}

// visit counts and signals one process for those who asked for its group.
func (s *sweeper) visit(batch []*sweepRequest, pid int, status []byte) {
	group := s.groupIn(status)
	if group == 0 {
		return
	}
	state, dead := stateIn(status)
	if dead {
		return
	}
	for _, r := range batch {
		if r.group != group && r.group != allGroups {
			continue
		}
		r.found.alive++
		switch state {
		case 'D':
			r.found.asleep++
		case 'T', 't', 'Z': // the first thread of one whose others live tells nothing
			r.found.stopped++
		}
		if r.sig != 0 && (r.sig != unix.SIGSTOP || state != 'T') {
			s.signal(pid, group, r.sig)
		}
	}
}

// signal sends sig to process pid if it is of group. The descriptor holds the
// process: if the id has gone to another since, either the group is not right or
// the signal goes nowhere.
func (s *sweeper) signal(pid int, group uint32, sig unix.Signal) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		if err == unix.ENOSYS || err == unix.EPERM {
			// A kernel before 5.3, or a seccomp profile that does not know it.
			_ = unix.Kill(pid, sig)
		}
		return
	}
	defer func() { _ = unix.Close(fd) }()
	var buf [4096]byte
	status, err := statusOf(s.proc, strconv.Itoa(pid), buf[:])
	if err == nil && s.groupIn(status) == group {
		_ = unix.PidfdSendSignal(fd, sig, nil, 0)
	}
}

// present returns the groups of the range that processes have now.
func (s *sweeper) present() (map[uint32]bool, error) {
	fd, err := unix.Open("/proc", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	groups := map[uint32]bool{}
	var p pass
	err = p.each(fd, func(_ int, status []byte) {
		if g := s.groupIn(status); g != 0 {
			groups[g] = true
		}
	})
	return groups, err
}

// groupIn returns the group of the range that a process has, 0 if none.
func (s *sweeper) groupIn(status []byte) uint32 {
	for f := range bytes.FieldsSeq(field(status, "\nGroups:")) {
		g, err := strconv.ParseUint(string(f), 10, 32)
		if err == nil && uint32(g) >= s.low && uint32(g) <= s.high {
			return uint32(g)
		}
	}
	return 0
}

// stateIn returns a process's state, and whether it is dead. A process whose
// first thread has ended looks like a zombie while its others live.
func stateIn(status []byte) (state byte, dead bool) {
	if f := bytes.TrimSpace(field(status, "\nState:")); len(f) > 0 {
		state = f[0]
	}
	switch state {
	case 'X', 'x', 0:
		return state, true
	case 'Z':
		return state, string(bytes.TrimSpace(field(status, "\nThreads:"))) == "1"
	}
	return state, false
}

// field returns what follows name on its line.
func field(status []byte, name string) []byte {
	i := bytes.Index(status, []byte(name))
	if i < 0 {
		return nil
	}
	rest := status[i+len(name):]
	if end := bytes.IndexByte(rest, '\n'); end >= 0 {
		rest = rest[:end]
	}
	return rest
}

// pass reads /proc once. Ids come in ascending order, so that what is born
// meanwhile comes later in the same pass.
type pass struct {
	dirents [16 << 10]byte
	status  [4096]byte
}

func (p *pass) each(proc int, visit func(pid int, status []byte)) error {
	if _, err := unix.Seek(proc, 0, unix.SEEK_SET); err != nil {
		return err
	}
	var failure error
	for {
		n, err := unix.Getdents(proc, p.dirents[:])
		if err == unix.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			return errors.Join(failure, err)
		}
		eachDirent(p.dirents[:n], func(name []byte, _ byte) {
			pid, err := strconv.Atoi(string(name))
			if err != nil {
				return // not a process
			}
			status, err := statusOf(proc, string(name), p.status[:])
			switch err {
			case nil:
				visit(pid, status)
			case unix.ENOENT, unix.ESRCH:
				// It has ended.
			default:
				failure = err
			}
		})
	}
}

// statusOf reads /proc/PID/status into buf.
func statusOf(proc int, pid string, buf []byte) ([]byte, error) {
	fd, err := unix.Openat(proc, pid+"/status", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	n, err := unix.Read(fd, buf)
	_ = unix.Close(fd)
	if err != nil {
		return nil, err
	}
	return buf[:n], nil
}
