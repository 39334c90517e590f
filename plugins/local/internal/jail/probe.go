package jail

import (
	"errors"
	"runtime"
)

// Probe tries, with ids, what it takes to make a sandbox and may be forbidden
// here. What it makes is gone when it returns. The error is a *Failure where a
// step failed.
func Probe(ids IDMap) error {
	runtime.LockOSThread() // it dies with the thread that started it
	defer runtime.UnlockOSThread()
	cmd, f, err := launchFirst(false, nil)
	if err != nil {
		return err
	}
	err = func() error {
		defer f.close()
		if err := ids.apply(cmd.Process.Pid); err != nil {
			return failed(StepMap, err)
		}
		if err := sendPlan(f.plan, &Plan{IDs: ids, Probe: true}); err != nil {
			return errors.Join(f.hear(), err)
		}
		return f.hear()
	}()
	if err != nil {
		_ = cmd.Process.Kill()
	}
	if waitErr := cmd.Wait(); err == nil && waitErr != nil {
		err = errors.Join(errors.New("a process in new namespaces failed"), waitErr)
	}
	return err
}
