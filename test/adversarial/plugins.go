package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/deep-sandbox/deep/core/host"
)

func pluginAttacks() []attack {
	endures := uncontrolled("it is a matter of endurance: there is nothing to open")
	list := []attack{
		{name: "plugin-checksum", what: "another program in the place of a plugin", defence: "the sum that was recorded", control: controlArm{inside: "no sum"},
			run: func(t *trial) { t.launchPlanted(t.planted(""), false) }},
		{name: "plugin-swap", what: "exchanges a plugin for another program while it is checked and started", defence: "what was summed is what is executed, by its descriptor",
			control: controlArm{inside: "no sum"}, run: (*trial).pluginSwap},
		{name: "plugin-writable", what: "a plugin that everybody may write to", defence: "it is refused", control: controlArm{inside: "a mode that is not"},
			run: (*trial).pluginWritable},
		{name: "plugin-environment", what: "a plugin that looks at its environment", defence: "a list of harmless variables", control: controlArm{inside: "its name in env"},
			run: (*trial).pluginEnvironment},
		{name: "plugin-stderr", what: "a plugin that floods its standard error", defence: "lines of a bounded length, the last ones kept", control: endures,
			run: func(t *trial) { t.badPlugin("head -c 100000000 /dev/zero >&2; exit 1") }},
		{name: "plugin-line", what: "a plugin that prints a line without an end", defence: "a bound on what is read", control: endures,
			run: func(t *trial) { t.badPlugin("exec cat /dev/zero") }},
		{name: "plugin-survivor", what: "a plugin that leaves a child, and ignores signals", defence: "its process group is killed", control: endures,
			run: func(t *trial) { t.badPlugin("trap '' TERM INT HUP; sleep 300 & echo garbage; sleep 300") }},
	}
	for i, line := range []string{
		"", "nonsense", "1|1|tcp", "1|1|tcp|127.0.0.1:1|netrpc", "1|9|unix|/nonexistent|grpc", "9|1|unix|/nonexistent|grpc", "1|1|unix|/etc/passwd|grpc",
		"1|1|unix|/nonexistent|grpc|AAAA", "1|1|unix|/nonexistent|grpc|" + "####", "a|b|c|d|e", "1|1|udp|1.2.3.4:1|grpc", `1|1|unix|/\x1b[2J|grpc`,
	} {
		list = append(list, attack{name: fmt.Sprintf("plugin-handshake-%d", i+1), what: fmt.Sprintf("a plugin that greets with `%s`", mdCode(line)), defence: "the start fails, and says why",
			control: endures, run: func(t *trial) { t.badPlugin(fmt.Sprintf("printf '%%s\\n' '%s'; sleep 300", line)) }})
	}
	for i := range list {
		list[i].host = true
	}
	return list
}

// mdCode keeps a line within a cell of a table.
func mdCode(line string) string {
	return string(bytes.ReplaceAll([]byte(line), []byte("|"), []byte(`\|`)))
}

const planted = "deep-backend-planted"

// planted puts a script in the place of a plugin, and returns its path. It leaves a
// mark when it is run.
func (t *trial) planted(more string) string {
	path := filepath.Join(t.dir(), planted)
	t.script(path, "touch "+path+".ran; "+more)
	return path
}

func (t *trial) script(path, text string) {
	t.must(os.WriteFile(path, []byte("#!/bin/sh\n# "+t.tag+"\n"+text+"\n"), 0o755))
}

func (t *trial) options(path string) host.Options {
	return host.Options{Name: "planted", Path: path, GuestDir: t.target.dir, StateDir: filepath.Join(t.target.dir, "planted-state"), StartTimeout: 3 * time.Second}
}

// launchPlanted starts a plugin, and notes whether what was planted ran.
func (t *trial) launchPlanted(path string, quiet bool) {
	o := t.options(path)
	if !t.open {
		sum := sha256.Sum256([]byte("another program"))
		o.SHA256 = hex.EncodeToString(sum[:])
	}
	_ = t.launch(o) // it says so of itself
	if _, err := os.Stat(path + ".ran"); err == nil && !quiet {
		t.gets("the planted program ran")
	}
}

// launch starts a plugin that is none, which must fail, and in time.
func (t *trial) launch(o host.Options) error {
	begin := time.Now()
	p, err := host.Launch(t.ctx, o)
	if err == nil {
		_ = p.Close(t.ctx)
		t.gets("a plugin of it")
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.gets("%v of waiting", took)
	}
	return err
}

func (t *trial) pluginSwap() {
	bad := t.planted("")
	good := bad + ".good"
	t.script(good, "exit 0")
	program, err := os.ReadFile(good)
	t.must(err)
	o := t.options(bad)
	if !t.open {
		sum := sha256.Sum256(program)
		o.SHA256 = hex.EncodeToString(sum[:])
	}
	stop := t.exchange(bad, good)
	defer stop()
	for end := time.Now().Add(t.raceTime()); time.Now().Before(end) && !t.gotten(); {
		if p, err := host.Launch(t.ctx, o); err == nil {
			_ = p.Close(t.ctx)
		}
		if _, err := os.Stat(bad + ".ran"); err == nil {
			t.gets("the planted program ran")
		}
	}
}

func (t *trial) pluginWritable() {
	path := t.planted("")
	if !t.open {
		t.must(os.Chmod(path, 0o777))
	}
	_ = t.launch(t.options(path))
	if _, err := os.Stat(path + ".ran"); err == nil {
		t.gets("it ran")
	}
}

func (t *trial) pluginEnvironment() {
	path := t.planted("")
	t.script(path, "env > "+path+".env")
	o := t.options(path)
	if t.open {
		o.Env = []string{secretVariable}
	}
	_ = t.launch(o)
	env, err := os.ReadFile(path + ".env")
	t.must(err)
	if bytes.Contains(env, []byte(secret)) {
		t.gets("a secret of deep's environment")
	}
}

// badPlugin starts a program that is no plugin: the start must fail, deep must not
// swell, and nothing of it may be left.
func (t *trial) badPlugin(script string) {
	path := t.planted(script)
	// The tag as an argument of something that stays as long as it does.
	t.script(path, "TAG="+t.tag+"; export TAG; "+script)
	before := resident(os.Getpid())
	err := t.launch(t.options(path))
	if err == nil || bytes.ContainsAny([]byte(err.Error()), "\x1b\x07") {
		t.gets("an error that says %q", err)
	}
	// Others are at work in this process.
	if grown := resident(os.Getpid()) - before; grown > 4*swell {
		t.gets("deep has grown by %d MiB", grown>>20)
	}
}
