package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const stageRemove = "remove"

// removeTree removes a directory that sandboxed code has written, in which
// nothing runs any more. Links in it are removed, never followed. Who is not root
// may not remove what subordinate ids own, nor empty a directory without write
// permission: a stage in a user namespace with the sandbox's ids may.
func removeTree(dir string, ids idMap) error {
	if ids.Mode == mapRoot {
		return os.RemoveAll(dir)
	}
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	in, out, err := os.Pipe()
	if err != nil {
		return err
	}
	defer in.Close()
	var stderr bytes.Buffer
	cmd := exec.Command("/proc/self/exe", stageRemove)
	cmd.Stdin, cmd.Stderr = in, &stderr
	cmd.Env = []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		AmbientCaps: []uintptr{unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH, unix.CAP_FOWNER},
	}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, out.Close())
	}
	err = ids.apply(cmd.Process.Pid)
	if err == nil {
		_, err = io.WriteString(out, dir)
	}
	err = errors.Join(err, out.Close())
	if waitErr := cmd.Wait(); waitErr != nil {
		err = errors.Join(err, fmt.Errorf("remove %s: %w: %s", dir, waitErr, strings.TrimSpace(stderr.String())))
	}
	return err
}

// removeStage is the stage: it waits for the path, which comes after the ids.
func removeStage() int {
	dir, err := io.ReadAll(os.Stdin)
	if err == nil && len(dir) > 0 {
		err = os.RemoveAll(string(dir))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
