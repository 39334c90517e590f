package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
	"github.com/deep-sandbox/deep/plugins/internal/enginetest"
	"github.com/deep-sandbox/deep/test/require"
)

func TestSSHAddress(t *testing.T) {
	for _, host := range []string{
		"ssh://", "ssh://-oProxyCommand=touch", "ssh://user:secret@host", "ssh://@host", "ssh://host/path", "ssh://ho st", "ssh://[::1",
	} {
		_, err := newBackend(Config{Host: host}, pluginsdk.Env{})
		if !errors.Is(err, backend.ErrInvalid) || backend.HintOf(err) == "" {
			t.Errorf("%s: %v", host, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the password is repeated: %v", err)
		}
	}
}

// TestSSH reaches this host's engine through a program in ssh's place, which
// notes how it was called and runs what it was asked to run.
func TestSSH(t *testing.T) {
	require.Engine(t, "docker")
	if _, err := exec.LookPath("docker"); err != nil {
		require.Skip(t, "docker", "no docker command, which an address for ssh needs on the engine's host")
	}
	dir := t.TempDir()
	called := filepath.Join(dir, "called")
	script := "#!/bin/sh\necho \"$*\" > '" + called + "'\nwhile [ \"$1\" != -- ]; do shift; done\nshift 2\nunset DOCKER_HOST DOCKER_CONTEXT\nexec \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, "ssh"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	b, err := newBackend(Config{Host: "ssh://someone@engine.example.com:2222"}, pluginsdk.Env{Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	report, err := b.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(report.Engine, "Docker Engine ") || !strings.Contains(report.Engine, "another host") {
		t.Errorf("engine %q", report.Engine)
	}
	if _, err := b.List(t.Context(), &backend.ListRequest{}); err != nil {
		t.Error(err)
	}
	args, err := os.ReadFile(called)
	if err != nil {
		t.Fatal(err)
	}
	if want := "-o BatchMode=yes -o ConnectTimeout=30 -T -l someone -p 2222 -- engine.example.com docker system dial-stdio\n"; string(args) != want {
		t.Errorf("ssh %s, want %s", args, want)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	enginetest.RunAt(t, engine(), "ssh://someone@engine.example.com")
}
