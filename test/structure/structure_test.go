// Package structure states how the source is laid out, and fails when it is not.
package structure

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/deep-sandbox/deep/"

// pkg is what `go list -json` tells of a package.
type pkg struct {
	ImportPath   string
	Dir          string
	Name         string
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
	Standard     bool
}

// list returns the packages of this module, with what they need.
func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json", "-tags", "remote,containers_image_openpgp,exclude_graphdriver_btrfs", "./...")
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return pkgs
		}
		if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// A rule forbids imports. A path ending in "/..." means all below it.
type rule struct {
	// of the packages it binds, by path in this module.
	of string
	// except these of them.
	except []string
	// never imports one of these.
	never []string
	// or only ever these, of this module and beyond the standard library.
	only []string
	// deps looks at everything linked in, not just at direct imports.
	deps   bool
	reason string
}

const (
	openai   = "github.com/openai/openai-go/..."
	hcl      = "github.com/hashicorp/hcl/..."
	goplugin = "github.com/hashicorp/go-plugin/..."
	docker   = "github.com/docker/docker/..."
	podman   = "github.com/containers/podman/..."
)

var rules = []rule{
	{of: "core/backend", only: []string{}, reason: "the contract is standard library only: whoever implements it takes on nothing else"},
	{of: "core/proto/...", only: []string{"google.golang.org/..."}, reason: "generated code needs the protocol's runtime and nothing of ours"},
	{of: "core/internal/wire", only: []string{module + "core/backend", module + "core/proto/...", "google.golang.org/..."}, reason: "the wire knows the contract and its protocol, on both sides alike"},
	{of: "core/guest", never: []string{module + "core/host/...", module + "core/pluginsdk/...", module + "core/agent/...", hcl, openai, goplugin, docker, podman}, reason: "the guest lives among hostile code: nothing in it that it does not need"},
	{of: "core/pluginsdk/...", never: []string{module + "core/host/...", module + "core/agent/...", module + "core/tools/...", module + "core/config/...", module + "core/cli/...", module + "plugins/...", hcl, openai, docker, podman}, reason: "plugins of strangers link the SDK; it must not bring in the host or an engine"},
	{of: "core/host/...", never: []string{module + "core/agent/...", module + "core/tools/...", module + "core/config/...", module + "core/cli/...", module + "plugins/...", openai, docker, podman}, reason: "the host runs plugins and knows neither who uses them nor what is in them"},
	{of: "core/tools/...", never: []string{module + "core/host/...", module + "core/agent/...", module + "core/config/...", module + "core/cli/...", module + "plugins/..."}, reason: "tools see a sandbox, never the way to it"},
	{of: "core/agent/...", never: []string{module + "core/config/...", module + "core/cli/...", module + "core/host/...", module + "plugins/..."}, reason: "the loop is embedded by programs that have neither command line nor plugins"},
	{of: "plugins/...", never: []string{module + "core/host/...", module + "core/agent/...", module + "core/tools/...", module + "core/config/...", module + "core/cli/...", module + "core/internal/wire", hcl, openai}, reason: "a plugin is written against backend and pluginsdk, as a stranger's would be"},
	{of: "plugins/docker", never: []string{module + "plugins/podman", module + "plugins/local", podman}, reason: "backends do not know each other"},
	{of: "plugins/podman", never: []string{module + "plugins/docker", module + "plugins/local"}, reason: "backends do not know each other"},
	{of: "plugins/local", never: []string{module + "plugins/docker", module + "plugins/podman", docker, podman}, reason: "backends do not know each other"},
	{of: "...", except: []string{"core/internal/llm"}, never: []string{openai}, reason: "one package speaks the model's protocol, so that another client replaces one package"},
	{of: "...", except: []string{"core/config", "core/host", "core/cli"}, never: []string{hcl}, reason: "configuration is decoded at the edge; everything inside gets typed values"},
	{of: "...", except: []string{"core/host", "core/internal/procrunner", "core/pluginsdk"}, never: []string{goplugin}, reason: "go-plugin has faults that our runner works round; nobody else may meet them"},
	{of: "...", except: []string{"core/control", "core/guest/...", "core/pluginsdk/...", "plugins/...", "test/..."}, never: []string{module + "core/control"}, reason: "defences are opened where a sandbox is made and in its guest, and nowhere near the host that decides what a sandbox may be"},
	{of: "cmd/deep", never: []string{docker, podman, "github.com/containers/..."}, deps: true, reason: "deep links no engine's client: engines live in plugins"},
	{of: "cmd/deep-guest", never: []string{hcl, openai, goplugin, docker, podman, "modernc.org/...", "github.com/spf13/..."}, deps: true, reason: "the guest stays small: its memory is paid once a sandbox"},
}

// matches reports whether path is pattern or, for "X/...", is or lies below X.
func matches(pattern, path string) bool {
	if pattern == "..." {
		return true
	}
	if below, ok := strings.CutSuffix(pattern, "/..."); ok {
		return path == below || strings.HasPrefix(path, below+"/")
	}
	return path == pattern
}

func matchesAny(patterns []string, path string) bool {
	for _, p := range patterns {
		if matches(p, path) {
			return true
		}
	}
	return false
}

func TestImports(t *testing.T) {
	pkgs := list(t)
	for _, r := range rules {
		bound := 0
		for _, p := range pkgs {
			path := strings.TrimPrefix(p.ImportPath, module)
			if !matches(r.of, path) || matchesAny(r.except, path) {
				continue
			}
			bound++
			imports := p.Imports
			if r.deps {
				imports = p.Deps
			}
			for _, i := range imports {
				standard := !strings.Contains(strings.SplitN(i, "/", 2)[0], ".")
				if matchesAny(r.never, i) || r.only != nil && !standard && !matchesAny(r.only, i) {
					t.Errorf("%s imports %s: %s", path, i, r.reason)
				}
			}
		}
		if bound == 0 {
			t.Errorf("no package is bound by the rule of %q: the rule is stale", r.of)
		}
	}
}

// TestPackageComments wants exactly one comment for each package: none leaves a
// reader alone, several are printed one after the other.
func TestPackageComments(t *testing.T) {
	for _, p := range list(t) {
		if strings.Contains(p.ImportPath, "/proto/") {
			continue
		}
		var with []string
		files := p.GoFiles
		if len(files) == 0 {
			continue
		}
		for _, name := range files {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if f.Doc != nil {
				with = append(with, name)
				want := "Package " + p.Name + " "
				if p.Name == "main" {
					want = "Command " + filepath.Base(p.Dir) + " "
					if strings.HasPrefix(p.ImportPath, module+"plugins/") {
						want = "Command deep-backend-" + filepath.Base(p.Dir) + " "
					}
				}
				if !strings.HasPrefix(f.Doc.Text(), want) {
					t.Errorf("%s/%s: the package comment begins with %q, want %q", p.ImportPath, name, strings.SplitN(f.Doc.Text(), "\n", 2)[0], want)
				}
			}
		}
		if len(with) != 1 {
			t.Errorf("%s has %d package comments %v, want one", p.ImportPath, len(with), with)
		}
	}
}
