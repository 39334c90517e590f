package confine

import (
	"fmt"

	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// Rights on files by the version of Landlock that has them; see landlock(7).
const (
	reading = ll.AccessFSExecute | ll.AccessFSReadFile | ll.AccessFSReadDir
	rights1 = ll.AccessFSMakeSym<<1 - 1
	rights2 = rights1 | ll.AccessFSRefer
	rights3 = rights2 | ll.AccessFSTruncate
	rights5 = rights3 | ll.AccessFSIoctlDev

	scopesSince = 6
)

// handled returns all rights and scopes that a version knows. Those a later one
// brings are not asked for: what they forbid is not known here.
func handled(version int) ll.RulesetAttr {
	attr := ll.RulesetAttr{}
	switch {
	case version >= 5:
		attr.HandledAccessFS = rights5
	case version >= 3:
		attr.HandledAccessFS = rights3
	case version == 2:
		attr.HandledAccessFS = rights2
	default:
		attr.HandledAccessFS = rights1
	}
	if version >= scopesSince {
		attr.Scoped = ll.ScopeAbstractUnixSocket | ll.ScopeSignal
	}
	return attr
}

// landlock puts this thread into a new domain. Files may be read anywhere and
// changed beneath writable; processes outside of the domain can be neither traced
// nor, from version 6 on, signalled.
//
// go-landlock's own interface would put all threads of the guest into it.
func landlock(writable []string) error {
	version, err := ll.LandlockGetABIVersion()
	if err != nil {
		return err
	}
	attr := handled(version)
	ruleset, err := ll.LandlockCreateRuleset(&attr, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(ruleset) }()
	if err := beneath(ruleset, "/", reading); err != nil {
		return err
	}
	for _, path := range writable {
		if err := beneath(ruleset, path, attr.HandledAccessFS); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return ll.LandlockRestrictSelf(ruleset, 0)
}

// beneath allows rights for what is below a directory, or for a file.
func beneath(ruleset int, path string, rights uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		// A file has no entries, and the kernel refuses rights for them.
		rights &= ll.AccessFSExecute | ll.AccessFSWriteFile | ll.AccessFSReadFile | ll.AccessFSTruncate | ll.AccessFSIoctlDev
	}
	return ll.LandlockAddPathBeneathRule(ruleset, &ll.PathBeneathAttr{AllowedAccess: rights, ParentFd: fd}, 0)
}
