package guest

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/guest/internal/globs"
)

// Glob implements backend.Sandbox.
//
// A link to a directory is gone through where the pattern has a name for it, and
// never by "**": so links that form a loop end.
func (s *Sandbox) Glob(ctx context.Context, req *backend.GlobRequest) (*backend.GlobReply, error) {
	reply, err := s.glob(ctx, req)
	return reply, failed("glob", req.Path, err)
}

func (s *Sandbox) glob(ctx context.Context, req *backend.GlobRequest) (*backend.GlobReply, error) {
	path, err := s.absOrWorkspace(req.Path)
	if err != nil {
		return nil, err
	}
	pattern, err := globPattern(req.Pattern, globs.Options{Hidden: req.Hidden})
	if err != nil {
		return nil, err
	}
	order, err := globOrder(req.Order)
	if err != nil {
		return nil, err
	}
	if req.Limit < 0 {
		return nil, &backend.Error{Kind: backend.ErrInvalid, Message: "negative limit", Hint: hintLimit}
	}
	var reply *backend.GlobReply
	err = s.walks.do(ctx, func() error {
		t, err := openTree(path)
		if err != nil {
			return err
		}
		defer t.close()
		g := &globWalk{tree: t, all: req.Directories, matches: newSmallest(bounded(req.Limit, backend.MaxGlobMatches), order)}
		if err := g.walk(ctx, pattern); err != nil {
			return err
		}
		reply = g.reply()
		return nil
	})
	return reply, err
}

// globPattern compiles a pattern that is relative to a directory.
func globPattern(pattern string, opts globs.Options) (*globs.Pattern, error) {
	invalid := func(message string) error {
		return &backend.Error{Kind: backend.ErrInvalid, Message: fmt.Sprintf("pattern %s %s", excerpt(pattern), message), Hint: hintPattern}
	}
	switch {
	case pattern == "":
		return nil, invalid("is empty")
	case len(pattern) > maxPath:
		return nil, &backend.Error{Kind: backend.ErrInvalid, Message: "the pattern is longer than a path", Hint: "shorten it; \"**\" stands for any directories"}
	case strings.IndexByte(pattern, 0) >= 0:
		return nil, invalid("holds a NUL, which no name can")
	case pattern[0] == '/':
		return nil, invalid("is absolute; give the directory as the path, and a pattern relative to it")
	}
	p, err := globs.Compile(pattern, opts)
	if err != nil {
		return nil, invalidPattern(err)
	}
	return p, nil
}

func globOrder(order backend.Order) (func(a, b backend.FileInfo) int, error) {
	byPath := func(a, b backend.FileInfo) int { return cmp.Compare(a.Path, b.Path) }
	switch order {
	case backend.OrderPath:
		return byPath, nil
	case backend.OrderNewest, "":
		return func(a, b backend.FileInfo) int {
			if c := b.ModTime.Compare(a.ModTime); c != 0 {
				return c
			}
			return byPath(a, b)
		}, nil
	}
	return nil, &backend.Error{Kind: backend.ErrInvalid, Message: fmt.Sprintf("unknown order %q", order), Hint: fmt.Sprintf("orders are %q and %q", backend.OrderNewest, backend.OrderPath)}
}

// globWalk is one Glob under way.
type globWalk struct {
	*tree
	all     bool // not only regular files
	matches *smallest[backend.FileInfo]
	total   int
	todo    []globDir
}

// globDir is a directory that is still to be read.
type globDir struct {
	rel   string
	link  bool
	state globs.State
}

func (g *globWalk) walk(ctx context.Context, pattern *globs.Pattern) error {
	g.todo = []globDir{{state: pattern.Start()}}
	for len(g.todo) > 0 {
		d := g.todo[len(g.todo)-1]
		g.todo = g.todo[:len(g.todo)-1]
		if err := g.read(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

func (g *globWalk) read(ctx context.Context, d globDir) error {
	dir, err := g.open(d.rel, d.link)
	if dir < 0 {
		return err
	}
	defer func() { _ = unix.Close(dir) }()
	err = readDir(ctx, dir, func(name []byte, kind byte) { g.visit(dir, d, string(name), kind) })
	if err != nil {
		return g.passOver(d.rel, err)
	}
	return nil
}

func (g *globWalk) visit(dir int, d globDir, name string, kind byte) {
	if kind == unix.DT_UNKNOWN {
		kind = kindOf(dir, name)
	}
	if d.state.Match(name) && (g.all || kind == unix.DT_REG) {
		g.take(dir, d.rel, name)
	}
	if kind != unix.DT_DIR && kind != unix.DT_LNK {
		return
	}
	next := d.state.Enter(name, kind == unix.DT_LNK)
	if next.Dead() {
		return
	}
	if rel, ok := g.below(d.rel, name); ok {
		g.todo = append(g.todo, globDir{rel, kind == unix.DT_LNK, next})
	}
}

// take adds a match, unless it has vanished or become another kind of file.
func (g *globWalk) take(dir int, rel, name string) {
	path, ok := g.below(rel, name)
	if !ok {
		return
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return
	}
	info := fileInfo(path, &st)
	if g.all || info.Type == backend.TypeRegular {
		g.total++
		g.matches.add(info)
	}
}

func (g *globWalk) reply() *backend.GlobReply {
	matches := g.matches.sorted()
	for i := range matches {
		if m := &matches[i]; m.Type == backend.TypeSymlink {
			// One that has vanished since is told without its target.
			if at, err := openAt(g.root, m.Path, unix.O_PATH|unix.O_NOFOLLOW, 0); err == nil {
				m.Target, _ = readlinkat(at, "")
				_ = unix.Close(at)
			}
		}
	}
	return &backend.GlobReply{
		Matches: matches, Total: g.total, Truncated: g.total > len(matches), Unreadable: g.unreadable,
	}
}
