package jail

import (
	"errors"
	"io"
	"strconv"
)

// fdPath names an open file, whatever its own path.
func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
