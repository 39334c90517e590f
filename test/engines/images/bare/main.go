// Command bare is all there is in the image deep-test/bare: a static program for
// tests of what a sandbox can do without a shell.
//
//	bare args ARG…   writes each argument and a NUL
//	bare env         writes each variable and a NUL
//	bare copy        copies its input to its output
//	bare exit CODE   ends with that code
//	bare deaf        starts one more in a session of its own, says "up", and stays,
//	                 both whatever signal they are sent
package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bare:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("say what to do")
	}
	switch args[0] {
	case "args":
		return list(args[1:])
	case "env":
		return list(os.Environ())
	case "copy":
		_, err := io.Copy(os.Stdout, os.Stdin)
		return err
	case "exit":
		if len(args) != 2 {
			return fmt.Errorf("exit needs a code")
		}
		code, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		os.Exit(code)
	case "deaf":
		return deaf()
	case "deaf-child":
		signal.Ignore()
		fmt.Println("up")
		stay()
	}
	return fmt.Errorf("%q is nothing it can do", args[0])
}

func list(all []string) error {
	for _, s := range all {
		if _, err := os.Stdout.WriteString(s + "\x00"); err != nil {
			return err
		}
	}
	return nil
}

// deaf ignores signals before its child can say that it is up.
func deaf() error {
	signal.Ignore()
	child := exec.Command("/proc/self/exe", "deaf-child")
	child.Stdout = os.Stdout
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		return err
	}
	stay()
	return nil
}

// stay does not return. An empty select would: the runtime calls it a deadlock.
func stay() {
	for {
		time.Sleep(time.Hour)
	}
}
