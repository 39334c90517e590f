package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/guest/internal/nsinit"
)

const (
	// maxListed is how many processes one answer may hold, by backend.proto.
	maxListed = 4096
	// maxCommandLine is how much of a command line is told, in bytes.
	maxCommandLine = 4096
	// tick is the unit of times in /proc: the kernel's USER_HZ, 100 a second
	// wherever Go runs.
	tick = 10 * time.Millisecond
)

// Processes implements backend.Sandbox.
func (s *Sandbox) Processes(ctx context.Context, _ *backend.ProcessesRequest) (*backend.ProcessesReply, error) {
	const op = "processes"
	before := s.guestProcesses()
	var list []listed
	err := s.walks.do(ctx, func() (err error) {
		list, err = listProcesses(ctx, os.Getpid())
		return err
	})
	if err != nil {
		return nil, failed(op, "", err)
	}
	// This waits for what is just being started.
	after := s.guestProcesses()
	for pid := range before {
		after[pid] = true
	}
	execs := s.execMarks()
	reply := &backend.ProcessesReply{}
	err = s.walks.do(ctx, func() error {
		mark := s.marker(list, after)
		patience := maxPatience
		for _, p := range list {
			if after[p.PID] || p.carries() || !p.settle(mark, after, &patience) || p.dead(after) {
				continue
			}
			p.Exec = execs[mark(&p)]
			if p.PPID == os.Getpid() || after[p.PPID] {
				p.PPID = 1
			}
			reply.Processes = append(reply.Processes, p.Process)
		}
		return nil
	})
	if err != nil {
		return nil, failed(op, "", err)
	}
	return reply, nil
}

// carries reports whether it is the guest's program, started by the engine to carry
// bytes for a host. Nothing inside can have a parent that is not there.
func (p *listed) carries() bool {
	return p.PPID == 0 && len(p.Args) > 1 && p.Args[1] == "connect" && path.Base(p.Args[0]) == path.Base(os.Args[0])
}

// maxPatience bounds, in milliseconds, how long one answer waits for processes to
// become what they were started for.
const maxPatience = 50

// settle reads p again if it is, or may be, one that the guest has forked and
// that had not yet become the command. It reports whether there is still one.
func (p *listed) settle(mark func(*listed) int, firsts map[int]bool, patience *int) bool {
	if p.PPID == os.Getpid() && mark(p) == 0 {
		return p.read() == nil // by now it has
	}
	for firsts[p.PPID] && p.Args[0] == nsinit.Name && *patience > 0 {
		*patience--
		time.Sleep(time.Millisecond)
		if p.read() != nil {
			return false
		}
	}
	return true
}

// guestProcesses are the guest's own, beside itself: in a pidnsDomain the first of
// each namespace, which are all the children it starts. It waits for one that is
// just being started.
func (s *Sandbox) guestProcesses() map[int]bool {
	s.reaper.mu.Lock()
	defer s.reaper.mu.Unlock()
	own := map[int]bool{}
	if _, ok := s.domain.(*pidnsDomain); ok {
		for pid := range s.reaper.children {
			own[pid] = true
		}
	}
	return own
}

// marker returns what tells by which mark of its domain a process belongs to an
// exec, 0 for none: its group, or the first process of its namespace.
func (s *Sandbox) marker(list []listed, firsts map[int]bool) func(p *listed) int {
	if d, ok := s.domain.(*groupDomain); ok {
		return func(p *listed) int { return int(d.sweeper.groupIn(p.status)) }
	}
	parents := map[int]int{}
	for _, p := range list {
		parents[p.PID] = p.PPID
	}
	return func(p *listed) int {
		// Each that has lost its parent has become a child of the first. No line of
		// ancestors is longer than there are processes.
		pid := p.PPID
		for range list {
			if firsts[pid] {
				return pid
			}
			pid = parents[pid]
		}
		return 0
	}
}

// execMarks tells which exec a mark is of, also of those that have ended, as long
// as they are known.
func (s *Sandbox) execMarks() map[int]string {
	r := s.execs
	r.mu.Lock()
	defer r.mu.Unlock()
	execs := map[int]string{}
	for id, e := range r.execs {
		t := e.task
		if e.exec != nil {
			select {
			case <-e.exec.running:
				t = e.exec.task
			default: // its processes are there in a moment
			}
		}
		switch t := t.(type) {
		case *groupTask:
			execs[int(t.group)] = id
		case *pidnsTask:
			if t.alive() { // else its number may be another's
				execs[t.first.pid] = id
			}
		}
	}
	return execs
}

// listed is a process and what it takes to judge it.
type listed struct {
	backend.Process
	status  []byte // of /proc, as far as it matters
	threads int
	now     time.Time     // when it was read, on the clock
	up      time.Duration // and since the system began
}

// dead reports whether it has ended and only the guest, as its parent, has to take
// notice, which it will. One whose first thread has ended looks the same.
func (p *listed) dead(guests map[int]bool) bool {
	return p.State == "X" || p.State == "x" || p.State == "Z" && p.threads <= 1 && (p.PPID == os.Getpid() || guests[p.PPID])
}

// listProcesses reads what runs but for one, by id.
func listProcesses(ctx context.Context, but int) ([]listed, error) {
	proc, err := openAt(unix.AT_FDCWD, "/proc", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(proc) }()
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return nil, err
	}
	p := listed{now: time.Now(), up: time.Duration(up.Nano())}
	var list []listed
	var failure error
	err = readDirWhile(ctx, proc, func(name []byte, _ byte) bool {
		pid, err := strconv.Atoi(string(name))
		if err != nil || pid == but {
			return true
		}
		next := p
		next.PID = pid
		switch err := next.read(); {
		case err == nil:
			list = append(list, next)
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESRCH): // it has ended
		default:
			failure = err
		}
		if len(list) > maxListed {
			failure = &backend.Error{Kind: backend.ErrTooLarge, Message: fmt.Sprintf("more than %d processes run", maxListed), Hint: "end some of them"}
		}
		return failure == nil
	})
	if err = errors.Join(err, failure); err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b listed) int { return a.PID - b.PID })
	return list, nil
}

// read reads what /proc says of it.
func (p *listed) read() error {
	dir := "/proc/" + strconv.Itoa(p.PID) + "/"
	var buf [maxCommandLine]byte
	stat, err := readStart(dir+"stat", buf[:])
	if err != nil {
		return err
	}
	name, err := p.parse(stat)
	if err != nil {
		return err
	}
	status, err := readStart(dir+"status", buf[:])
	if err != nil {
		return err
	}
	p.status = append([]byte("\nGroups:"), field(status, "\nGroups:")...)
	if p.RSS, err = resident(status); err != nil {
		return fmt.Errorf("what /proc says of process %d is not understood: %w", p.PID, err)
	}
	line, err := readStart(dir+"cmdline", buf[:])
	if err != nil {
		return err
	}
	if len(line) == 0 {
		p.Args = []string{"[" + name + "]"}
		return nil
	}
	p.Args = strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
	return nil
}

// parse reads /proc/PID/stat, and returns the name it has there.
func (p *listed) parse(stat []byte) (name string, err error) {
	// The name may hold anything, parentheses and spaces too.
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return "", fmt.Errorf("what /proc says of process %d is not understood", p.PID)
	}
	// From the third field of proc(5) on.
	f := strings.Fields(string(stat[end+1:]))
	if len(f) < 22 {
		return "", fmt.Errorf("what /proc says of process %d is not understood", p.PID)
	}
	number := func(field int) int64 {
		n, parseErr := strconv.ParseInt(f[field-3], 10, 64)
		if parseErr != nil {
			err = fmt.Errorf("what /proc says of process %d is not understood: %w", p.PID, parseErr)
		}
		return n
	}
	p.State = f[0]
	p.PPID = int(number(4))
	p.CPUTime = time.Duration(number(14)+number(15)) * tick
	p.threads = int(number(20))
	p.Started = p.now.Add(time.Duration(number(22))*tick - p.up).Round(tick)
	return string(stat[open+1 : end]), err
}

// resident returns the bytes in memory that /proc/PID/status tells. The figure of
// /proc/PID/stat is an estimate since Linux 6.2: 0 for a program that has just
// started. What has ended, and a thread of the kernel, have none.
func resident(status []byte) (int64, error) {
	kib := bytes.TrimSuffix(bytes.TrimSpace(field(status, "\nVmRSS:")), []byte(" kB"))
	if len(kib) == 0 {
		return 0, nil
	}
	n, err := strconv.ParseInt(string(kib), 10, 64)
	return n << 10, err
}

// readStart reads the beginning of a file into buf.
func readStart(path string, buf []byte) ([]byte, error) {
	fd, err := openAt(unix.AT_FDCWD, path, unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	n := 0
	for n < len(buf) {
		m, err := unix.Read(fd, buf[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if m == 0 {
			break
		}
		n += m
	}
	return buf[:n], nil
}
