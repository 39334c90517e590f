package backendtest

import (
	"fmt"
	"io"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// builtins change the shell that runs them.
var builtins map[string]program

func init() {
	builtins = map[string]program{"cd": cd, "exit": exit, "exec": replace, "kill": kill, "trap": trap, "wait": wait, "ulimit": ulimit}
}

func cd(p *proc, argv []string) status {
	p.files.mu.Lock()
	defer p.files.mu.Unlock()
	at, err := p.files.must("cd", p.dir, strings.Join(argv[1:], " "), true)
	if err != nil || at.node.typ != backend.TypeDirectory {
		return p.fails(argv, "cannot go there")
	}
	p.dir = at.full
	return status{}
}

func exit(p *proc, argv []string) status {
	st := status{code: p.last, exit: true}
	if len(argv) > 1 {
		n, err := strconv.Atoi(argv[1])
		if err != nil {
			return p.fails(argv, "not a number")
		}
		st.code = n & 0xff
	}
	return st
}

// replace runs a program in the stead of the shell.
func replace(p *proc, argv []string) status {
	p.self.mu.Lock()
	p.self.args = argv[1:]
	p.self.mu.Unlock()
	p.direct = false
	st := p.run(argv[1:])
	st.exit = true
	return st
}

var signalNames = map[string]int{
	"HUP": 1, "INT": 2, "QUIT": 3, "ABRT": 6, "KILL": 9, "USR1": 10, "SEGV": 11, "USR2": 12, "TERM": 15, "CONT": 18, "STOP": 19, "WINCH": 28,
}

// signalNumber reads a signal; 0 is none.
func signalNumber(s string) int {
	if n, err := strconv.Atoi(s); err == nil && n > 0 && n <= 64 {
		return n
	}
	return signalNames[strings.TrimPrefix(s, "SIG")]
}

func kill(p *proc, argv []string) status {
	if len(argv) != 3 {
		return p.fails(argv, "only kill -SIGNAL PID is known")
	}
	sig := signalNumber(strings.TrimPrefix(argv[1], "-"))
	pid, err := strconv.Atoi(argv[2])
	p.machine.mu.Lock()
	to := p.processes[pid]
	p.machine.mu.Unlock()
	if sig == 0 || err != nil || to == nil {
		return p.fails(argv, "no such signal or process")
	}
	to.deliver(sig)
	st, _ := p.dead()
	return st
}

func trap(p *proc, argv []string) status {
	if len(argv) < 3 {
		return p.fails(argv, "only trap SCRIPT SIGNAL... is known")
	}
	script := &argv[1]
	if *script == "-" {
		script = nil
	}
	for _, name := range argv[2:] {
		sig := signalNumber(name)
		if sig == 0 {
			return p.fails(argv, "no such signal: %s", name)
		}
		p.self.trap(sig, script)
	}
	return status{}
}

// wait waits for the jobs, or for a signal that is caught.
func wait(p *proc, argv []string) status {
	if len(argv) != 1 {
		return p.fails(argv, "only wait is known")
	}
	p.self.mu.Lock()
	jobs := p.self.jobs
	p.self.mu.Unlock()
	for _, j := range jobs {
		for ended := false; !ended; {
			select {
			case <-j.over:
				ended = true
			case <-p.self.dead:
				st, _ := p.dead()
				return st
			case <-time.After(5 * time.Millisecond): // a signal may have been caught
				if p.self.interrupted() {
					return status{code: 128}
				}
			}
		}
	}
	return status{}
}

func ulimit(p *proc, argv []string) status {
	if len(argv) != 2 || argv[1] != "-c" {
		return p.fails(argv, "only ulimit -c is known")
	}
	return p.print("0\n")
}

func sh(p *proc, argv []string) status {
	var script string
	switch {
	case len(argv) == 3 && argv[1] == "-c":
		script = argv[2]
	case len(argv) == 2:
		r, err := p.open(argv[1])
		if err != nil {
			return p.fails(argv, "%v", err)
		}
		data, _ := io.ReadAll(r)
		script = string(data)
	default:
		return p.fails(argv, "only sh -c SCRIPT and sh FILE are known")
	}
	return p.runScript(script)
}

// runScript is a shell that runs a script.
func (p *proc) runScript(script string) status {
	c := *p
	c.shell, c.shellPID, c.env = true, p.self.pid, maps.Clone(p.env)
	return c.runHere(script)
}

// runHere runs a script in the shell that p is.
func (p *proc) runHere(script string) status {
	tokens, err := lex(script)
	if err != nil {
		fmt.Fprintln(p.err, "sh: syntax error:", err)
		return status{code: 2}
	}
	ps := &parser{tokens: tokens}
	list, err := ps.list()
	if err == nil && ps.peek() != "end" {
		err = fmt.Errorf("unexpected %q", ps.peek())
	}
	if err != nil {
		fmt.Fprintln(p.err, "sh: syntax error:", err)
		return status{code: 2}
	}
	return list(p)
}
