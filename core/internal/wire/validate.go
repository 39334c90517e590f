package wire

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/deep-sandbox/deep/core/backend"
	backendv1 "github.com/deep-sandbox/deep/core/proto/backend/v1"
)

// What a client accepts. Each function returns what is wrong, "" if nothing is.

const (
	maxPath      = 64 << 10 // a deep tree under glob may exceed PATH_MAX
	maxTexts     = 256      // degraded layers, capabilities, options
	maxSignal    = 64
	sigKill      = 9
	maxExitCode  = 255
	maxFileMode  = 0o7777
	maxSandboxes = 100_000
)

func badText(what, s string) string {
	if len(s) > maxErrorField {
		return fmt.Sprintf("%s of %d bytes", what, len(s))
	}
	return ""
}

func badTexts(what string, list []string) string {
	if len(list) > maxTexts {
		return fmt.Sprintf("%d times %s", len(list), what)
	}
	for _, s := range list {
		if bad := badText(what, s); bad != "" {
			return bad
		}
	}
	return ""
}

func firstOf(bads ...string) string {
	for _, bad := range bads {
		if bad != "" {
			return bad
		}
	}
	return ""
}

// badInfo checks the description of a sandbox; id is the one asked for, "" for
// any.
func badInfo(i *backendv1.SandboxInfo, id string) string {
	switch {
	case i == nil:
		return "a sandbox without a description"
	case !backend.ValidID(i.GetId()):
		return fmt.Sprintf("a sandbox with the id %q", cut(i.GetId()))
	case id != "" && i.GetId() != id:
		return fmt.Sprintf("the sandbox %q where %q was asked for", i.GetId(), id)
	case i.GetCreatedNs() < 0:
		return "a sandbox made before 1970"
	case len(i.GetWorkspace()) > maxPath:
		return fmt.Sprintf("a workspace path of %d bytes", len(i.GetWorkspace()))
	case len(i.GetWorkspaceSource()) > maxPath:
		return fmt.Sprintf("a workspace's source of %d bytes", len(i.GetWorkspaceSource()))
	}
	switch backend.SandboxState(i.GetState()) {
	case backend.StateCreating, backend.StateRunning, backend.StatePaused, backend.StateStopped:
	default:
		return fmt.Sprintf("a sandbox in the state %q", cut(i.GetState()))
	}
	return firstOf(
		badText("a backend's name", i.GetBackend()), badText("an image's name", i.GetImage()),
		badText("an engine's id", i.GetEngineId()), badText("a user", i.GetUser()),
		badText("an owner's host", i.GetOwner().GetHostId()), badText("an owner's boot", i.GetOwner().GetBootId()),
		badTexts("a degraded layer", i.GetDegraded()), badIsolation(i.GetIsolation()),
	)
}

// badIsolation checks what was found in force; nil is that nobody looked.
func badIsolation(i *backendv1.Isolation) string {
	if i == nil {
		return ""
	}
	for _, n := range []int64{
		i.GetMemory(), i.GetSwap(), i.GetPids(), i.GetOpenFiles(), i.GetFileSize(), i.GetCoreSize(),
	} {
		if n < backend.NotKnown {
			return fmt.Sprintf("the limit %d", n)
		}
	}
	switch cpus := i.GetCpus(); {
	case cpus < 0 && cpus != backend.NoLimit && cpus != backend.NotKnown, math.IsNaN(cpus), math.IsInf(cpus, 0):
		return fmt.Sprintf("a limit of %v processors", cpus)
	case i.GetLandlock() < 0:
		return fmt.Sprintf("version %d of Landlock", i.GetLandlock())
	}
	switch n := backend.NetworkMode(i.GetNetwork()); n {
	case backend.NetworkNone, backend.NetworkFull:
	default:
		return fmt.Sprintf("the network %q", cut(string(n)))
	}
	switch r := backend.RootMode(i.GetRootFileSystem()); r {
	case backend.RootReadOnly, backend.RootWritable:
	default:
		return fmt.Sprintf("a root file system that is %q", cut(string(r)))
	}
	return firstOf(badText("a runtime", i.GetRuntime()), badText("a seccomp profile", i.GetSeccomp()), badText("a bound of the disk", i.GetDisk()))
}

// badResult checks how an exec ended; id is the one that was started.
func badResult(r *backendv1.ExecResult, id string, running bool) string {
	switch {
	case r == nil:
		return "an exec without a result"
	case r.GetId() != id:
		return fmt.Sprintf("the result of exec %q where %q was asked for", cut(r.GetId()), id)
	case r.GetExitCode() < 0 || r.GetExitCode() > maxExitCode:
		return fmt.Sprintf("an exit code of %d", r.GetExitCode())
	case r.GetSignal() < 0 || r.GetSignal() > maxSignal:
		return fmt.Sprintf("the signal %d", r.GetSignal())
	case r.GetDurationNs() < 0 || r.GetUserTimeNs() < 0 || r.GetSystemTimeNs() < 0:
		return "a negative duration"
	case r.GetMaxRss() < 0 || r.GetStdoutBytes() < 0 || r.GetStderrBytes() < 0:
		return "a negative number of bytes"
	}
	switch o := backend.Outcome(r.GetOutcome()); o {
	case backend.OutcomeSignal:
		if r.GetSignal() == 0 || r.GetExitCode() != 128+r.GetSignal() {
			return fmt.Sprintf("a death by signal %d with exit code %d", r.GetSignal(), r.GetExitCode())
		}
	case backend.OutcomeOOM:
		if r.GetSignal() != sigKill {
			return fmt.Sprintf("an end for want of memory by signal %d", r.GetSignal())
		}
	case backend.OutcomeStartFailed:
		if r.GetExitCode() == 0 {
			return "a command that did not start with exit code 0"
		}
	case backend.OutcomeRunning:
		if !running {
			return "an exec that ended and runs"
		}
	case backend.OutcomeExit, backend.OutcomeTimeout, backend.OutcomeCancelled, backend.OutcomeOutputLimited,
		backend.OutcomeLost, backend.OutcomeUnknown:
	default:
		return fmt.Sprintf("the outcome %q", cut(r.GetOutcome()))
	}
	return firstOf(badText("a start error", r.GetStartError()), badTexts("a degraded layer", r.GetDegraded()))
}

func badFile(f *backendv1.FileInfo) string {
	switch {
	case f == nil:
		return "a file without a description"
	case f.GetSize() < 0:
		return fmt.Sprintf("a file of %d bytes", f.GetSize())
	case f.GetMode() > maxFileMode:
		return fmt.Sprintf("a file with the mode %#o", f.GetMode())
	case badPath(f.GetPath()):
		return fmt.Sprintf("a file named %q", cut(string(f.GetPath())))
	case len(f.GetTarget()) > maxPath:
		return fmt.Sprintf("a link target of %d bytes", len(f.GetTarget()))
	case f.GetSha256() != "" && badSHA256(f.GetSha256()):
		return fmt.Sprintf("a sum of %q", cut(f.GetSha256()))
	}
	switch backend.FileType(f.GetType()) {
	case backend.TypeRegular, backend.TypeDirectory, backend.TypeSymlink, backend.TypeFIFO, backend.TypeSocket, backend.TypeDevice:
		return ""
	default:
		return fmt.Sprintf("a file of type %q", cut(f.GetType()))
	}
}

// badFileAt checks a description that was asked for by path.
func badFileAt(f *backendv1.FileInfo, path string) string {
	if bad := badFile(f); bad != "" {
		return bad
	}
	if string(f.GetPath()) != path {
		return fmt.Sprintf("the file %q where %q was asked for", cut(string(f.GetPath())), cut(path))
	}
	return ""
}

// badEntry checks an entry of a directory, whose path is a bare name.
func badEntry(f *backendv1.FileInfo) string {
	if bad := badFile(f); bad != "" {
		return bad
	}
	if name := string(f.GetPath()); name == "." || name == ".." || strings.Contains(name, "/") {
		return fmt.Sprintf("an entry named %q", cut(name))
	}
	return ""
}

// badRelative reports whether p is no path below a directory.
func badRelative(p []byte) bool { return badPath(p) || p[0] == '/' }

func badPath(p []byte) bool {
	return len(p) == 0 || len(p) > maxPath || strings.IndexByte(string(p), 0) >= 0
}

func badSHA256(s string) bool {
	if len(s) != 64 {
		return true
	}
	return strings.Trim(s, "0123456789abcdef") != ""
}

func badMatch(m *backendv1.GrepMatch) string {
	switch {
	case badRelative(m.GetPath()):
		return fmt.Sprintf("a match in the file %q", cut(string(m.GetPath())))
	case m.GetLine() < 0 || m.GetCount() < 0:
		return "a match with a negative number"
	case len(m.GetText()) > backend.MaxGrepLine:
		return fmt.Sprintf("a line of %d bytes", len(m.GetText()))
	}
	return ""
}

// maxProcesses is that of backend.proto; maxArgs bounds a command line, its end
// marks included.
const (
	maxProcesses = 4096
	maxArgs      = 8 << 10
)

func badProcess(p *backendv1.Process) string {
	size := 0
	for _, arg := range p.GetArgs() {
		size += len(arg) + 1
	}
	switch {
	case p.GetPid() < 1 || p.GetPpid() < 0:
		return fmt.Sprintf("the process %d of parent %d", p.GetPid(), p.GetPpid())
	case size > maxArgs:
		return fmt.Sprintf("a command line of %d bytes", size)
	case p.GetExec() != "" && !backend.ValidID(p.GetExec()):
		return fmt.Sprintf("a process of the exec %q", cut(p.GetExec()))
	case len(p.GetState()) != 1:
		return fmt.Sprintf("a process in the state %q", cut(p.GetState()))
	case p.GetStartedNs() < 0 || p.GetCpuTimeNs() < 0 || p.GetRss() < 0:
		return "a process with a negative number"
	}
	return ""
}

func badStats(s *backendv1.StatsReply) string {
	for _, n := range []int64{
		s.GetUptimeNs(), s.GetCpuTimeNs(), s.GetMemory(), s.GetMemoryLimit(), s.GetOomKills(), s.GetPids(), s.GetPidsLimit(),
		s.GetExecs(), s.GetKeptOutput(), s.GetKeptOutputLimit(), s.GetDiskFree(),
	} {
		if n < -1 {
			return fmt.Sprintf("the number %d", n)
		}
	}
	return ""
}

// cut returns s short enough to be quoted in an error.
func cut(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}

// unsendable returns the first of the strings that a proto string cannot carry.
func unsendable(texts ...string) (string, bool) {
	for _, s := range texts {
		if !utf8.ValidString(s) {
			return s, true
		}
	}
	return "", false
}
