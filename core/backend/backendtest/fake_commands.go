package backendtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

type program func(p *proc, argv []string) status

// commands are the programs of a fake sandbox, in /bin.
var commands map[string]program

// inShell are those a shell runs without a process of their own.
var inShell = map[string]bool{":": true, "true": true, "false": true, "echo": true, "printf": true, "pwd": true, "test": true, "[": true}

func init() {
	commands = map[string]program{
		":":     func(*proc, []string) status { return status{} },
		"true":  func(*proc, []string) status { return status{} },
		"false": func(*proc, []string) status { return status{code: 1} },
		"echo": func(p *proc, argv []string) status {
			return p.print(strings.Join(argv[1:], " ") + "\n")
		},
		"printf": func(p *proc, argv []string) status {
			if len(argv) < 2 {
				return p.fails(argv, "no format")
			}
			s := escapes(argv[1])
			for _, a := range argv[2:] {
				s = strings.Replace(s, "%s", a, 1)
			}
			return p.print(s)
		},
		"pwd": func(p *proc, _ []string) status { return p.print(p.dir + "\n") },
		"env": func(p *proc, _ []string) status {
			var b strings.Builder
			for _, k := range slices.Sorted(maps.Keys(p.env)) {
				b.WriteString(k + "=" + p.env[k] + "\n")
			}
			return p.print(b.String())
		},
		"id": func(p *proc, argv []string) status {
			if len(argv) != 2 || argv[1] != "-u" && argv[1] != "-g" {
				return p.fails(argv, "only id -u and id -g are known")
			}
			return p.print(fmt.Sprintln(backend.DefaultUID))
		},
		"sleep":  sleepCommand,
		"cat":    cat,
		"head":   head,
		"wc":     wc,
		"yes":    yes,
		"sh":     sh,
		"test":   test,
		"[":      test,
		"setsid": wrapper,
		"nohup":  wrapper,
		"mkfifo": func(p *proc, argv []string) status {
			return p.places(argv, argv[1:], func(at place) *node { return &node{typ: backend.TypeFIFO, mode: 0o644} })
		},
		"ln": func(p *proc, argv []string) status {
			if len(argv) == 3 {
				return p.link(argv)
			}
			if len(argv) != 4 || argv[1] != "-s" {
				return p.fails(argv, "only ln [-s] TARGET NAME is known")
			}
			return p.places(argv, argv[3:], func(at place) *node {
				return &node{typ: backend.TypeSymlink, mode: 0o777, target: argv[2]}
			})
		},
		"touch": func(p *proc, argv []string) status {
			return p.places(argv, argv[1:], func(at place) *node {
				if at.node != nil {
					return at.node
				}
				return &node{typ: backend.TypeRegular, mode: 0o644}
			})
		},
		"chmod": chmod,
		"stty":  stty,
		"tty": func(p *proc, argv []string) status {
			if isTerminal(p.in) == nil {
				_ = p.print("not a tty\n")
				return status{code: 1}
			}
			return p.print("/dev/pts/0\n")
		},
		"nc":       nc,
		"tail":     tail,
		"truncate": truncate,
	}
}

func (p *proc) fails(argv []string, format string, args ...any) status {
	fmt.Fprintf(p.err, "%s: %s\n", argv[0], fmt.Sprintf(format, args...))
	return status{code: 1}
}

func (p *proc) print(s string) status {
	if _, err := io.WriteString(p.out, s); err != nil {
		return p.broken()
	}
	return status{}
}

// broken is the end of a command that can write no more.
func (p *proc) broken() status {
	if st, dead := p.dead(); dead {
		return st
	}
	return signalled(int(syscall.SIGPIPE))
}

// places puts what makeNode returns at each of the paths.
func (p *proc) places(argv, paths []string, makeNode func(at place) *node) status {
	p.files.mu.Lock()
	defer p.files.mu.Unlock()
	for _, path := range paths {
		at, err := p.files.find(argv[0], p.dir, path, false, false)
		if err == nil {
			n := makeNode(at)
			n.mtime = p.files.now()
			err = p.files.put(argv[0], path, at, n)
		}
		if err != nil {
			return p.fails(argv, "%v", err)
		}
	}
	return status{}
}

// open returns the content of a file; of /dev/zero there is no end.
func (p *proc) open(name string) (io.Reader, error) {
	switch name {
	case "/dev/null":
		return strings.NewReader(""), nil
	case "/dev/zero":
		return zeroes{}, nil
	case "/dev/tty":
		if isTerminal(p.in) == nil {
			return nil, fault(backend.ErrNotFound, "open", name, "no terminal")
		}
		return p.in, nil
	}
	p.files.mu.Lock()
	defer p.files.mu.Unlock()
	at, err := p.files.regular("open", p.dir, name)
	if err != nil {
		return nil, err
	}
	return bytes.NewReader(at.node.data), nil
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// outFile is a file a command writes to.
type outFile struct {
	p    *proc
	name string
	data []byte
	err  error
	// terminal it is, where it is one
	terminal io.Writer
}

func (p *proc) create(name string, more bool) (*outFile, error) {
	if name == "/dev/tty" && isTerminal(p.out) != nil {
		return &outFile{p: p, name: name, terminal: p.out}, nil
	}
	f := &outFile{p: p, name: name}
	if more {
		if r, err := p.open(name); err == nil {
			f.data, _ = io.ReadAll(r)
		}
	}
	_, err := f.Write(nil)
	return f, err
}

func (f *outFile) Write(b []byte) (int, error) {
	switch {
	case f.name == "/dev/null":
		return len(b), nil
	case f.terminal != nil:
		return f.terminal.Write(b)
	}
	f.data = append(f.data, b...)
	f.p.files.mu.Lock()
	defer f.p.files.mu.Unlock()
	if _, f.err = f.p.files.write("write", f.p.dir, f.name, f.data, 0o644, false); f.err != nil {
		return 0, f.err
	}
	return len(b), nil
}

// escapes reads \n, \t, \r, \\ and octal ones.
func escapes(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch c := s[i]; {
		case c == 'n':
			b.WriteByte('\n')
		case c == 't':
			b.WriteByte('\t')
		case c == 'r':
			b.WriteByte('\r')
		case c >= '0' && c <= '7':
			n, end := 0, min(i+3, len(s))
			for ; i < end && s[i] >= '0' && s[i] <= '7'; i++ {
				n = n*8 + int(s[i]-'0')
			}
			i--
			b.WriteByte(byte(n))
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func sleepCommand(p *proc, argv []string) status {
	if len(argv) != 2 {
		return p.fails(argv, "one duration is needed")
	}
	seconds, err := strconv.ParseFloat(argv[1], 64)
	if err != nil {
		return p.fails(argv, "not a duration: %s", argv[1])
	}
	return p.sleep(time.Duration(seconds * float64(time.Second)))
}

// copyTo copies until r ends, the command is killed, or nobody reads.
func (p *proc) copyTo(r io.Reader) status {
	buf := make([]byte, 32<<10)
	for {
		if st, dead := p.dead(); dead {
			return st
		}
		n, err := r.Read(buf)
		p.self.exec.cpu.Add(int64(10 * time.Microsecond))
		if _, werr := p.out.Write(buf[:n]); werr != nil {
			return p.broken()
		}
		switch {
		case errors.Is(err, io.EOF):
			return status{}
		case err != nil:
			return p.broken()
		}
	}
}

func cat(p *proc, argv []string) status {
	if len(argv) == 1 {
		return p.copyTo(p.in)
	}
	for _, name := range argv[1:] {
		r := p.in
		if name != "-" {
			var err error
			if r, err = p.open(name); err != nil {
				return p.fails(argv, "%v", err)
			}
		}
		if st := p.copyTo(r); st.code != 0 {
			return st
		}
	}
	return status{}
}

func head(p *proc, argv []string) status {
	if len(argv) < 3 || argv[1] != "-c" {
		return p.fails(argv, "only head -c N [FILE] is known")
	}
	n, err := strconv.ParseInt(argv[2], 10, 64)
	if err != nil {
		return p.fails(argv, "not a number: %s", argv[2])
	}
	r := p.in
	if len(argv) > 3 {
		if r, err = p.open(argv[3]); err != nil {
			return p.fails(argv, "%v", err)
		}
	}
	return p.copyTo(io.LimitReader(r, n))
}

// tail holds what it may have to print, as the real one does, though the memory
// may not suffice.
func tail(p *proc, argv []string) status {
	if len(argv) < 3 || argv[1] != "-c" {
		return p.fails(argv, "only tail -c N [FILE] is known")
	}
	n, err := strconv.ParseInt(argv[2], 10, 64)
	if err != nil {
		return p.fails(argv, "not a number: %s", argv[2])
	}
	r := p.in
	if len(argv) > 3 {
		if r, err = p.open(argv[3]); err != nil {
			return p.fails(argv, "%v", err)
		}
	}
	var held int64
	var last []byte
	buf := make([]byte, 32<<10)
	for {
		if st, dead := p.dead(); dead {
			return st
		}
		m, err := r.Read(buf)
		if held = min(held+int64(m), n); held > p.memory() {
			p.outOfMemory()
			continue
		}
		if last = append(last, buf[:m]...); int64(len(last)) > n {
			last = last[int64(len(last))-n:]
		}
		switch {
		case errors.Is(err, io.EOF):
			return p.print(string(last))
		case err != nil:
			return p.broken()
		}
	}
}

// outOfMemory is what the kernel does to a process that takes too much.
func (p *proc) outOfMemory() {
	p.machine.mu.Lock()
	p.oomKills++
	if p.self == p.self.exec.main.self {
		p.self.exec.oom = true
	}
	p.machine.mu.Unlock()
	p.self.deliver(int(syscall.SIGKILL))
}

func wc(p *proc, argv []string) status {
	if len(argv) != 2 || argv[1] != "-c" {
		return p.fails(argv, "only wc -c is known")
	}
	n, err := io.Copy(io.Discard, p.in)
	if err != nil {
		return p.broken()
	}
	return p.print(strconv.FormatInt(n, 10) + "\n")
}

func yes(p *proc, argv []string) status {
	line := "y"
	if len(argv) > 1 {
		line = strings.Join(argv[1:], " ")
	}
	block := []byte(strings.Repeat(line+"\n", 1024))
	for {
		if st, dead := p.dead(); dead {
			return st
		}
		if _, err := p.out.Write(block); err != nil {
			return p.broken()
		}
	}
}

func test(p *proc, argv []string) status {
	args := argv[1:]
	if argv[0] == "[" {
		if len(args) == 0 || args[len(args)-1] != "]" {
			return p.fails(argv, "a missing ]")
		}
		args = args[:len(args)-1]
	}
	if len(args) == 2 && args[0] == "-t" {
		fd := map[string]any{"0": p.in, "1": p.out, "2": p.err}[args[1]]
		if isTerminal(fd) == nil {
			return status{code: 1}
		}
		return status{}
	}
	not := len(args) == 3 && args[0] == "!"
	if not {
		args = args[1:]
	}
	if len(args) != 2 {
		return p.fails(argv, "only -t, [!] -e, -f, -d, -p and -L are known")
	}
	p.files.mu.Lock()
	defer p.files.mu.Unlock()
	at, err := p.files.find(argv[0], p.dir, args[1], args[0] != "-L", false)
	want := map[string]backend.FileType{"-f": backend.TypeRegular, "-d": backend.TypeDirectory, "-L": backend.TypeSymlink, "-p": backend.TypeFIFO}
	is := err == nil && at.node != nil && (args[0] == "-e" || want[args[0]] == at.node.typ)
	if is != not {
		return status{}
	}
	return status{code: 1}
}

// wrapper runs the rest of its arguments. Sessions and hang-ups are nothing a
// command could escape by here, as it cannot anywhere.
func wrapper(p *proc, argv []string) status {
	if len(argv) < 2 {
		return p.fails(argv, "a command is missing")
	}
	return p.run(argv[1:])
}

func chmod(p *proc, argv []string) status {
	if len(argv) < 3 {
		return p.fails(argv, "a mode and a file are needed")
	}
	mode, err := strconv.ParseUint(argv[1], 8, 12)
	if err != nil {
		return p.fails(argv, "only octal modes are known")
	}
	p.files.mu.Lock()
	defer p.files.mu.Unlock()
	for _, name := range argv[2:] {
		at, err := p.files.must(argv[0], p.dir, name, true)
		if err != nil {
			return p.fails(argv, "%v", err)
		}
		at.node.mode = uint32(mode)
	}
	return status{}
}
