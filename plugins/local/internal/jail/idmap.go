package jail

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

const (
	// UserID is whom commands run as, inside.
	UserID = 1000
	// RangeSize is how many ids a sandbox has, where it has more than one. The
	// guest tells commands apart by group ids of the upper half.
	RangeSize = 65536
)

// IDMap says which ids of this host those of a sandbox are.
type IDMap struct {
	Mode MapMode `json:"mode"`
	// UIDBase and GIDBase are where the range begins on this host; not with MapOne.
	UIDBase uint32 `json:"uid_base,omitempty"`
	GIDBase uint32 `json:"gid_base,omitempty"`
	// UID and GID on this host of the user commands run as.
	UID uint32 `json:"uid"`
	GID uint32 `json:"gid"`
}

// MapMode says who may map what.
type MapMode string

const (
	// MapRoot: root maps whatever it wants.
	MapRoot MapMode = "root"
	// MapSub: a user with subordinate ids, through newuidmap and newgidmap.
	MapSub MapMode = "subordinate"
	// MapOne: a user maps itself, and guest and commands share that id.
	MapOne MapMode = "one"
)

// extent is a line of a map.
type extent struct{ inside, outside, count uint32 }

// extents of a range in which the user's id is another's.
func extents(base, own uint32) []extent {
	return []extent{
		{0, base, UserID},
		{UserID, own, 1},
		{UserID + 1, base + UserID + 1, RangeSize - UserID - 1},
	}
}

// apply gives process pid, in a user namespace without a map, this one.
func (m IDMap) apply(pid int) error {
	switch m.Mode {
	case MapRoot:
		return errors.Join(
			writeMap(pid, "uid_map", extents(m.UIDBase, m.UID)),
			writeMap(pid, "gid_map", extents(m.GIDBase, m.GID)))
	case MapSub:
		return errors.Join(
			runMapper("newuidmap", pid, extents(m.UIDBase, m.UID)),
			runMapper("newgidmap", pid, extents(m.GIDBase, m.GID)))
	}
	// Without the right to drop groups, which may be there to deny something.
	return errors.Join(
		writeProc(pid, "setgroups", "deny"),
		writeMap(pid, "uid_map", []extent{{UserID, m.UID, 1}}),
		writeMap(pid, "gid_map", []extent{{UserID, m.GID, 1}}))
}

func writeMap(pid int, file string, lines []extent) error {
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "%d %d %d\n", l.inside, l.outside, l.count)
	}
	return writeProc(pid, file, b.String())
}

// writeProc writes a file of /proc/PID at once, as the kernel wants it.
func writeProc(pid int, name, text string) error {
	f, err := os.OpenFile("/proc/"+strconv.Itoa(pid)+"/"+name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func runMapper(tool string, pid int, lines []extent) error {
	args := []string{strconv.Itoa(pid)}
	for _, l := range lines {
		for _, n := range []uint32{l.inside, l.outside, l.count} {
			args = append(args, strconv.FormatUint(uint64(n), 10))
		}
	}
	if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", tool, err, strings.TrimSpace(string(out)))
	}
	return nil
}
