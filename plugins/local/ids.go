package main

import (
	"bufio"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"sync"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/plugins/local/internal/jail"
)

// As root each sandbox gets a range of its own above rootBase: above what
// directory services give out by default (FreeIPA up to 2,000,200,000), below
// what systemd keeps for foreign images (2,147,352,576) and 2^31, where programs
// with signed ids fail.
const (
	rootBase   = 2_010_000_000
	rootRanges = 2000
)

// owner of a workspace, on this host.
type owner struct{ uid, gid uint32 }

// identities tells which ids of this host a sandbox may have.
type identities struct {
	once sync.Once
	base jail.IDMap
	// reason why guest and commands share one id, "" if they do not.
	reason string
	err    error
}

// choose returns the ids of a sandbox: whom commands run as is whose the
// workspace is, nil for a new one. The reason is why guest and commands share an
// id, "" if they do not.
func (i *identities) choose(id string, ws *owner) (m jail.IDMap, reason string, err error) {
	i.once.Do(func() { i.base, i.reason, i.err = settleIDs() })
	if i.err != nil {
		return m, "", i.err
	}
	m = i.base
	if m.Mode == jail.MapRoot {
		return rootIDs(id, ws), "", nil
	}
	if ws != nil && ws.uid != m.UID {
		return m, "", &backend.Error{Kind: backend.ErrPermission, Path: "workspace",
			Message: fmt.Sprintf("it belongs to uid %d, and commands run as you, uid %d", ws.uid, m.UID),
			Hint:    "use a directory of your own"}
	}
	return m, i.reason, nil
}

// rootIDs picks a range by the sandbox's id: two sandboxes hardly ever share one,
// and nothing has to be remembered.
func rootIDs(id string, ws *owner) jail.IDMap {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	for n := h.Sum32(); ; n++ {
		base := rootBase + n%rootRanges*jail.RangeSize
		m := jail.IDMap{Mode: jail.MapRoot, UIDBase: base, GIDBase: base, UID: base + jail.UserID, GID: base + jail.UserID}
		if ws == nil {
			return m
		}
		m.UID, m.GID = ws.uid, ws.gid
		if m.GID == 0 {
			m.GID = base + jail.UserID
		}
		if fits(base, m.UID) && fits(base, m.GID) {
			return m
		}
	}
}

// fits reports whether the user's id can be put into a range: it must not be in
// there already, as another's.
func fits(base, id uint32) bool {
	return id < base || id >= base+jail.RangeSize || id == base+jail.UserID
}

// settleIDs finds out what this process may map.
func settleIDs() (m jail.IDMap, reason string, err error) {
	uid, gid := uint32(os.Getuid()), uint32(os.Getgid()) //nolint:gosec // the kernel has them in 32 bits
	if uid == 0 {
		uids, err := mapped("/proc/self/uid_map")
		if err != nil {
			return m, "", err
		}
		gids, err := mapped("/proc/self/gid_map")
		if err != nil {
			return m, "", err
		}
		if uids && gids {
			return jail.IDMap{Mode: jail.MapRoot}, "", nil
		}
	}
	one := jail.IDMap{Mode: jail.MapOne, UID: uid, GID: gid}
	m = jail.IDMap{Mode: jail.MapSub, UID: uid, GID: gid}
	for _, f := range []struct {
		path string
		base *uint32
	}{{"/etc/subuid", &m.UIDBase}, {"/etc/subgid", &m.GIDBase}} {
		if *f.base, err = subordinate(f.path, uid); err != nil {
			return m, "", err
		}
		if *f.base == 0 {
			return one, fmt.Sprintf("you have no %d ids in %s", jail.RangeSize, f.path), nil
		}
	}
	for _, tool := range []string{"newuidmap", "newgidmap"} {
		if !installed(tool) {
			return one, "there is no program " + tool, nil
		}
	}
	if err := jail.Probe(m); err != nil {
		var f *jail.Failure
		if !errors.As(err, &f) || f.Step != jail.StepMap {
			return m, "", asError(err, "") // no map would help
		}
		return one, f.Message, nil
	}
	return m, "", nil
}

func installed(tool string) bool {
	_, err := exec.LookPath(tool)
	return err == nil
}

// mapped reports whether this process' own user namespace has all the ranges that
// root gives out. That of a container may not.
func mapped(file string) (bool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return false, failure(err, file)
	}
	for line := range strings.Lines(string(data)) {
		var inside, outside, count uint64
		if _, err := fmt.Sscan(line, &inside, &outside, &count); err != nil {
			return false, failure(err, file)
		}
		if inside <= rootBase && inside+count >= rootBase+rootRanges*jail.RangeSize {
			return true, nil
		}
	}
	return false, nil
}

// subordinate returns where the first range of enough ids begins that file gives
// to a user, 0 if there is none.
func subordinate(file string, uid uint32) (uint32, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, failure(err, file)
	}
	defer func() { _ = f.Close() }()
	number := strconv.FormatUint(uint64(uid), 10)
	name := number
	if u, err := user.LookupId(number); err == nil {
		name = u.Username
	}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		part := strings.Split(strings.TrimSpace(lines.Text()), ":")
		if len(part) != 3 || part[0] != number && part[0] != name {
			continue
		}
		base, err1 := strconv.ParseUint(part[1], 10, 32)
		count, err2 := strconv.ParseUint(part[2], 10, 32)
		if err1 == nil && err2 == nil && count >= jail.RangeSize {
			return uint32(base), nil
		}
	}
	return 0, failure(lines.Err(), file)
}
