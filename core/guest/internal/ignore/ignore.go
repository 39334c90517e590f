// Package ignore knows what .gitignore files leave out, as gitignore(5) says.
package ignore

import (
	"path"
	"strings"

	"github.com/deep-sandbox/deep/core/guest/internal/globs"
)

// Rules are those of one .gitignore file. They may be used by several goroutines.
type Rules struct {
	// names holds the rules that are a plain name without a slash, which most
	// are: the number of the last one for each.
	names map[string][]int
	list  []rule
	// scan lists the others by number.
	scan []int
}

type rule struct {
	pattern  *globs.Pattern // nil for one in names
	suffix   string         // for "*.ext", instead of pattern
	keep     bool           // began with '!'
	dirOnly  bool           // ended in '/'
	anchored bool           // matched against the path, not the name
}

// Parse reads the content of a .gitignore file. A line that is no pattern is
// ignored, as git does. It returns nil if there is no rule.
func Parse(content string) *Rules {
	r := &Rules{names: map[string][]int{}}
	for line := range strings.SplitSeq(content, "\n") {
		r.add(strings.TrimSuffix(line, "\r"))
	}
	if len(r.list) == 0 {
		return nil
	}
	return r
}

func (r *Rules) add(line string) {
	line = trimSpaces(line)
	var u rule
	switch {
	case line == "" || line[0] == '#':
		return
	case line[0] == '!':
		u.keep = true
		line = line[1:]
	}
	if trimmed := strings.TrimRight(line, "/"); trimmed != line {
		u.dirOnly = true
		line = trimmed
	}
	if line == "" {
		return
	}
	u.anchored = strings.Contains(line, "/")
	line = strings.TrimPrefix(line, "/")
	n := len(r.list)
	switch {
	case !u.anchored && !strings.ContainsAny(line, `*?[\`):
		r.names[line] = append(r.names[line], n)
	case !u.anchored && strings.HasPrefix(line, "*.") && !strings.ContainsAny(line[1:], `*?[\`):
		u.suffix = line[1:]
		r.scan = append(r.scan, n)
	default:
		p, err := globs.Compile(line, globs.Options{Hidden: true, NoBraces: true})
		if err != nil {
			return
		}
		u.pattern = p
		r.scan = append(r.scan, n)
	}
	r.list = append(r.list, u)
}

// trimSpaces removes trailing spaces that no backslash keeps.
func trimSpaces(line string) string {
	for strings.HasSuffix(line, " ") && !strings.HasSuffix(line, `\ `) {
		line = line[:len(line)-1]
	}
	return line
}

// match returns the last rule for rel, a path below the directory of the file.
func (r *Rules) match(rel, name string, dir bool) (u *rule) {
	last := -1
	for i := len(r.scan) - 1; i >= 0; i-- {
		n := r.scan[i]
		if r.list[n].match(rel, name, dir) {
			last = n
			break
		}
	}
	if plain := r.names[name]; plain != nil {
		for i := len(plain) - 1; i >= 0 && plain[i] > last; i-- {
			if !r.list[plain[i]].dirOnly || dir {
				last = plain[i]
				break
			}
		}
	}
	if last < 0 {
		return nil
	}
	return &r.list[last]
}

func (u *rule) match(rel, name string, dir bool) bool {
	switch {
	case u.dirOnly && !dir:
		return false
	case u.suffix != "":
		return strings.HasSuffix(name, u.suffix)
	case u.anchored:
		return u.pattern.Match(rel)
	}
	return u.pattern.MatchName(name)
}

// Stack is the rules that hold in a directory: its own and those above. Nil
// ignores nothing.
type Stack struct {
	above *Stack
	rules *Rules
	dir   string // of the rules, relative to where the stack began, "" there
}

// Push returns the stack for dir, a directory below s's, with its own rules,
// which may be nil.
func (s *Stack) Push(dir string, rules *Rules) *Stack {
	if rules == nil {
		return s
	}
	return &Stack{above: s, rules: rules, dir: dir}
}

// Ignored reports whether a file or directory is left out. Its path is relative
// to where the stack began, and nothing above it is left out.
func (s *Stack) Ignored(rel string, dir bool) bool {
	name := path.Base(rel)
	for ; s != nil; s = s.above {
		below := rel
		if s.dir != "" {
			below = rel[len(s.dir)+1:]
		}
		if u := s.rules.match(below, name, dir); u != nil {
			return !u.keep
		}
	}
	return false
}
