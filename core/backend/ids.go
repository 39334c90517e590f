package backend

import (
	"crypto/rand"
	"strings"
)

// maxID keeps every name derived from an id within what engines, file systems
// and cgroups accept.
const maxID = 64

// NewID returns a fresh id for a sandbox, an exec or a run: 26 lower-case
// letters and digits, about 130 random bits.
func NewID() string { return strings.ToLower(rand.Text()) }

// ValidID reports whether id may name a sandbox, an exec or a workspace: one to
// 64 characters of a-z, A-Z, 0-9, '.', '_' and '-', the first a letter or digit.
func ValidID(id string) bool {
	if id == "" || len(id) > maxID {
		return false
	}
	for i := range len(id) {
		c := id[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == '-'):
		default:
			return false
		}
	}
	return true
}
