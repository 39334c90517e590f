package guest

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/guest/internal/globs"
	"github.com/deep-sandbox/deep/core/guest/internal/ignore"
)

const (
	maxContext = 20
	// maxGrepBytes bounds the text of one answer; more is cut, and said.
	maxGrepBytes = 8 << 20
	// grepBatch is how many files are searched at once by one thread. Handing a
	// batch to another costs some 10 µs, as much as searching one small file.
	grepBatch = 64
)

// Grep implements backend.Sandbox.
func (s *Sandbox) Grep(ctx context.Context, req *backend.GrepRequest) (*backend.GrepReply, error) {
	reply, err := s.grep(ctx, req)
	return reply, failed("grep", req.Path, err)
}

func (s *Sandbox) grep(ctx context.Context, req *backend.GrepRequest) (*backend.GrepReply, error) {
	full, err := s.absOrWorkspace(req.Path)
	if err != nil {
		return nil, err
	}
	g, err := newGrepWalk(ctx, req)
	if err != nil {
		return nil, err
	}
	var reply *backend.GrepReply
	err = s.walks.do(ctx, func() error {
		g.tree, err = openTree(full)
		if errors.Is(err, unix.ENOTDIR) {
			reply, err = g.one(full)
			return err
		}
		if err != nil {
			return err
		}
		defer g.tree.close()
		g.rulesAbove(s.workspace, full)
		reply, err = g.all(s.walks)
		return err
	})
	return reply, err
}

// grepWalk is one Grep under way.
type grepWalk struct {
	*tree
	ctx              context.Context
	req              *backend.GrepRequest
	limit            int
	matcher          *matcher
	include, exclude []filter

	// rules that hold where the walk begins, and the path of that place from
	// where they began.
	rules  *ignore.Stack
	prefix string

	batches []*grepFiles
	// counted of the batches, from the first on, are done and hold found matches.
	counted, found int
	// taken is how many bytes of text all batches hold.
	taken atomic.Int64
}

func newGrepWalk(ctx context.Context, req *backend.GrepRequest) (*grepWalk, error) {
	invalid := func(message, hint string) error {
		return &backend.Error{Kind: backend.ErrInvalid, Message: message, Hint: hint}
	}
	g := &grepWalk{ctx: ctx, req: req, limit: bounded(req.Limit, backend.MaxGrepMatches)}
	switch req.Mode {
	case "", backend.GrepLines, backend.GrepFiles, backend.GrepCount:
	default:
		return nil, invalid(fmt.Sprintf("unknown mode %q", req.Mode),
			fmt.Sprintf("modes are %q, %q and %q", backend.GrepLines, backend.GrepFiles, backend.GrepCount))
	}
	switch {
	case req.Limit < 0:
		return nil, invalid("negative limit", hintLimit)
	case req.Before < 0 || req.Before > maxContext || req.After < 0 || req.After > maxContext:
		return nil, invalid(fmt.Sprintf("context must be between 0 and %d lines", maxContext), "ask for less, and read the file around a match")
	}
	var err error
	if g.matcher, err = newMatcher(req); err != nil {
		return nil, err
	}
	if g.include, err = newFilters(req.Include); err != nil {
		return nil, err
	}
	if g.exclude, err = newFilters(req.Exclude); err != nil {
		return nil, err
	}
	return g, nil
}

// filter is an include or exclude pattern.
type filter struct {
	pattern  *globs.Pattern
	nameOnly bool
}

func newFilters(patterns []string) ([]filter, error) {
	var filters []filter
	for _, p := range patterns {
		// What is hidden is decided apart.
		compiled, err := globPattern(p, globs.Options{Hidden: true})
		if err != nil {
			return nil, err
		}
		filters = append(filters, filter{compiled, !strings.Contains(p, "/")})
	}
	return filters, nil
}

func anyMatches(filters []filter, rel, name string) bool {
	for _, f := range filters {
		if f.nameOnly && f.pattern.MatchName(name) || !f.nameOnly && f.pattern.Match(rel) {
			return true
		}
	}
	return false
}

// one searches a file that was named, whatever it is called and holds.
func (g *grepWalk) one(full string) (*backend.GrepReply, error) {
	fd, st, err := openRegular(full)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	b := &grepFiles{walk: g, paths: []string{path.Base(full)}}
	se := searchers.Get().(*searcher)
	defer searchers.Put(se)
	if err := se.search(b, fd, st.Size, b.paths[0], true); err != nil {
		return nil, err
	}
	b.done = true
	g.tree, g.batches = &tree{}, []*grepFiles{b}
	return g.reply(), nil
}

// rulesAbove reads the .gitignore files from the workspace down to the directory
// above full, if it is in the workspace.
func (g *grepWalk) rulesAbove(workspace, full string) {
	if g.req.NoIgnore {
		return
	}
	below, inside := strings.CutPrefix(path.Clean(full)+"/", path.Clean(workspace)+"/")
	if below = strings.TrimSuffix(below, "/"); !inside || below == "" {
		return
	}
	g.prefix = below
	at := workspace
	rel := ""
	for name := range strings.SplitSeq(below, "/") {
		if fd, err := openAt(unix.AT_FDCWD, at, unix.O_PATH|unix.O_DIRECTORY, 0); err == nil {
			g.rules = g.rules.Push(rel, readRules(fd))
			_ = unix.Close(fd)
		}
		at = at + "/" + name
		rel = path.Join(rel, name)
	}
}

// maxRules bounds a .gitignore file that is obeyed, in bytes.
const maxRules = 1 << 20

// readRules reads the .gitignore of dir; nil if there is none that can be read.
func readRules(dir int) *ignore.Rules {
	var st unix.Stat_t
	fd, err := openStat(dir, ".gitignore", unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0, &st)
	if err != nil {
		return nil
	}
	defer func() { _ = unix.Close(fd) }()
	if mustBeRegular(&st) != nil || st.Size > maxRules {
		return nil
	}
	content := make([]byte, st.Size)
	n, err := unix.Pread(fd, content, 0)
	if err != nil {
		return nil
	}
	return ignore.Parse(string(content[:n]))
}

// all walks the tree and searches it, with the help of another thread if one is
// free.
func (g *grepWalk) all(threads *userThreads) (*backend.GrepReply, error) {
	work := make(chan *grepFiles)
	var helper sync.WaitGroup
	helping := threads.try(func() {
		se := searchers.Get().(*searcher)
		defer searchers.Put(se)
		for b := range work {
			se.files(b)
			helper.Done()
		}
	})
	se := searchers.Get().(*searcher)
	defer searchers.Put(se)
	hand := func(b *grepFiles) error {
		g.batches = append(g.batches, b)
		if helping {
			helper.Add(1)
			select {
			case work <- b:
				return nil
			default:
				helper.Done()
			}
		}
		se.files(b)
		return b.err
	}
	err := g.walk(hand)
	close(work)
	helper.Wait()
	if err != nil && err != errEnough {
		return nil, err
	}
	for _, b := range g.batches {
		if b.err != nil {
			return nil, b.err
		}
	}
	return g.reply(), nil
}

// errEnough ends a walk whose answer is full.
var errEnough = errors.New("enough")

// grepLevel is a directory the walk is in.
type grepLevel struct {
	rel   string
	names names
	next  int
	rules *ignore.Stack
}

// walk hands out the files to search, in the order of their paths.
func (g *grepWalk) walk(hand func(b *grepFiles) error) error {
	batch := &grepFiles{walk: g}
	var levels []*grepLevel
	enter := func(rel string, above *ignore.Stack) error {
		l, err := g.read(rel, above)
		if l != nil {
			levels = append(levels, l)
		}
		return err
	}
	if err := enter("", g.rules); err != nil {
		return err
	}
	for len(levels) > 0 {
		l := levels[len(levels)-1]
		if l.next == len(l.names.list) {
			levels = levels[:len(levels)-1]
			continue
		}
		kind, name := l.names.list[l.next].kind, string(l.names.name(l.next))
		l.next++
		rel, ok := g.wanted(l, name, kind)
		if !ok {
			continue
		}
		if kind == unix.DT_DIR {
			if err := enter(rel, l.rules); err != nil {
				return err
			}
			continue
		}
		if batch.paths = append(batch.paths, rel); len(batch.paths) == grepBatch {
			if err := hand(batch); err != nil {
				return err
			}
			if g.full() {
				return errEnough
			}
			batch = &grepFiles{walk: g}
		}
	}
	return hand(batch)
}

func (g *grepWalk) read(rel string, above *ignore.Stack) (*grepLevel, error) {
	dir, err := g.open(rel, false)
	if dir < 0 {
		return nil, err
	}
	defer func() { _ = unix.Close(dir) }()
	l := &grepLevel{rel: rel, rules: above}
	if err := l.names.read(g.ctx, dir); err != nil {
		return nil, g.passOver(rel, err)
	}
	if !g.req.NoIgnore {
		for i := range l.names.list {
			if string(l.names.name(i)) == ".gitignore" {
				l.rules = above.Push(path.Join(g.prefix, rel), readRules(dir))
				break
			}
		}
	}
	return l, nil
}

// wanted reports whether an entry is to be searched, and its path.
func (g *grepWalk) wanted(l *grepLevel, name string, kind byte) (rel string, ok bool) {
	if kind != unix.DT_DIR && kind != unix.DT_REG {
		return "", false
	}
	if name[0] == '.' && !g.req.Hidden {
		return "", false
	}
	rel, ok = g.below(l.rel, name)
	if !ok {
		return "", false
	}
	if l.rules != nil && l.rules.Ignored(path.Join(g.prefix, rel), kind == unix.DT_DIR) {
		return "", false
	}
	if anyMatches(g.exclude, rel, name) {
		return "", false
	}
	return rel, kind == unix.DT_DIR || len(g.include) == 0 || anyMatches(g.include, rel, name)
}

// full reports whether what was found so far, in order, fills the answer.
func (g *grepWalk) full() bool {
	if g.taken.Load() > maxGrepBytes {
		return true
	}
	for g.counted < len(g.batches) && g.batches[g.counted].isDone() {
		g.found += g.batches[g.counted].found
		g.counted++
	}
	return g.found > g.limit
}

// reply puts together what the batches found, up to the limit.
func (g *grepWalk) reply() *backend.GrepReply {
	r := &backend.GrepReply{Unreadable: g.unreadable}
	size, found := 0, 0
	for _, b := range g.batches {
		r.Searched += b.searched
		for _, rel := range b.unreadable {
			if len(r.Unreadable) < maxUnreadable {
				r.Unreadable = append(r.Unreadable, rel)
			}
		}
		for _, m := range b.matches {
			if r.Truncated {
				break
			}
			if !m.Context {
				found++
			}
			if size += len(m.Text); found > g.limit || size > maxGrepBytes {
				r.Truncated = true
				break
			}
			r.Matches = append(r.Matches, m)
		}
		// A batch that was not searched to its end: what follows is not next.
		r.Truncated = r.Truncated || !b.done
	}
	if r.Truncated {
		r.Matches = g.withoutStrayContext(r.Matches)
	}
	return r
}

// withoutStrayContext removes lines at the end that come before a match which
// was cut off.
func (g *grepWalk) withoutStrayContext(matches []backend.GrepMatch) []backend.GrepMatch {
	last := len(matches) - 1
	for last >= 0 && matches[last].Context {
		last--
	}
	if last < 0 {
		return nil
	}
	end := last + 1
	for end < len(matches) && matches[end].Path == matches[last].Path && matches[end].Line <= matches[last].Line+g.req.After {
		end++
	}
	return matches[:end]
}
