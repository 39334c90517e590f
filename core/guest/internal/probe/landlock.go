package probe

import (
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// maxDomains bounds how many are tried. The kernel's limit is 16, one in another.
const maxDomains = 64

// Domains puts this thread into as many Landlock domains, one in another, as it
// can, and returns how many those were: within a domain it is one less than
// outside. That is how one can be told from none whatever its rules are, which may
// well not be felt where the mounts are as strict. The thread is not to be used for
// anything else.
//
// The version is the kernel's, 0 if it has none.
func Domains() (version, n int) {
	version, err := ll.LandlockGetABIVersion()
	if err != nil {
		return 0, 0
	}
	ruleset, err := ll.LandlockCreateRuleset(&ll.RulesetAttr{HandledAccessFS: ll.AccessFSMakeSym}, 0)
	if err != nil {
		return version, 0
	}
	defer func() { _ = unix.Close(ruleset) }()
	for n < maxDomains && ll.LandlockRestrictSelf(ruleset, 0) == nil {
		n++
	}
	return version, n
}
