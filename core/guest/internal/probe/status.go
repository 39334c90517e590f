package probe

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Status is what the kernel says of a process.
type Status struct {
	// UID and GID, real, effective, saved and of file access.
	UID, GID [4]uint32
	// Capabilities in the inheritable, permitted, effective or ambient set, a bit
	// each; Bounding is the bounding set.
	Capabilities, Bounding uint64
	NoNewPrivs             bool
	// Seccomp is the mode, 2 for filters.
	Seccomp int
}

func readStatus(file string) (Status, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return Status{}, err
	}
	return parseStatus(string(b))
}

func parseStatus(text string) (s Status, err error) {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			fields[name] = strings.TrimSpace(value)
		}
	}
	for _, ids := range []struct {
		name string
		to   *[4]uint32
	}{{"Uid", &s.UID}, {"Gid", &s.GID}} {
		if n, err := fmt.Sscan(fields[ids.name], &ids.to[0], &ids.to[1], &ids.to[2], &ids.to[3]); n != 4 {
			return s, fmt.Errorf("%s in the status of a process: %w", ids.name, err)
		}
	}
	for _, name := range []string{"CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd"} {
		set, err := strconv.ParseUint(fields[name], 16, 64)
		switch {
		case err != nil:
			return s, fmt.Errorf("%s in the status of a process: %w", name, err)
		case name == "CapBnd":
			s.Bounding = set
		default:
			s.Capabilities |= set
		}
	}
	// A kernel, or what plays one, may leave these out: then there is none.
	s.NoNewPrivs = fields["NoNewPrivs"] == "1"
	s.Seccomp, _ = strconv.Atoi(fields["Seccomp"])
	return s, nil
}
