// Package jail is what backend local runs outside of the plugin's own process.
// The plugin's program is executed anew under other names:
//
//   - [keeper], a process of its own session for each sandbox. It makes the
//     sandbox, waits for its end and cleans up after it, whatever became of deep
//     and the plugin.
//   - [first], the first process in the namespaces of a sandbox. It sets them up
//     and then becomes the guest.
//
// A program that imports the package becomes these before its own packages are
// initialised, and the package needs little itself: so a stage starts in a
// fraction of the time a plugin takes, and the keeper, which stays, is small.
//
// What is known of a sandbox is in its directory, see [Record]. Who lives holds
// the lock there: the process that makes it, then its keeper.
package jail

import (
	"os"
	"os/exec"
	"syscall"

	"github.com/deep-sandbox/deep/core/control"
)

// Names of the stages, as argv[0].
const (
	keeperName = "deep-backend-local-keeper"
	firstName  = "deep-backend-local-first"
)

// Stages exit at once: nothing of the program they are in has begun.
func init() {
	if len(os.Args) == 0 {
		return
	}
	switch os.Args[0] {
	case keeperName:
		syscall.Exit(keep())
	case firstName:
		syscall.Exit(becomeFirst())
	}
}

// stage returns a command that runs this program, by its own descriptor in the
// kernel, whatever its path names by now.
func stage(name string, attr *syscall.SysProcAttr) *exec.Cmd {
	env := append([]string{"GOTRACEBACK=single"}, control.Environ()...)
	return &exec.Cmd{Path: "/proc/self/exe", Args: []string{name}, Dir: "/", Env: env, SysProcAttr: attr}
}
