package pluginsdk

import (
	"errors"
	"fmt"
	"testing"

	"github.com/deep-sandbox/deep/core/backend"
)

// What a backend found is told once, however it was wrapped on the way.
func TestAnnotate(t *testing.T) {
	found := &backend.Error{Kind: backend.ErrPermission, Path: "workspace", Message: "it is not shown", Hint: "use another"}
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"alone":    {found, "b: create: workspace: it is not shown — use another"},
		"joined":   {errors.Join(found, nil), "b: create: workspace: it is not shown — use another"},
		"twice":    {errors.Join(errors.Join(nil, found), nil), "b: create: workspace: it is not shown — use another"},
		"wrapped":  {fmt.Errorf("look: %w", found), "b: create: workspace: look: workspace: it is not shown — use another"},
		"with one": {errors.Join(found, errors.New("and more")), "b: create: workspace: it is not shown\nand more — use another"},
	} {
		got := annotate(test.err, "b", "create")
		if got.Error() != test.want || !errors.Is(got, backend.ErrPermission) || backend.HintOf(got) != "use another" {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
