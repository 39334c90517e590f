package backendtest

import (
	"slices"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

// nameRules try one odd name each in every operation.
var nameRules = func() []Rule {
	var rules []Rule
	for _, n := range []struct{ rule, name string }{
		{"spaces", " a  b "},
		{"newline", "new\nline"},
		{"quotes", `q"u'o` + "`te"},
		{"leading-dash", "-rf"},
		{"not-utf8", "\xff\xfe\x80"},
		{"unicode", "ünï-日本-\u202egpj"},
		{"shell", "$HOME;*?&|<>"},
		{"glob", "[a]{b}*"},
		{"backslash", `back\slash`},
		{"control", "\x01\x1b[31m\x7f\t"},
		{"dots", "..."},
		{"long", strings.Repeat("n", 255)},
	} {
		rules = append(rules, Rule{
			Name:     "name-" + n.rule,
			Sentence: "Names are bytes and round-trip through every operation.",
			run:      func(t *T) { t.oddName(n.name) },
		})
	}
	return rules
}()

func (t *T) oddName(name string) {
	t.write(name, "needle old")
	t.wantContent(name, "needle old")
	if i := t.stat(name); i.Path != t.path(name) || i.Size != 10 {
		t.Errorf("stat: %+v", i)
	}
	_, err := t.edit(name, "old", "new", false)
	t.must("edit", err)
	t.wantContent(name, "needle new")
	if names := t.names(""); !slices.Equal(names, []string{name}) {
		t.Errorf("list: %q", names)
	}
	glob, err := t.sandbox().Glob(t.ctx, &backend.GlobRequest{Path: t.rule.Name, Pattern: "*", Hidden: true})
	t.must("glob", err)
	if len(glob.Matches) != 1 || glob.Matches[0].Path != name {
		t.Errorf("glob: %+v", glob.Matches)
	}
	grep, err := t.sandbox().Grep(t.ctx, &backend.GrepRequest{Path: t.rule.Name, Pattern: "needle", Hidden: true})
	t.must("grep", err)
	if len(grep.Matches) != 1 || grep.Matches[0].Path != name {
		t.Errorf("grep: %+v", grep.Matches)
	}
	t.must("rename", t.rename(name, "plain", false))
	t.must("rename back", t.rename("plain", name, true))
	t.must("remove", t.remove(t.path(name), false))
	t.must("mkdir", t.sandbox().Mkdir(t.ctx, &backend.MkdirRequest{Path: t.path(name)}))
	t.write(name+"/f", "below")
	t.wantContent(name+"/f", "below")
	t.must("remove the tree", t.remove(t.path(name), true))
	if names := t.names(""); len(names) != 0 {
		t.Errorf("left: %q", names)
	}
}
