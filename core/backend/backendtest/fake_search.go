package backendtest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"path"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/deep-sandbox/deep/core/backend"
)

// globExpr is a compiled pattern.
type globExpr struct{ *regexp.Regexp }

// MatchString matches a path, which is bytes.
func (g *globExpr) MatchString(rel string) bool { return g.Regexp.MatchString(characters(rel)) }

// characters makes each byte that is no UTF-8 a character of its own: expressions
// know none of them.
func characters(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && size == 1 {
			r = 0x10_0000 + rune(s[0]) // for private use
		}
		b.WriteRune(r)
		s = s[size:]
	}
	return b.String()
}

// compileGlob turns a pattern into an expression on relative paths.
func compileGlob(op, pattern string, hidden bool) (*globExpr, error) {
	if pattern == "" || strings.IndexByte(pattern, 0) >= 0 {
		return nil, fault(backend.ErrInvalid, op, pattern, "an empty pattern, or one with a NUL")
	}
	bad := func(what string) error { return fault(backend.ErrInvalid, op, pattern, "%s in the pattern", what) }
	if pattern[0] == '/' || slices.Contains(strings.Split(pattern, "/"), "..") {
		return nil, bad("a way out of the directory")
	}
	pattern = characters(pattern)
	var b strings.Builder
	b.WriteString(`(?s)^`)
	depth := 0
	for i := 0; i < len(pattern); i++ {
		start := i == 0 || pattern[i-1] == '/'
		// RE2 knows no look-ahead: what must not begin with a dot says so itself.
		first := `[^/]`
		if start && !hidden {
			first = `[^/.]`
		}
		switch c := pattern[i]; {
		case strings.HasPrefix(pattern[i:], "**/") && start:
			if hidden {
				b.WriteString(`(?:[^/]+/)*`)
			} else {
				b.WriteString(`(?:[^/.][^/]*/)*`)
			}
			i += 2
		case pattern[i:] == "**" && start:
			if hidden {
				b.WriteString(`(?:[^/]+/)*[^/]+`)
			} else {
				b.WriteString(`(?:[^/.][^/]*/)*[^/.][^/]*`)
			}
			i++
		case c == '*':
			b.WriteString(`(?:` + first + `[^/]*)?`)
			if rest := pattern[i+1:]; start && (rest == "" || rest[0] == '/') {
				// A name is never empty.
				s := strings.TrimSuffix(b.String(), "?")
				b.Reset()
				b.WriteString(s)
			}
		case c == '?':
			b.WriteString(first)
		case c == '[':
			end := strings.IndexByte(pattern[i+1:], ']')
			if end < 1 {
				return nil, bad("an unclosed [")
			}
			class := pattern[i+1 : i+1+end]
			class = strings.ReplaceAll(regexp.QuoteMeta(class), `\-`, "-")
			class = strings.TrimPrefix(class, `\`)
			if class[0] == '!' {
				class = "^" + class[1:]
			}
			b.WriteString("[" + class + "]")
			i += end + 1
		case c == '{':
			depth++
			b.WriteString(`(?:`)
		case c == '}' && depth > 0:
			depth--
			b.WriteString(`)`)
		case c == ',' && depth > 0:
			b.WriteString(`|`)
		case c == '\\' && i+1 < len(pattern):
			i++
			b.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		default:
			b.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		}
	}
	if depth > 0 {
		return nil, bad("an unclosed {")
	}
	re, err := regexp.Compile(b.String() + `$`)
	if err != nil {
		return nil, bad(err.Error())
	}
	return &globExpr{re}, nil
}

func hiddenName(rel string) bool { return path.Base(rel)[0] == '.' }

// Glob implements backend.Sandbox.
func (s *fakeSandbox) Glob(ctx context.Context, req *backend.GlobRequest) (*backend.GlobReply, error) {
	const op = "glob"
	if err := s.begin(ctx, op); err != nil {
		return nil, err
	}
	re, err := compileGlob(op, req.Pattern, req.Hidden)
	switch {
	case err != nil:
		return nil, err
	case req.Order != "" && req.Order != backend.OrderNewest && req.Order != backend.OrderPath:
		return nil, fault(backend.ErrInvalid, op, req.Path, "no such order: %q", req.Order)
	case req.Limit < 0:
		return nil, fault(backend.ErrInvalid, op, req.Path, "a negative limit")
	}
	s.files.mu.Lock()
	defer s.files.mu.Unlock()
	at, err := s.files.directory(op, req.Path)
	if err != nil {
		return nil, err
	}
	r := &backend.GlobReply{}
	each(at.node, "", func(rel string, n *node) bool {
		if re.MatchString(rel) && (n.typ == backend.TypeRegular || req.Directories) {
			r.Matches = append(r.Matches, describe(n, rel))
		}
		if n.typ == backend.TypeDirectory && !readable(n) {
			r.Unreadable = append(r.Unreadable, rel)
			return false
		}
		return true
	})
	slices.SortFunc(r.Matches, func(a, b backend.FileInfo) int {
		if req.Order != backend.OrderPath {
			if c := b.ModTime.Compare(a.ModTime); c != 0 {
				return c
			}
		}
		return cmp.Compare(a.Path, b.Path)
	})
	r.Total = len(r.Matches)
	limit := req.Limit
	if limit == 0 || limit > backend.MaxGlobMatches {
		limit = backend.MaxGlobMatches
	}
	if r.Total > limit {
		r.Matches, r.Truncated = r.Matches[:limit], true
	}
	return r, nil
}

// Grep implements backend.Sandbox.
func (s *fakeSandbox) Grep(ctx context.Context, req *backend.GrepRequest) (*backend.GrepReply, error) {
	const op = "grep"
	if err := s.begin(ctx, op); err != nil {
		return nil, err
	}
	g, err := newGrep(op, req)
	if err != nil {
		return nil, err
	}
	s.files.mu.Lock()
	defer s.files.mu.Unlock()
	at, err := s.files.must(op, s.files.workspace, cmp.Or(req.Path, s.files.workspace), true)
	if err != nil {
		return nil, err
	}
	switch at.node.typ {
	case backend.TypeDirectory:
	case backend.TypeRegular:
		if !readable(at.node) {
			return nil, fault(backend.ErrPermission, op, req.Path, "")
		}
		g.search(path.Base(req.Path), at.node.data)
		return &g.reply, nil
	default:
		return nil, fault(backend.ErrInvalid, op, req.Path, "a %s has no lines", at.node.typ)
	}
	if !readable(at.node) {
		return nil, fault(backend.ErrPermission, op, req.Path, "")
	}
	// Rules are known by their directory, as seen from the workspace; of what is
	// elsewhere, from where the search begins.
	ignored := map[string][]ignoreRule{}
	below, inside := strings.CutPrefix(at.full, s.files.workspace+"/")
	if !inside {
		below = ""
	}
	if inside {
		dir := s.files.lookup(s.files.workspace)
		ignored[""] = ignoreRules(dir)
		at := ""
		for name := range strings.SplitSeq(below, "/") {
			dir, at = dir.children[name], path.Join(at, name)
			ignored[at] = ignoreRules(dir)
		}
	}
	ignored[below] = ignoreRules(at.node)
	each(at.node, "", func(rel string, n *node) bool {
		if hiddenName(rel) && !req.Hidden {
			return false
		}
		if !req.NoIgnore && isIgnored(ignored, path.Join(below, rel), n.typ == backend.TypeDirectory) {
			return false
		}
		switch {
		case n.typ == backend.TypeDirectory && !readable(n):
			g.reply.Unreadable = append(g.reply.Unreadable, rel)
			return false
		case n.typ == backend.TypeDirectory:
			ignored[path.Join(below, rel)] = ignoreRules(n)
			return true
		case n.typ != backend.TypeRegular || !g.wanted(rel):
		case !readable(n):
			g.reply.Unreadable = append(g.reply.Unreadable, rel)
		case bytes.IndexByte(n.data[:min(len(n.data), 8000)], 0) < 0 && n.hole == 0:
			g.search(rel, n.data)
		}
		return false
	})
	return &g.reply, nil
}

type grep struct {
	req              *backend.GrepRequest
	re               *regexp.Regexp
	include, exclude []*globExpr
	limit            int
	found            int
	reply            backend.GrepReply
}

func newGrep(op string, req *backend.GrepRequest) (*grep, error) {
	g := &grep{req: req, limit: req.Limit}
	if g.limit == 0 || g.limit > backend.MaxGrepMatches {
		g.limit = backend.MaxGrepMatches
	}
	switch {
	case req.Mode != "" && req.Mode != backend.GrepLines && req.Mode != backend.GrepFiles && req.Mode != backend.GrepCount:
		return nil, fault(backend.ErrInvalid, op, req.Path, "no such mode: %q", req.Mode)
	case req.Limit < 0 || req.Before < 0 || req.After < 0 || req.Before > 20 || req.After > 20:
		return nil, fault(backend.ErrInvalid, op, req.Path, "a negative limit, or more than 20 lines of context")
	case req.Pattern == "":
		return nil, fault(backend.ErrInvalid, op, req.Path, "an empty pattern")
	}
	pattern := req.Pattern
	if req.Literal {
		pattern = regexp.QuoteMeta(pattern)
	}
	if req.IgnoreCase {
		pattern = `(?i)` + pattern
	}
	var err error
	if g.re, err = regexp.Compile(pattern); err != nil {
		at := 0
		if e := (*syntax.Error)(nil); errors.As(err, &e) {
			at = max(0, strings.LastIndex(req.Pattern, e.Expr))
		}
		return nil, fault(backend.ErrInvalid, op, req.Path, "byte %d: %v", at, err)
	}
	for _, list := range []struct {
		in  []string
		out *[]*globExpr
	}{{req.Include, &g.include}, {req.Exclude, &g.exclude}} {
		for _, p := range list.in {
			if !strings.Contains(p, "/") {
				p = "**/" + p
			}
			re, err := compileGlob(op, p, true)
			if err != nil {
				return nil, err
			}
			*list.out = append(*list.out, re)
		}
	}
	return g, nil
}

// wanted reports whether the include and exclude patterns let a file through.
func (g *grep) wanted(rel string) bool {
	match := func(re *globExpr) bool { return re.MatchString(rel) }
	return (len(g.include) == 0 || slices.ContainsFunc(g.include, match)) && !slices.ContainsFunc(g.exclude, match)
}

func (g *grep) search(rel string, data []byte) {
	g.reply.Searched++
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	if len(data) == 0 {
		lines = nil
	}
	var hits []int
	for i, line := range lines {
		lines[i] = strings.TrimSuffix(line, "\r")
		if g.re.MatchString(lines[i]) {
			hits = append(hits, i)
		}
	}
	if len(hits) == 0 {
		return
	}
	if g.req.Mode == backend.GrepFiles || g.req.Mode == backend.GrepCount {
		if g.found == g.limit {
			g.reply.Truncated = true
			return
		}
		g.found++
		m := backend.GrepMatch{Path: rel}
		if g.req.Mode == backend.GrepCount {
			m.Count = len(hits)
		}
		g.reply.Matches = append(g.reply.Matches, m)
		return
	}
	if room := g.limit - g.found; len(hits) > room {
		hits, g.reply.Truncated = hits[:room], true
	}
	g.found += len(hits)
	next := 0 // first line not yet in the reply
	for n, i := range hits {
		until := len(lines)
		if n+1 < len(hits) {
			until = hits[n+1]
		}
		for l := max(next, i-g.req.Before); l < min(i+1+g.req.After, max(until, i+1)); l++ {
			g.reply.Matches = append(g.reply.Matches, g.line(rel, l, lines[l], l != i))
			next = l + 1
		}
	}
}

// line returns one line of the reply, cut around its match if it is long.
func (g *grep) line(rel string, i int, text string, context bool) backend.GrepMatch {
	m := backend.GrepMatch{Path: rel, Line: i + 1, Text: text, Context: context}
	if len(text) > backend.MaxGrepLine {
		from := 0
		if at := g.re.FindStringIndex(text); at != nil {
			from = max(0, min(at[0]-backend.MaxGrepLine/4, len(text)-backend.MaxGrepLine))
		}
		m.Text, m.Cut = text[from:from+backend.MaxGrepLine], true
	}
	return m
}

// ignoreRule is one line of a .gitignore file.
type ignoreRule struct {
	re      *globExpr
	negate  bool
	dirOnly bool
}

func ignoreRules(dir *node) []ignoreRule {
	file := dir.children[".gitignore"]
	if file == nil || file.typ != backend.TypeRegular {
		return nil
	}
	var rules []ignoreRule
	for line := range strings.SplitSeq(string(file.data), "\n") {
		line = strings.TrimSuffix(line, "\r")
		for strings.HasSuffix(line, " ") && !strings.HasSuffix(line, `\ `) {
			line = line[:len(line)-1]
		}
		if line == "" || line[0] == '#' {
			continue
		}
		// Braces are no more than that here.
		line = strings.NewReplacer("{", `\{`, "}", `\}`).Replace(line)
		var r ignoreRule
		line, r.negate = strings.CutPrefix(line, "!")
		line, r.dirOnly = strings.CutSuffix(line, "/")
		if strings.Contains(line, "/") {
			line = strings.TrimPrefix(line, "/")
		} else {
			line = "**/" + line
		}
		re, err := compileGlob("grep", line, true)
		if err != nil {
			continue // git, too, passes over a pattern that means nothing
		}
		r.re = re
		rules = append(rules, r)
	}
	return rules
}

// isIgnored reports what the last matching rule says, the deepest file's first.
func isIgnored(byDir map[string][]ignoreRule, rel string, isDir bool) bool {
	for dir := path.Dir(rel); ; dir = path.Dir(dir) {
		key := dir
		if dir == "." {
			key = ""
		}
		below := strings.TrimPrefix(strings.TrimPrefix(rel, key), "/")
		for _, r := range slices.Backward(byDir[key]) {
			if r.re.MatchString(below) && (isDir || !r.dirOnly) {
				return !r.negate
			}
		}
		if dir == "." {
			return false
		}
	}
}
