//go:build !deep_control

package control

// Built says whether defences can be opened at all.
const Built = false

// Opened reports whether a defence is open.
func Opened(string) bool { return false }
