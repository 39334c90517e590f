// Command adversarial attacks sandboxes: the same table of attacks on every
// backend, on real engines, from built programs. What an attack got is seen on
// this host, not by exit codes.
//
// Each attack is tried with deep as it is, where it must get nothing, and with the
// defence open that stops it, where it must succeed: or the case is vacuous, and
// fails. Nothing may be left after any of them.
//
// A backend that cannot be had is a failure, or, where DEEP_TEST_REQUIRE is set
// and does not name it, left out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/deep-sandbox/deep/test/require"
)

// backends in the order of the table.
var backends = []string{"docker", "podman", "local"}

// deepItself is the target of attacks that need no sandbox.
const deepItself = "deep"

// secretVariable is in the environment of this process and of every plugin, and
// must be nowhere else.
const secretVariable = "ADVERSARIAL_SECRET"

func main() {
	bin := flag.String("bin", "bin", "`directory` that make build filled")
	only := flag.String("backends", strings.Join(backends, ","), "which, separated by `commas`")
	pattern := flag.String("attack", "*", "try the attacks whose names, or that of their family, match this `glob`")
	long := flag.Bool("long", false, "take the time that races need")
	docs := flag.String("docs", "", "write the table into this `file` and attack nothing")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := true, error(nil)
	if *docs != "" {
		err = writeDocs(*docs)
	} else {
		ok, err = adversarial(ctx, *bin, strings.Split(*only, ","), *pattern, *long)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "adversarial:", err)
	}
	if !ok || err != nil {
		stop()
		os.Exit(1)
	}
}

// adversarial reports whether every attack was held off, and would not have been
// without its defence.
func adversarial(ctx context.Context, bin string, names []string, pattern string, long bool) (bool, error) {
	if os.Geteuid() != 0 {
		return false, errors.New("run it as root: it looks at the processes of every sandbox, and at what others own")
	}
	bin, err := filepath.Abs(bin)
	if err != nil {
		return false, err
	}
	dir, err := os.MkdirTemp("", "deep-adversarial-")
	if err != nil {
		return false, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	// Those in sandboxes go through it.
	if err := os.Chmod(dir, 0o755); err != nil {
		return false, err
	}
	if err := os.Setenv(secretVariable, secret); err != nil {
		return false, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == deepItself })
	opened := filepath.Join(dir, "opened")
	if err := buildOpened(ctx, opened, names); err != nil {
		return false, err
	}
	attacker, err := buildAttacker(ctx, dir)
	if err != nil {
		return false, err
	}

	started := time.Now()
	chosen := choose(attacks(), pattern, long)
	r := &results{attacks: chosen, cells: map[cell]result{}}
	var wg sync.WaitGroup
	for _, name := range append(names, deepItself) {
		if err := require.Missing(ctx, name); name != deepItself && err != nil {
			if os.Getenv("DEEP_TEST_REQUIRE") != "" && !require.Required(name) {
				continue
			}
			return false, fmt.Errorf("%s: %w", name, err)
		}
		own := filepath.Join(dir, name)
		if err := os.Mkdir(own, 0o755); err != nil {
			return false, err
		}
		t, err := newTarget(name, bin, opened, own, attacker)
		if err != nil {
			return false, err
		}
		r.targets = append(r.targets, name)
		wg.Go(func() { t.attackAll(ctx, chosen, r, long) })
	}
	wg.Wait()
	if ctx.Err() != nil {
		return false, errors.New("interrupted")
	}
	ok, text := r.table()
	fmt.Print(text)
	fmt.Printf("in %s\n", time.Since(started).Round(100*time.Millisecond))
	return ok, nil
}

func choose(all []attack, pattern string, long bool) []attack {
	var chosen []attack
	for _, a := range all {
		name, _ := path.Match(pattern, a.name)
		family, _ := path.Match(pattern, a.family)
		if (name || family) && (long || !a.long) {
			chosen = append(chosen, a)
		}
	}
	return chosen
}
