package backend

import (
	"fmt"
	"strconv"
	"strings"
)

// Owner is the process on whose behalf a backend works. A process id alone is
// reused after a reboot and after a wrap; the four together are not.
type Owner struct {
	// HostID tells hosts apart, and the pid namespaces of one host.
	HostID string
	// BootID is another one after each boot.
	BootID string
	PID    int
	// StartTime of the process in clock ticks since boot (/proc/PID/stat, 22).
	StartTime uint64
}

// String joins the four by "/", as a label holds it. The zero Owner is "".
func (o Owner) String() string {
	if o == (Owner{}) {
		return ""
	}
	return fmt.Sprintf("%s/%s/%d/%d", o.HostID, o.BootID, o.PID, o.StartTime)
}

// ParseOwner is the inverse of String. Anything else is the zero Owner: a label
// that cannot be read proves nothing about whose a sandbox is.
func ParseOwner(s string) Owner {
	part := strings.Split(s, "/")
	if len(part) != 4 || part[0] == "" || part[1] == "" {
		return Owner{}
	}
	pid, err := strconv.Atoi(part[2])
	if err != nil || pid <= 0 {
		return Owner{}
	}
	start, err := strconv.ParseUint(part[3], 10, 64)
	if err != nil {
		return Owner{}
	}
	return Owner{HostID: part[0], BootID: part[1], PID: pid, StartTime: start}
}
