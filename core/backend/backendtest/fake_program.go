package backendtest

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

// maxArg is how long an argument may be, with its end.
const maxArg = 128 << 10

// run runs a program: a built-in one, or a script of the tree.
func (p *proc) run(argv []string) status {
	if st, dead := p.dead(); dead {
		return st
	}
	name := argv[0]
	for _, a := range argv {
		if len(a) >= maxArg {
			return p.notStarted(126, name, "E2BIG: argument list too long")
		}
	}
	if strings.Contains(name, "/") {
		if dir := path.Dir(name); p.image.program(path.Base(name)) != nil && (dir == "/bin" || dir == "/usr/bin") {
			return p.image.program(path.Base(name))(p, argv)
		}
		return p.script(name, argv)
	}
	for dir := range strings.SplitSeq(p.env["PATH"], ":") {
		if cmd := p.image.program(name); cmd != nil && (dir == "/bin" || dir == "/usr/bin") {
			return cmd(p, argv)
		}
		full := path.Join(dir, name)
		p.files.mu.Lock()
		at, err := p.files.must("exec", p.dir, full, true)
		p.files.mu.Unlock()
		if err == nil && at.node.typ == backend.TypeRegular && at.node.mode&0o111 != 0 {
			return p.script(full, argv)
		}
	}
	return p.notStarted(127, name, "ENOENT: not found in PATH")
}

func (p *proc) notStarted(code int, name, why string) status {
	if p.shell {
		fmt.Fprintf(p.err, "sh: %s: %s\n", name, why)
		return status{code: code}
	}
	return status{code: code, startError: name + ": " + why}
}

func (p *proc) script(name string, argv []string) status {
	p.files.mu.Lock()
	at, err := p.files.must("exec", p.dir, name, true)
	p.files.mu.Unlock()
	switch {
	case errors.Is(err, backend.ErrNotFound):
		return p.notStarted(127, name, "ENOENT: no such file or directory")
	case err != nil:
		return p.notStarted(126, name, "EACCES: "+err.Error())
	case at.node.typ != backend.TypeRegular || at.node.mode&0o111 == 0:
		return p.notStarted(126, name, "EACCES: permission denied")
	}
	body, ok := strings.CutPrefix(string(at.node.data), "#!/bin/sh\n")
	if !ok {
		return p.notStarted(126, name, "ENOEXEC: exec format error")
	}
	return p.runScript(body)
}
