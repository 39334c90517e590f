package backendtest

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/deep-sandbox/deep/core/backend"
)

// fakeImage is what of an image makes a difference in memory.
type fakeImage struct {
	env     map[string]string
	volumes []string
	// bare: there is one program, and nothing else.
	bare bool
}

// NewFakeOfImages returns a backend without sandboxes that makes them from three
// images, by their names: an ordinary one, and those of Opts.Bare and Opts.Trap.
func NewFakeOfImages(ordinary, bare, trap string) *Fake {
	f := NewFake()
	f.images = map[string]*fakeImage{
		ordinary: {},
		bare:     {bare: true},
		trap:     {env: maps.Clone(trapEnv), volumes: slices.Clone(trapVolumes)},
	}
	return f
}

// reference is what names an image.
var reference = regexp.MustCompile(`^[a-z0-9][a-z0-9._/-]*(:[0-9]+/[a-z0-9._/-]+)?(:[A-Za-z0-9_][A-Za-z0-9._-]*)?(@sha256:[0-9a-f]{64})?$`)

// image returns what a sandbox is made from. Without images any name will do.
func (f *Fake) image(op string, s backend.Spec) (*fakeImage, error) {
	if f.images == nil {
		return &fakeImage{}, nil
	}
	if s.Image == "" {
		s.Image = backend.DefaultImage
	}
	img := f.images[s.Image]
	switch {
	case !reference.MatchString(s.Image):
		return nil, fault(backend.ErrInvalid, op, s.Image, "this is no name of an image")
	case img == nil && s.Pull == backend.PullNever:
		return nil, fault(backend.ErrNotFound, op, s.Image, "there is no such image")
	case img == nil || s.Pull == backend.PullAlways:
		return nil, fault(backend.ErrUnavailable, op, s.Image, "there is no way to a registry from memory")
	}
	return img, nil
}

// furnish adds to a new tree what the image wants there.
func (img *fakeImage) furnish(t *tree) {
	if img.bare {
		t.lookup("/bin").children["bare"] = &node{typ: backend.TypeRegular, mode: 0o755, mtime: t.now(), system: true}
	}
	for _, dir := range img.volumes {
		t.makeDirs(dir, 0o777, false)
	}
	t.inMemory = append(t.inMemory, img.volumes...)
	var mounts strings.Builder
	for _, dir := range t.inMemory {
		mounts.WriteString("tmpfs " + dir + " tmpfs rw 0 0\n")
	}
	t.makeDirs("/proc", 0o555, true)
	t.lookup("/proc").children["mounts"] = &node{typ: backend.TypeRegular, mode: 0o444, mtime: t.now(), data: []byte(mounts.String()), system: true}
}

// program returns one that the image has in /bin, nil if there is none.
func (img *fakeImage) program(name string) program {
	switch {
	case !img.bare:
		return commands[name]
	case name == "bare":
		return bareProgram
	}
	return nil
}

func noShell(op string) error {
	err := fault(backend.ErrNotFound, op, "/bin/sh", "no shell in the sandbox")
	err.Hint = "give the program and its arguments as argv instead"
	return err
}

// bareProgram is the one of test/engines/images/bare.
func bareProgram(p *proc, argv []string) status {
	if len(argv) < 2 {
		return p.fails(argv, "say what to do")
	}
	switch argv[1] {
	case "args":
		return p.printAll(argv[2:])
	case "env":
		var env []string
		for _, k := range slices.Sorted(maps.Keys(p.env)) {
			env = append(env, k+"="+p.env[k])
		}
		return p.printAll(env)
	case "copy":
		return p.copyTo(p.in)
	case "exit":
		code, err := strconv.Atoi(strings.Join(argv[2:], " "))
		if err != nil {
			return p.fails(argv, "%v", err)
		}
		return status{code: code & 0xff}
	case "deaf":
		return p.deaf()
	}
	return p.fails(argv, "%q is nothing it can do", argv[1])
}

func (p *proc) printAll(all []string) status {
	var b strings.Builder
	for _, s := range all {
		b.WriteString(s + "\x00")
	}
	return p.print(b.String())
}

// deaf stays, with a child, whatever signal they are sent.
func (p *proc) deaf() status {
	for sig := range 65 {
		p.self.ignore(sig)
	}
	child := p.fork([]string{"bare", "deaf-child"})
	go func() {
		defer child.self.exit()
		if st := child.print("up\n"); st.code == 0 {
			child.stay()
		}
	}()
	return p.stay()
}

func (p *proc) stay() status {
	<-p.self.dead
	return signalled(int(syscall.SIGKILL))
}
