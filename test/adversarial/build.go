package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

const tags = "remote,containers_image_openpgp,exclude_graphdriver_btrfs"

// buildOpened builds the plugins and the guest once more into dir, as programs
// whose defences can be opened.
func buildOpened(ctx context.Context, dir string, backends []string) error {
	for _, name := range backends {
		if err := build(ctx, filepath.Join(dir, "plugins", "deep-backend-"+name), tags+",deep_control", "./plugins/"+name); err != nil {
			return err
		}
	}
	return build(ctx, filepath.Join(dir, "guest", "deep-guest-linux-"+runtime.GOARCH), tags+",deep_control", "./cmd/deep-guest")
}

// buildAttacker builds the program that attacks from inside, and returns it.
func buildAttacker(ctx context.Context, dir string) ([]byte, error) {
	path := filepath.Join(dir, "attacker")
	if err := build(ctx, path, tags, "./test/adversarial/attacker"); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

func build(ctx context.Context, path, tags, pkg string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-tags", tags, "-ldflags", "-s -w", "-o", path, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return nil
}
