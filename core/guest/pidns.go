package guest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/guest/internal/confine"
	"github.com/deep-sandbox/deep/core/guest/internal/nsinit"
)

// pidnsDomain gives each command a PID namespace of its own, for a guest that
// has no other uid than that of the commands. It needs CAP_SYS_ADMIN in the
// guest's user namespace. Package nsinit is what runs in it first.
type pidnsDomain struct {
	reaper *reaper
	// rules are what commands are put under, encoded.
	rules string

	mu    sync.Mutex
	tasks map[*pidnsTask]bool // whose namespace is not known to be gone
	// leaving of these are being taken down. gone is closed when one of them is gone,
	// and made anew.
	leaving int
	gone    chan struct{}
}

const (
	// maxLeaving is how many namespaces may be on their way out when the next command
	// starts. A command's end is told before its namespace has gone: the first process,
	// with eight threads or more, must get the processor to end, and its last one then
	// waits in the kernel for a grace period of RCU, for which mount namespaces stand
	// in line. Until then they count as the user's: a hundred short commands left so
	// many behind that no other could be started.
	maxLeaving = 8
	// leavingTime bounds how long a start waits for that. What a process in
	// uninterruptible sleep keeps from going keeps nothing else from starting.
	leavingTime = time.Second
)

// newPIDNSDomain checks that namespaces can be had by making one.
func newPIDNSDomain(r *reaper, rules confine.Rules) (*pidnsDomain, error) {
	encoded, err := rules.Encode()
	if err != nil {
		return nil, err
	}
	d := &pidnsDomain{reaper: r, rules: encoded, tasks: map[*pidnsTask]bool{}, gone: make(chan struct{})}
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = null.Close() }()
	fd := null.Fd()
	t, err := d.start(&command{program: "/", argv: []string{"probe"}, dir: "/", stdio: [3]uintptr{fd, fd, fd}})
	if err == nil {
		t.kill(unkillable)
		return nil, errors.New("a directory could be executed")
	}
	if !errors.Is(err, unix.EACCES) {
		return nil, fmt.Errorf("make a nested PID namespace: %w", err)
	}
	return d, nil
}

func (*pidnsDomain) name() string { return "pidns" }

func (d *pidnsDomain) start(cmd *command) (task, error) {
	spec, err := nsinit.Spec{Program: cmd.program, Dir: cmd.dir, Argv: cmd.argv, Env: cmd.env, Terminal: cmd.terminal, Rules: d.rules}.File()
	if err != nil {
		return nil, err
	}
	defer func() { _ = spec.Close() }()
	reports, reportEnd, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	controlEnd, control, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, reports.Close(), reportEnd.Close())
	}
	d.awaitRoom()
	first, err := d.reaper.start(func() (int, error) {
		return syscall.ForkExec("/proc/self/exe", []string{nsinit.Name}, &syscall.ProcAttr{
			Dir: "/", Env: nsinit.Env,
			Files: []uintptr{cmd.stdio[0], cmd.stdio[1], cmd.stdio[2], spec.Fd(), reportEnd.Fd(), controlEnd.Fd()},
			Sys:   &syscall.SysProcAttr{Setsid: true, Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS},
		})
	})
	_ = reportEnd.Close()
	_ = controlEnd.Close()
	if err != nil {
		return nil, errors.Join(err, reports.Close(), control.Close())
	}
	t := &pidnsTask{domain: d, first: first, control: control, finished: make(chan struct{})}
	lines := bufio.NewReaderSize(reports, 128)
	r, err := nextReport(lines)
	if err == nil && r.Failed != 0 {
		err = r.Failed
	}
	if err != nil {
		if t.kill(unkillable) && err == io.EOF {
			err = fmt.Errorf("the first process of the command's namespace ended: status %#x", uint32(first.end.status))
		}
		return nil, errors.Join(err, reports.Close(), control.Close())
	}
	d.mu.Lock()
	d.tasks[t] = true
	d.mu.Unlock()
	go t.follow(reports, lines)
	return t, nil
}

// awaitRoom waits while too many namespaces are being taken down.
func (d *pidnsDomain) awaitRoom() {
	late := time.After(leavingTime)
	for {
		d.mu.Lock()
		leaving, gone := d.leaving, d.gone
		d.mu.Unlock()
		if leaving < maxLeaving {
			return
		}
		select {
		case <-gone:
		case <-late:
			return
		}
	}
}

func nextReport(lines *bufio.Reader) (nsinit.Report, error) {
	line, err := lines.ReadString('\n')
	if err != nil {
		return nsinit.Report{}, err
	}
	return nsinit.ParseReport(line)
}

func (d *pidnsDomain) endAll(grace time.Duration) {
	d.mu.Lock()
	var all []*pidnsTask
	for t := range d.tasks {
		all = append(all, t)
	}
	d.mu.Unlock()
	var ended sync.WaitGroup
	for _, t := range all {
		ended.Go(func() { stop(t, func() time.Duration { return grace }) })
	}
	ended.Wait()
}

func (*pidnsDomain) close() {}

// pidnsTask is a command of a pidnsDomain.
type pidnsTask struct {
	domain *pidnsDomain
	// first is the namespace's first process.
	first *child
	// control asks it to pass signals on.
	control  *os.File
	finished chan struct{}
	end      ended
}

// follow waits for the end of the command, then for that of the namespace.
func (t *pidnsTask) follow(reports *os.File, lines *bufio.Reader) {
	r, err := nextReport(lines)
	if err == nil && r.Ended {
		t.end = ended{status: r.Status, usage: r.Usage, at: time.Now()}
	} else {
		// The first process died with no report, and with it, by SIGKILL, the rest.
		<-t.first.done
		t.end = t.first.end
		t.end.status = unix.WaitStatus(unix.SIGKILL)
	}
	if r.Last {
		// First, so that whoever then starts the next one knows: the first process may
		// not come to its own end for long.
		t.domain.leave()
		close(t.finished)
	} else {
		close(t.finished)
		_, _ = lines.WriteTo(io.Discard) // nothing, until the first process ends
		t.domain.leave()
	}
	_ = reports.Close()
	<-t.first.done
	_ = t.control.Close()
	t.domain.left(t)
}

// leave says that a namespace is being taken down, left that it is gone.
func (d *pidnsDomain) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.leaving++
}

func (d *pidnsDomain) left(t *pidnsTask) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.tasks, t)
	d.leaving--
	close(d.gone)
	d.gone = make(chan struct{})
}

func (t *pidnsTask) done() <-chan struct{} { return t.finished }
func (t *pidnsTask) ended() ended          { return t.end }

func (t *pidnsTask) terminate() { t.signal(unix.SIGTERM, true) }

func (t *pidnsTask) signal(sig unix.Signal, all bool) {
	order := nsinit.Order{Signal: sig, All: all}
	// It fails when the namespace has gone, and then nobody is left to hear.
	_, _ = t.control.Write(order.Bytes())
}

func (t *pidnsTask) alive() bool {
	select {
	case <-t.first.done:
		return false
	default:
		return true
	}
}

// kill kills the first process: the kernel kills the rest before it lets that
// one be reaped. What sleeps uninterruptibly cannot be told from what is slow to
// die here, so it waits long rather than leave something alive.
func (t *pidnsTask) kill(time.Duration) bool {
	t.domain.reaper.signal(t.first, unix.SIGKILL)
	select {
	case <-t.first.done:
		return true
	case <-time.After(stubborn):
		return false
	}
}
