package backendtest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/deep-sandbox/deep/core/backend/backendtest"
)

// elsewhere are rules whose fault is no entry of a list, and where it is.
var elsewhere = map[string]string{
	"bound-sparse-file":     "TestFaultsOfBoundFilesAreFound: it needs a fake that binds directories",
	"capability-undeclared": "TestFalseCapability: the fault is in what Describe says",
	"nothing-left":          "TestLeftIsFound: another rule has to make what is left",
}

// TestEveryRuleHasAFault: a rule that was never seen to find anything may find
// nothing at all.
func TestEveryRuleHasAFault(t *testing.T) {
	t.Parallel()
	planted := plantedRules(t)
	for name := range elsewhere {
		if _, err := backendtest.Select([]string{name}); err != nil {
			t.Error(err)
		}
	}
	for _, r := range backendtest.Rules() {
		reason, excused := elsewhere[r.Name]
		switch {
		case excused && planted[r.Name]:
			t.Errorf("%s has a fault: take it from the list of those elsewhere", r.Name)
		case excused && reason == "":
			t.Errorf("%s: no word on where its fault is", r.Name)
		case !excused && !planted[r.Name]:
			t.Errorf("%s: no fault is planted for it", r.Name)
		}
	}
}

// plantedRules are the rules for which the files of this package named faults plant
// one: each begins an entry of a list, is the key of a map, or one of those a loop
// goes through.
func plantedRules(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("faults*_test.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files with faults: %v", err)
	}
	rules := map[string]bool{}
	note := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if name, err := strconv.Unquote(lit.Value); err == nil {
				rules[name] = true
			}
		}
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if loop, ok := n.(*ast.RangeStmt); ok {
				if names, ok := loop.X.(*ast.CompositeLit); ok {
					for _, e := range names.Elts {
						note(e)
					}
				}
			}
			lit, ok := n.(*ast.CompositeLit)
			if !ok || len(lit.Elts) == 0 {
				return true
			}
			if lit.Type == nil && len(lit.Elts) > 1 {
				note(lit.Elts[0])
			}
			for _, e := range lit.Elts {
				if kv, ok := e.(*ast.KeyValueExpr); ok {
					note(kv.Key)
				}
			}
			return true
		})
	}
	return rules
}
