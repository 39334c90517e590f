package config

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/deep-sandbox/deep/core/agent"
	"github.com/deep-sandbox/deep/core/backend"
)

var (
	installed = []string{"docker", "local", "podman"}
	tools     = []string{"edit_file", "execute", "glob", "grep", "ls", "read_file", "read_todos", "write_file", "write_todos"}
)

// home gives the test an empty home, without any variable of the user's.
func home(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", dir)
	for _, name := range []string{"DEEP_CONFIG", "XDG_CONFIG_HOME", "OPENAI_API_KEY", "OPENAI_BASE_URL"} {
		t.Setenv(name, "")
	}
	return dir
}

// write makes a file and the directories it is in, for nobody else to write.
func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, text string) (*Config, error) {
	t.Helper()
	path := write(t, filepath.Join(home(t), "config.hcl"), text)
	return Load(Options{Path: path, Installed: installed, Tools: tools})
}

// TestMistakes: each mistake at its place, in words that help.
func TestMistakes(t *testing.T) {
	t.Setenv("DEEP_TEST_UNSET", "")
	os.Unsetenv("DEEP_TEST_UNSET")
	sandbox := func(line string) string { return "backend \"local\" {\n  sandbox {\n    " + line + "\n  }\n}\n" }
	for _, c := range []struct {
		name, text string
		want       []string // place and words of each
	}{
		{"unknown key", `defalt_backend = "docker"`, []string{`1,1-15: unknown key defalt_backend; did you mean default_backend?`}},
		{"unknown key, nothing near", "agent {\n  xyz = 1\n}", []string{`2,3-6: unknown key xyz; there are ask_tools, deny_tools, instructions, max_repeats, max_tokens, max_tool_calls, max_turns`}},
		{"unknown block", `modle {}`, []string{`1,1-6: unknown block modle; did you mean model?`}},
		{"unknown backend", `backend "dokcer" {}`, []string{`1,1-17: there is no backend dokcer; did you mean docker?`}},
		{"unknown default", `default_backend = "pdoman"`, []string{`1,19-27: there is no backend pdoman; did you mean podman?`}},
		{"backend without a name", `backend {}`, []string{`1,1-8: the block backend wants one name; write backend "NAME" { … }`}},
		{"backend with two names", `backend "a" "b" {}`, []string{`1,1-16: the block backend wants one name; write backend "NAME" { … }`}},
		{"model with a name", `model "x" {}`, []string{`1,7-10: the block model has no name; write model { … }`}},
		{"block for a key", `default_backend {}`, []string{`1,1-16: default_backend is a key, not a block; write default_backend = …`}},
		{"key for a block", `model = {}`, []string{`1,1-6: model is a block, not a key; write model { … }, without =`}},
		{"block twice", "agent {}\nagent {}", []string{`2,1-6: the block agent stands twice; the first one is in line 1`}},
		{"backend twice", "backend \"local\" {}\n\nbackend \"local\" {}", []string{`3,1-16: the block backend "local" stands twice; the first one is in line 1`}},
		{"key twice", "default_backend = \"local\"\ndefault_backend = \"local\"", []string{`2,1-16: The argument "default_backend" was already set`}},
		{"no syntax", "backend \"local\" {\n  sandbox {", []string{`2,11-12: There is no closing brace for this block`}},
		{"no quotes", sandbox(`network = none`), []string{`3,15-19: a text stands in quotes; env("NAME") reads the environment`}},
		{"null", sandbox(`memory = null`), []string{`3,14-18: memory is null; leave the key out for its default`}},
		{"text for a number", sandbox(`pids = "512"`), []string{`3,12-17: pids is a text, not a number; write it as in pids = 1`}},
		{"number for a text", sandbox(`image = 3.12`), []string{`3,13-17: image is a number, not a text; write it as in image = "python:3.12-slim"`}},
		{"list for a table", sandbox(`env = ["A=b"]`), []string{`3,11-18: env is a list, not a table; write it as in env = { LANG = "C.UTF-8" }`}},
		{"table for a list", sandbox(`accept_degraded = {}`), []string{`3,23-25: accept_degraded is a table, not a list; write it as in accept_degraded = ["memory limit"]`}},
		{"number in a list", sandbox(`accept_degraded = ["a", 1]`), []string{`3,23-31: accept_degraded holds something that is no text, or an empty one`}},
		{"layer unknown", sandbox(`accept_degraded = ["memory limt"]`), []string{`3,23-38: there is no layer of isolation memory limt; did you mean memory limit?`}},
		{"layer of nobody", sandbox(`accept_degraded = ["x-"]`), []string{`3,23-29: there is no layer of isolation x-; there are Landlock, capabilities`}},
		{"size without unit", sandbox(`memory = "512"`), []string{`3,14-19: memory has no unit: "512"; write it as in memory = "1GiB"`}},
		{"size as number", sandbox(`memory = 512`), []string{`3,14-17: memory has no unit; write it as in memory = "1GiB"`}},
		{"size with docker's unit", sandbox(`memory = "1g"`), []string{`3,14-18: memory has a unit that is none: "g"; did you mean GiB?`}},
		{"size in lower case", sandbox(`memory = "512mb"`), []string{`3,14-21: memory has a unit that is none: "mb"; did you mean MB (powers of 1000) or MiB (of 1024)?`}},
		{"size with a strange unit", sandbox(`memory = "3 bananas"`), []string{`3,14-25: memory has a unit that is none: "bananas"; the units are B, KB`}},
		{"size without number", sandbox(`memory = "much"`), []string{`3,14-20: memory is not a size: "much"`}},
		{"size negative", sandbox(`memory = "-1GiB"`), []string{`3,14-21: memory is negative`}},
		{"size zero", sandbox(`memory = "0GiB"`), []string{`3,14-20: memory is zero`}},
		{"size absurd", sandbox(`memory = "1e300GiB"`), []string{`3,14-24: memory is not a whole number of bytes that can be counted`}},
		{"size infinite", sandbox(`memory = "InfGiB"`), []string{`3,14-22: memory is not a size: "InfGiB"`}},
		{"size too small", sandbox(`memory = "1MiB"`), []string{`3,14-20: memory: 1048576 bytes is out of range; at least "16MiB"`}},
		{"duration without unit", sandbox(`timeout = "90"`), []string{`3,15-19: timeout has no unit: "90"; write it as in timeout = "120s", or "none"`}},
		{"duration as number", sandbox(`timeout = 90`), []string{`3,15-17: timeout has no unit; write it as in timeout = "120s"`}},
		{"duration zero", sandbox(`timeout = "0s"`), []string{`3,15-19: timeout is zero`}},
		{"duration negative", sandbox(`lease = "-5s"`), []string{`3,13-18: lease is negative; write it as in lease = "60s"`}},
		{"duration none where it cannot be", sandbox(`lease = "none"`), []string{`3,13-19: lease is not a duration: "none"`}},
		{"lease too short", sandbox(`lease = "1ms"`), []string{`3,13-18: lease: 1ms is too short; at least 1s`}},
		{"pids too few", sandbox(`pids = 3`), []string{`3,12-13: pids: 3 is out of range; from 96`}},
		{"pids a fraction", sandbox(`pids = 99.5`), []string{`3,12-16: pids is not a whole number`}},
		{"cpus zero", sandbox(`cpus = 0`), []string{`3,12-13: cpus is zero; leave the key out for its default`}},
		{"cpus negative", sandbox(`cpus = -1`), []string{`3,12-14: cpus: -1 is out of range`}},
		{"network unknown", sandbox(`network = "host"`), []string{`3,15-21: network: host is no mode; use "none" or "full"`}},
		{"pull unknown", sandbox(`pull = "sometimes"`), []string{`3,12-23: pull: sometimes is no policy`}},
		{"image with a space", sandbox(`image = "python 3"`), []string{`3,13-23: image: it holds a space`}},
		{"image empty", sandbox(`image = ""`), []string{`3,13-15: image is empty`}},
		{"env name", sandbox(`env = { "A=B" = "c" }`), []string{`3,11-26: env: A=B is no name for a variable`}},
		{"env value", sandbox(`env = { A = 1 }`), []string{`3,11-20: env has a value that is no text, at A`}},
		{"work_dir", sandbox(`work_dir = "/proc/x"`), []string{`3,16-25: work_dir: /proc of the sandbox is not to be covered`}},
		{"volume without source", sandbox(`volume "/data" {}`), []string{`3,5-19: volume "/data": the path of this host is missing; name a directory`}},
		{"volume relative inside", sandbox(`volume "data" { source = "/srv" }`), []string{`3,5-18: volume "data": the path in the sandbox is not absolute: data; begin it with /`}},
		{"volume relative source", sandbox(`volume "/data" { source = "srv" }`), []string{`3,31-36: source is not an absolute path; begin it with /`}},
		{"volume of the host's configuration", sandbox(`volume "/data" { source = "/etc" }`), []string{`3,31-37: source: /etc is not shown in a sandbox: it configures this host; use a directory made for it`}},
		{"volume of all", sandbox(`volume "/data" { source = "/srv/.." }`), []string{`3,31-40: source: / is not shown in a sandbox: it is all of this host`}},
		{"volume of the engine's socket", sandbox(`volume "/data" { source = "/run/docker.sock" }`), []string{`3,31-49: source: /run/docker.sock is not shown in a sandbox: it holds this host's sockets`}},
		{"volume over the workspace", sandbox(`volume "/workspace" { source = "/srv" }`), []string{`3,5-24: volume "/workspace": something is mounted there already`}},
		{"volume twice in other words", sandbox("volume \"/data\" { source = \"/srv\" }\n    volume \"/data/\" { source = \"/srv\" }"), []string{`4,5-20: volume "/data/": something is mounted there already`}},
		{"plugin relative", "backend \"x\" {\n  plugin = \"./deep-backend-x\"\n}", []string{
			`1,1-12: there is no backend x; there are docker, local, podman`, `2,12-30: plugin is not an absolute path`}},
		{"sum", "backend \"local\" {\n  sha256 = \"E3B0\"\n}", []string{`2,12-18: sha256 is not a SHA-256; write the 64 lower-case digits`}},
		{"tool unknown", "agent {\n  deny_tools = [\"exec\"]\n}", []string{`2,16-24: there is no tool exec; there are edit_file`}},
		{"turns", "agent {\n  max_turns = 0\n}", []string{`2,15-16: max_turns is not a whole number from 1`}},
		{"astronomic number", "model {\n  name = \"x${1e9999999}\"\n}", []string{`2,14-23: this number is out of range`}},
		{"temperature", "model {\n  temperature = 3\n}", []string{`2,17-18: temperature is not from 0 to 2`}},
		{"address without a known scheme", "model {\n  base_url = \"ftp://h/v1\"\n}", []string{`2,14-26: base_url has the scheme "ftp"; use http:// or https://`}},
		{"address without a scheme", "model {\n  base_url = \"localhost/v1\"\n}", []string{`2,14-28: base_url has the scheme ""; use http:// or https://`}},
		{"address without a host", "model {\n  base_url = \"https:///v1\"\n}", []string{`2,14-27: base_url names no host; write it as in https://`}},
		{"key with a line end", "model {\n  api_key = \"sk-1\\n\"\n}", []string{`2,13-21: the API key has a blank, line end or non-ASCII character at byte 4; copy it again`}},
		{"variable not set", "model {\n  name = env(\"DEEP_TEST_UNSET\")\n}", []string{`2,15-30: the environment variable "DEEP_TEST_UNSET" is not set; set it, or give a default: env("DEEP_TEST_UNSET", "…").`}},
		{"unknown function", "model {\n  name = envv(\"X\")\n}", []string{`2,10-14: There is no function named "envv". Did you mean "env"?`}},
		{"approving from a file", "agent {\n  approve = [\"execute\"]\n}", []string{`2,3-10: unknown key approve`}},
		{"several", "defalt_backend = 1\nbackend \"dokcer\" {\n  sandbox {\n    memroy = \"1GiB\"\n    pids = 1\n  }\n}\n", []string{
			`1,1-15: unknown key defalt_backend`, `2,1-17: there is no backend dokcer`, `4,5-11: unknown key memroy; did you mean memory?`, `5,12-13: pids: 1 is out of range`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := load(t, c.text)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v, want mistakes", err)
			}
			var got []string
			for _, m := range e.Mistakes {
				got = append(got, strings.TrimPrefix(m.String(), m.File+":"))
			}
			ok := len(got) == len(c.want)
			for i := range min(len(got), len(c.want)) {
				ok = ok && strings.HasPrefix(got[i], c.want[i])
			}
			if !ok {
				t.Errorf("mistakes:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
			}
			if !errors.Is(err, backend.ErrInvalid) {
				t.Error("not an ErrInvalid")
			}
		})
	}
}

func TestQuote(t *testing.T) {
	_, err := load(t, "backend \"local\" {\n\tsandbox {\n\t\tmemory = \"1g\" # é\n\t}\n}\nmodel {\n  api_key = sk-secret\n}\n")
	var e *Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	want := "    3 | \t\tmemory = \"1g\" # é\n      | \t\t         ^^^^"
	if e.Mistakes[0].Quote != want {
		t.Errorf("quote:\n%s\nwant:\n%s", e.Mistakes[0].Quote, want)
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("a key is quoted:\n%v", err)
	}
	for _, hostile := range []string{"x = \"\x1b]0;\a\"", "\xff\xfe", "\ufeffx", "x = \"", "x = <<A", "}", "\x00", "x = 1/0", strings.Repeat("a {", 1000), "x = \"a\r", "a\r\nb\r"} {
		_, err := load(t, hostile)
		if err == nil {
			t.Errorf("%q is accepted", hostile)
		} else if strings.ContainsAny(err.Error(), "\x1b\a\x00\r") {
			t.Errorf("%q goes to the terminal as it is: %q", hostile, err.Error())
		}
	}
}

// TestQuoteOfSecrets: the name of a variable is shown, as it is what was mistyped;
// a value never is.
func TestQuoteOfSecrets(t *testing.T) {
	t.Setenv("DEEP_TEST_UNSET", "")
	os.Unsetenv("DEEP_TEST_UNSET")
	for line, shown := range map[string]bool{
		`api_key = env("DEEP_TEST_UNSET")`:        true,
		`api_key= envv("DEEP_TEST_UNSET")`:        false, // whatever that was meant to be
		"api_key\t=\tenv( \"DEEP_TEST_UNSET\" ) ": true,
		`api_key = 1`: false,
		`api_key = "s3cret${env("DEEP_TEST_UNSET")}"`:  false,
		`api_key = "${env("DEEP_TEST_UNSET")}s3cret"`:  false,
		`api_key = env("DEEP_TEST_UNSET") == "s3cret"`: false,
		`api_key = env("DEEP_TEST_UNSET") # s3cret`:    false,
		`api_key = env("s3cret key")`:                  false,
		`api_key = env("X", "s3cret", "")`:             false,
		`api_key = [env("DEEP_TEST_UNSET"), "s3cret"]`: false,
		`base_url = "ftp://h/v1"`:                      true,
		`base_url = "https://me:s3cret@h/v1"`:          false,
		`base_url = "https://me:s3cret@h h/v1"`:        false,
	} {
		_, err := load(t, "model {\n  "+line+"\n}\n")
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if got := strings.Contains(e.Mistakes[0].Quote, line) && strings.Contains(e.Mistakes[0].Quote, "^"); got != shown {
			t.Errorf("%s: shown is %t:\n%v", line, got, err)
		}
		// The name that a variable was looked up by is told in words anyway.
		if m := e.Mistakes[0]; !shown && m.Quote != "" {
			t.Errorf("%s: quoted:\n%s", line, m.Quote)
		}
	}
	_, err := load(t, `model { api_key = env("DEEP_TEST_UNSET") }`)
	if err == nil || !strings.Contains(err.Error(), "\n    1 | model { api_key = env(") {
		t.Errorf("in one line: %v", err)
	}
}

func TestValues(t *testing.T) {
	t.Setenv("DEEP_TEST_SET", "from the environment")
	c, err := load(t, `
default_backend = "podman"
model {
  name            = env("DEEP_TEST_SET")
  base_url        = "http://localhost:1/v1"
  temperature     = 0
  idle_timeout    = "1m30s"
  stream_usage    = false
}
agent {
  instructions = "A\nB"
  max_turns    = 7
  deny_tools   = ["execute", "ls"]
}
backend "podman" {
  env = ["X"]
  sandbox {
    image           = "deep-test/python:1"
    memory          = "1.5GiB"
    cpus            = 0.5
    pids            = 100
    timeout         = "none"
    idle_timeout    = "none"
    max_lifetime    = "24h"
    work_dir        = "/w"
    env             = { A = "${env("DEEP_TEST_SET")}!", B = env("DEEP_TEST_UNSET", "") }
    accept_degraded = ["memory limit", "x-mine"]
    volume "/ro" { source = "/srv/a" }
    volume "/rw" {
      source    = "/srv/b"
      read_only = false
    }
  }
}
backend "mine" {
  plugin = "/opt/mine"
}
`)
	if err != nil {
		t.Fatal(err)
	}
	if m := c.Model; m.Name != "from the environment" || m.Temperature == nil || *m.Temperature != 0 || m.IdleTimeout != 90*time.Second || !m.NoStreamUsage {
		t.Errorf("model %+v", m)
	}
	if a := c.Agent; a.MaxTurns != 7 || a.MaxToolCalls != 0 || !slices.Equal(a.DenyTools, []string{"execute", "ls"}) || a.Instructions != "A\nB" {
		t.Errorf("agent %+v", a)
	}
	b, err := c.Backend("")
	if err != nil {
		t.Fatal(err)
	}
	s := b.Sandbox
	if b.Name != "podman" || s.Memory != 3<<29 || s.CPUs != 0.5 || s.PIDs != 100 || s.Timeout != backend.Unlimited || s.IdleTimeout != 0 || s.MaxLifetime != 24*time.Hour || s.Workspace.Path != "/w" {
		t.Errorf("backend %+v", b)
	}
	if !maps.Equal(s.Env, map[string]string{"A": "from the environment!", "B": ""}) {
		t.Errorf("env %v", s.Env)
	}
	if want := []backend.Mount{{Source: "/srv/a", Target: "/ro", ReadOnly: true}, {Source: "/srv/b", Target: "/rw"}}; !slices.Equal(s.Mounts, want) {
		t.Errorf("mounts %v, want %v", s.Mounts, want)
	}
	if got := c.Backends(); !slices.Equal(got, []string{"docker", "local", "mine", "podman"}) {
		t.Errorf("backends %v", got)
	}
	if o := c.backends["mine"].Launch(); o.Path != "/opt/mine" || o.Name != "mine" {
		t.Errorf("options %+v", o)
	}
	if _, err := c.Backend("pod"); !errors.Is(err, backend.ErrNotFound) || !strings.Contains(err.Error(), "podman") {
		t.Errorf("an unknown backend: %v", err)
	}
}

func TestNoFile(t *testing.T) {
	home(t)
	t.Setenv("OPENAI_API_KEY", "sk-1")
	t.Setenv("OPENAI_BASE_URL", "http://localhost:2/v1")
	if _, err := os.Stat(filepath.Join(systemDir, fileName)); err == nil {
		t.Skip("this machine has a configuration for all its users")
	}
	c, err := Load(Options{Installed: installed, Tools: tools})
	if err != nil {
		t.Fatal(err)
	}
	if c.Path != "" || c.DefaultBackend != "local" || c.Model.APIKey != "sk-1" || c.Model.BaseURL != "http://localhost:2/v1" || c.Model.Name != DefaultModel {
		t.Errorf("config %+v", c)
	}
	if b, err := c.Backend(""); err != nil || b.Name != "local" {
		t.Errorf("backend %+v, %v", b, err)
	}
}

// TestKeyGoesWithAddress: the key of one endpoint is never sent to another.
func TestKeyGoesWithAddress(t *testing.T) {
	for _, c := range []struct{ name, text, flag, url, key string }{
		{"address in the file, no key", `model { base_url = "http://a/v1" }`, "", "http://a/v1", ""},
		{"both in the file", "model {\n base_url = \"http://a/v1\"\n api_key = \"k\"\n}", "", "http://a/v1", "k"},
		{"key in the file", `model { api_key = "k" }`, "", "http://env/v1", "k"},
		{"neither", ``, "", "http://env/v1", "env-key"},
		{"another address asked for", "model {\n base_url = \"http://a/v1\"\n api_key = \"k\"\n}", "http://b/v1", "http://b/v1", "env-key"},
		{"the same address asked for", "model {\n base_url = \"http://a/v1\"\n api_key = \"k\"\n}", "http://a/v1", "http://a/v1", "k"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, filepath.Join(home(t), "config.hcl"), c.text)
			t.Setenv("OPENAI_API_KEY", "env-key")
			t.Setenv("OPENAI_BASE_URL", "http://env/v1")
			got, err := Load(Options{Path: path, Installed: installed})
			if err != nil {
				t.Fatal(err)
			}
			m := got.Model
			if c.flag != "" {
				m = m.At(c.flag)
			}
			if m.BaseURL != c.url || m.APIKey != c.key {
				t.Errorf("%s with %q, want %s with %q", m.BaseURL, m.APIKey, c.url, c.key)
			}
		})
	}
}

// disabled finds what the example shows and does not set.
var disabled = regexp.MustCompile(`(?m)^(\s*)#(\S)`)

// TestExample: config.hcl.example is a configuration, with every key there is and
// no other, and its defaults are the defaults.
func TestExample(t *testing.T) {
	data, err := os.ReadFile("../../config.hcl.example")
	if err != nil {
		t.Fatal(err)
	}
	asItIs, err := load(t, string(data))
	if err != nil {
		t.Fatalf("as it is:\n%v", err)
	}
	def := newConfig(installed)
	if asItIs.DefaultBackend != def.DefaultBackend || asItIs.Model != def.Model {
		t.Errorf("as it is it sets other defaults: %+v %+v", asItIs.DefaultBackend, asItIs.Model)
	}
	settled, err := asItIs.backends["docker"].Sandbox.Settle(everything)
	if err != nil {
		t.Fatal(err)
	}

	whole := disabled.ReplaceAllString(string(data), "$1$2")
	all, err := load(t, whole)
	if err != nil {
		t.Fatalf("with every key:\n%v", err)
	}
	s, err := all.backends["docker"].Sandbox.Settle(everything)
	if err != nil {
		t.Fatal(err)
	}
	if s.Image != settled.Image || s.Memory != settled.Memory || s.PIDs != settled.PIDs || s.CPUs != settled.CPUs || s.Timeout != settled.Timeout ||
		s.Lease != settled.Lease || s.Pull != settled.Pull || s.Network != settled.Network || s.IdleTimeout != settled.IdleTimeout || s.MaxLifetime != settled.MaxLifetime {
		t.Errorf("the defaults it shows are not the defaults:\n%+v\nwant\n%+v", s, settled)
	}
	if all.Agent.MaxTurns != agent.DefaultTurns || all.Agent.MaxToolCalls != agent.DefaultToolCalls || all.Agent.MaxRepeats != agent.DefaultRepeats {
		t.Errorf("the limits it shows are not the defaults: %+v", all.Agent)
	}

	file, diags := hclsyntax.ParseConfig([]byte(whole), "example", hclStart)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	found := map[string]bool{}
	collect(file.Body.(*hclsyntax.Body), "", found)
	for _, key := range root(newConfig(installed), tools).known("") {
		if !found[key] {
			t.Errorf("%s is not explained", key)
		}
	}
	for _, tool := range tools {
		if !strings.Contains(string(data), tool) {
			t.Errorf("the tool %s is not named", tool)
		}
	}
}

func collect(body *hclsyntax.Body, prefix string, found map[string]bool) {
	for name := range body.Attributes {
		found[prefix+name] = true
	}
	for _, b := range body.Blocks {
		found[prefix+b.Type] = true
		collect(b.Body, prefix+b.Type+".", found)
	}
}
