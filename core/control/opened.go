//go:build deep_control

package control

import (
	"os"
	"slices"
	"strings"
)

// Built says whether defences can be opened at all.
const Built = true

// Environ is what a program that is started needs in its environment to open the
// same defences.
func Environ() []string { return []string{Env + "=" + os.Getenv(Env)} }

// Opened reports whether a defence is open.
func Opened(defence string) bool {
	return slices.Contains(strings.Split(os.Getenv(Env), ","), defence)
}
