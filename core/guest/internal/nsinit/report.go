package nsinit

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Report is one line on the report pipe: first that the command started or
// failed to, then how it ended.
type Report struct {
	// Failed is why it did not start, 0 if it did.
	Failed unix.Errno
	// Ended says that Status and Usage hold.
	Ended  bool
	Status unix.WaitStatus
	Usage  unix.Rusage
	// Last says that nothing else is left, and the namespace ends with it.
	Last bool
}

const reportFormat = "%d %t %d %d %d %d %t"

func (r Report) String() string {
	return fmt.Sprintf(reportFormat, uint(r.Failed), r.Ended, uint32(r.Status),
		r.Usage.Utime.Nano(), r.Usage.Stime.Nano(), r.Usage.Maxrss, r.Last)
}

// ParseReport reads one line.
func ParseReport(line string) (Report, error) {
	var (
		r            Report
		failed       uint
		status       uint32
		utime, stime int64
	)
	if _, err := fmt.Sscanf(line, reportFormat, &failed, &r.Ended, &status, &utime, &stime, &r.Usage.Maxrss, &r.Last); err != nil {
		return Report{}, fmt.Errorf("report of a command's namespace %q: %w", line, err)
	}
	r.Failed, r.Status = unix.Errno(failed), unix.WaitStatus(status)
	r.Usage.Utime, r.Usage.Stime = unix.NsecToTimeval(utime), unix.NsecToTimeval(stime)
	return r, nil
}
