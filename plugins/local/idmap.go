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

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// Ids inside every sandbox.
const (
	// sandboxID is whom commands run as.
	sandboxID = backend.DefaultUID
	// rangeSize is how many ids a sandbox has, where it has more than one. The
	// guest tells commands apart by group ids of the upper half.
	rangeSize = 65536
)

// As root each sandbox gets a range of its own above rootBase, where no
// distribution gives out ids, below 2^31, where programs with signed ids fail.
const (
	rootBase   = 2_000_000_000
	rootRanges = 2000
)

// idMap says which ids of this host those of a sandbox are.
type idMap struct {
	Mode mapMode `json:"mode"`
	// Base of the range on this host; not with mapOne.
	UIDBase uint32 `json:"uid_base,omitempty"`
	GIDBase uint32 `json:"gid_base,omitempty"`
	// UID and GID on this host of the sandbox user.
	UID uint32 `json:"uid"`
	GID uint32 `json:"gid"`
}

type mapMode string

const (
	// mapRoot: root may map whatever it wants.
	mapRoot mapMode = "root"
	// mapSub: a user with subordinate ids, through newuidmap and newgidmap.
	mapSub mapMode = "subordinate"
	// mapOne: a user maps itself, and guest and commands share one id.
	mapOne mapMode = "one"
)

// oneDegraded is said of each result where there is one id.
const oneDegraded = "user split: guest and commands share one uid; entries for you in /etc/subuid and /etc/subgid, and newuidmap, would part them"

// newIDMap chooses the ids of sandbox id. owner is whose the workspace is, nil
// for a private one.
func newIDMap(id string, owner *unix.Stat_t) (idMap, error) {
	uid, gid := uint32(os.Getuid()), uint32(os.Getgid())
	if uid == 0 {
		h := fnv.New32a()
		_, _ = h.Write([]byte(id))
		base := rootBase + h.Sum32()%rootRanges*rangeSize
		m := idMap{Mode: mapRoot, UIDBase: base, GIDBase: base, UID: base + sandboxID, GID: base + sandboxID}
		if owner != nil {
			m.UID, m.GID = owner.Uid, owner.Gid
			if m.GID == 0 {
				m.GID = m.GIDBase + sandboxID
			}
		}
		return m, nil
	}
	if owner != nil && owner.Uid != uid {
		return idMap{}, &backend.Error{Kind: backend.ErrPermission, Path: "workspace", Message: fmt.Sprintf("it belongs to uid %d, not to you", owner.Uid),
			Hint: "use a directory of your own"}
	}
	m := idMap{Mode: mapOne, UID: uid, GID: gid}
	uidBase, uidErr := subordinate("/etc/subuid", uid)
	gidBase, gidErr := subordinate("/etc/subgid", uid)
	_, uidTool := exec.LookPath("newuidmap")
	_, gidTool := exec.LookPath("newgidmap")
	if err := errors.Join(uidErr, gidErr); err != nil {
		return idMap{}, err
	}
	if uidBase != 0 && gidBase != 0 && uidTool == nil && gidTool == nil {
		m.Mode, m.UIDBase, m.GIDBase = mapSub, uidBase, gidBase
	}
	return m, nil
}

// subordinate returns the first range of at least rangeSize that file gives to a
// user, 0 if there is none.
func subordinate(file string, uid uint32) (uint32, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, failure(err, file)
	}
	defer f.Close()
	names := []string{strconv.Itoa(int(uid))}
	if u, err := user.LookupId(names[0]); err == nil {
		names = append(names, u.Username)
	}
	for s := bufio.NewScanner(f); s.Scan(); {
		part := strings.Split(strings.TrimSpace(s.Text()), ":")
		if len(part) != 3 || part[0] != names[0] && (len(names) < 2 || part[0] != names[1]) {
			continue
		}
		base, err1 := strconv.ParseUint(part[1], 10, 32)
		count, err2 := strconv.ParseUint(part[2], 10, 32)
		if err1 == nil && err2 == nil && count >= rangeSize {
			return uint32(base), nil
		}
	}
	return 0, nil
}

// lines of a map: the sandbox user's own id among those of the range.
func mapLines(base, own uint32) [][3]uint32 {
	return [][3]uint32{
		{0, base, sandboxID},
		{sandboxID, own, 1},
		{sandboxID + 1, base + sandboxID + 1, rangeSize - sandboxID - 1},
	}
}

// apply gives process pid, in a user namespace without a map, this one.
func (m idMap) apply(pid int) error {
	if m.Mode == mapOne {
		one := func(id uint32) string { return fmt.Sprintf("%d %d 1\n", sandboxID, id) }
		return errors.Join(
			writeFile(pid, "setgroups", "deny"), writeFile(pid, "uid_map", one(m.UID)), writeFile(pid, "gid_map", one(m.GID)))
	}
	uids, gids := mapLines(m.UIDBase, m.UID), mapLines(m.GIDBase, m.GID)
	if m.Mode == mapRoot {
		text := func(lines [][3]uint32) string {
			var b strings.Builder
			for _, l := range lines {
				fmt.Fprintf(&b, "%d %d %d\n", l[0], l[1], l[2])
			}
			return b.String()
		}
		return errors.Join(writeFile(pid, "uid_map", text(uids)), writeFile(pid, "gid_map", text(gids)))
	}
	for tool, lines := range map[string][][3]uint32{"newuidmap": uids, "newgidmap": gids} {
		args := []string{strconv.Itoa(pid)}
		for _, l := range lines {
			for _, n := range l {
				args = append(args, strconv.FormatUint(uint64(n), 10))
			}
		}
		if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", tool, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// writeFile writes a file of /proc/PID in one write, as the kernel wants it.
func writeFile(pid int, name, text string) error {
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/%s", pid, name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
