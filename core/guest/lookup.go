package guest

import (
	"strings"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// checkDir checks, with the user's rights, that a command may run in dir. asked
// is the directory in the caller's words.
func checkDir(dir, asked string) error {
	var st unix.Stat_t
	// The dot makes the kernel search the directory, as chdir will.
	err := statAt(unix.AT_FDCWD, dir+"/.", 0, &st)
	if err == nil {
		return nil
	}
	e := failed("", asked, err).(*backend.Error)
	switch e.Kind {
	case backend.ErrNotFound:
		e.Message, e.Hint = "no such directory to run in", "make it first, or run in the workspace"
	case backend.ErrNotDirectory:
		e.Message, e.Hint = "not a directory to run in", "name the directory it is in, or run in the workspace"
	case backend.ErrPermission:
		e.Message = "the sandbox's user may not enter the directory to run in"
	}
	return e
}

// checkShell checks that there is a shell for a Shell request.
func checkShell() error {
	err := executable(shell)
	if err == nil {
		return nil
	}
	return &backend.Error{Kind: backend.ErrNotFound, Path: shell,
		Message: "no shell in the sandbox: " + errnoText(err.(unix.Errno)),
		Hint:    "give the program and its arguments as argv instead"}
}

// findProgram returns what to execute for name, as execvp(3) finds it: by the
// directories of path unless name holds a slash. Its error is an errno.
func findProgram(name, path, dir string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	if len(name) > maxName {
		return "", unix.ENAMETOOLONG
	}
	refused := unix.ENOENT
	for _, d := range strings.Split(path, ":") {
		if d == "" {
			d = "."
		}
		candidate := d + "/" + name
		looked := candidate
		if d[0] != '/' {
			looked = dir + "/" + candidate
		}
		err := executable(looked)
		if err == nil {
			return candidate, nil
		}
		// A directory the user may not search holds nothing for it; a file it may
		// not execute is worth telling.
		var st unix.Stat_t
		if err == unix.EACCES && unix.Stat(looked, &st) == nil {
			refused = unix.EACCES
		}
	}
	return "", refused
}

// executable reports with an errno why this thread's user cannot execute path.
func executable(path string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return unix.EACCES
	}
	err := unix.Faccessat2(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS)
	if err == unix.ENOSYS || err == unix.EPERM {
		// A kernel before 5.8, or a seccomp profile that does not know the call:
		// any bit will do, and execve has the last word.
		if st.Mode&0o111 == 0 {
			return unix.EACCES
		}
		return nil
	}
	return err
}

// maxInterpreter is how much of a script the kernel looks at.
const maxInterpreter = 256

// interpreterOf returns the program that the first line of a script names, "" if it
// is none, or this thread's user may not read it.
func interpreterOf(path string) string {
	fd, _, err := openRegular(path)
	if err != nil {
		return ""
	}
	defer func() { _ = unix.Close(fd) }()
	var buf [maxInterpreter]byte
	n, err := unix.Pread(fd, buf[:], 0)
	if err != nil {
		return ""
	}
	line, script := strings.CutPrefix(string(buf[:n]), "#!")
	if !script {
		return ""
	}
	line, _, _ = strings.Cut(line, "\n")
	line = strings.TrimLeft(line, " \t")
	if end := strings.IndexAny(line, " \t\x00"); end >= 0 {
		line = line[:end]
	}
	return line
}
