package e2e

import (
	"strings"
	"testing"
	"time"
)

// storm forks as fast as it can, each of them in a session of its own, and takes
// no SIGTERM.
const storm = `
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    try:
        if os.fork() == 0:
            os.setsid()
    except OSError:
        pass
`

// TestForkStorm: hundreds of processes that fork in a loop are ended as others
// are. Killed one by one they would be made anew as fast: that took half a minute,
// and left some.
func TestForkStorm(t *testing.T) {
	on(t, func(t *testing.T, name string) {
		u := newUser(t)
		args := append([]string{"exec", "--backend", name, "--timeout", "1s", "--env", "TAG=" + u.tag}, image(name)...)
		begin := time.Now()
		_, stderr, code := u.deep(append(args, "--", "python3", "-c", storm)...)
		if code != 124 || !strings.Contains(stderr, "timed out after 1s") {
			t.Errorf("exit code %d, %s", code, stderr)
		}
		if took := time.Since(begin); took > time.Minute {
			t.Errorf("it took %v", took)
		}
		if left := u.tagged(); len(left) > 0 {
			t.Errorf("%d are left, as %s", len(left), left[0])
		}
	})
}
