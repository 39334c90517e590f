package backend

import (
	"context"
	"io"
)

// A Sandbox runs commands and keeps files. It is a handle: several may be open
// on one sandbox, from several processes.
//
// Each method answers ErrGone once the sandbox has ended, and ErrUnavailable
// (often a *CrashError) when it cannot be reached to find out.
type Sandbox interface {
	// Info tells what was settled when the sandbox was made. No I/O.
	Info() SandboxInfo

	// Exec runs a command and returns when it has ended and its output was
	// written to req.Stdout and req.Stderr. Whatever ended the command, a
	// non-nil result says so; the error is for what kept deep from running it or
	// from telling how it ended:
	//
	//   - ErrInvalid: a request that means nothing; ErrNotFound: no such
	//     directory, or no shell for a Shell request; ErrExists: an exec of this
	//     id was started before, nothing was run twice.
	//   - the error of ctx, when it ended: the command was cancelled, the result
	//     says what it was until then and everything it had started is dead.
	//   - the error of a Stdout or Stderr writer: the command was cancelled.
	//   - ErrGone, ErrUnavailable: the result, if not nil, holds what is known;
	//     ask Outcome for the truth when the sandbox can be reached again.
	//
	// A program that is missing or not executable is no error: exit code 127 or
	// 126, as a shell has it, and ExecResult.StartError names the reason.
	Exec(ctx context.Context, req *ExecRequest) (*ExecResult, error)

	// Start runs a command in the background and returns once it runs, or could
	// not be started: that is then its outcome. It is bound to no caller and no
	// connection, and ends by itself, at its Timeout, by Kill, or with the
	// sandbox. Stdin, Stdout and Stderr of the request must be nil; what it writes
	// is kept for ReadOutput. Errors are those of Exec.
	Start(ctx context.Context, req *ExecRequest) (*StartReply, error)

	// Outcome tells what became of an exec, also for another caller than the one
	// that started it. Of one that runs it tells the bytes it has written and its
	// duration so far. ErrNotFound if the guest knows no such id: it was never
	// started, or ended so long ago that it was forgotten (the last 1024 are
	// kept).
	Outcome(ctx context.Context, req *OutcomeRequest) (*OutcomeReply, error)

	// ReadOutput reads what an exec has written, any number of times, while it
	// runs and after it has ended; see KeptOutput for how much is kept.
	// ErrNotFound as for Outcome.
	ReadOutput(ctx context.Context, req *ReadOutputRequest) (*Output, error)

	// WriteStdin gives input to an exec that Start started with KeepStdin. It
	// waits while the command does not read. ErrConflict if the input is closed,
	// or the command has ended. After an error it is not known exactly how much
	// was taken before. ErrNotFound as for Outcome.
	WriteStdin(ctx context.Context, req *WriteStdinRequest) (*WriteStdinReply, error)

	// Signal sends a signal to an exec that runs. ErrConflict if it has ended,
	// ErrInvalid for a signal that there is not. ErrNotFound as for Outcome.
	Signal(ctx context.Context, req *SignalRequest) error

	// Kill ends an exec and everything it started, as a cancel does, and returns
	// how it ended, once nothing of it is left. One that has ended is no error.
	// ErrNotFound as for Outcome.
	Kill(ctx context.Context, req *KillRequest) (*OutcomeReply, error)

	// Resize changes the size of an exec's terminal. ErrConflict if it has none,
	// or has ended. ErrNotFound as for Outcome.
	Resize(ctx context.Context, req *ResizeRequest) error

	// Processes lists what runs in the sandbox, also what an exec left behind.
	// ErrUnsupported without CapProcesses.
	Processes(ctx context.Context, req *ProcessesRequest) (*ProcessesReply, error)

	// Stats tells what the sandbox uses. ErrUnsupported without CapProcesses.
	Stats(ctx context.Context, req *StatsRequest) (*Stats, error)

	// Dial connects to a TCP port that something listens on inside, without a
	// network. ErrNotFound if nothing does, ErrUnsupported without CapDial. ctx
	// governs the dialling, and the connection until it is closed.
	Dial(ctx context.Context, req *DialRequest) (Conn, error)

	// Stat describes what is at a path, not following a last symbolic link
	// unless asked to.
	Stat(ctx context.Context, req *StatRequest) (*FileInfo, error)

	// ReadFile opens a byte range of a regular file for reading. The reader
	// returns io.EOF only at the range's end or the file's, never because
	// something broke. ErrIsDirectory, ErrNotFound, ErrPermission; ErrInvalid for
	// a FIFO, socket or device (without blocking) and a negative offset. The
	// caller closes it; ctx governs it until then.
	ReadFile(ctx context.Context, req *ReadFileRequest) (*File, error)

	// WriteFile replaces or makes a file, its parents too, atomically: a reader
	// sees the old content or the new, also if everything is killed half way.
	// It keeps the mode of a file it replaces and writes through a symbolic
	// link. If content fails, or ctx ends, the file is untouched. So it is when a
	// condition of the request does not hold: ErrConflict.
	WriteFile(ctx context.Context, req *WriteFileRequest) (*WriteFileReply, error)

	// Edit replaces exact bytes, atomically. ErrNotFound (Path set) if there is
	// no such file or no match, ErrConflict with Error.Count if there are
	// several and not All, ErrInvalid if Old is empty or equals New. Of several
	// replacements the error's Message says which.
	Edit(ctx context.Context, req *EditRequest) (*EditReply, error)

	// List reads a directory: directories first, then by name.
	List(ctx context.Context, req *ListDirRequest) (*ListDirReply, error)

	// Glob finds files by pattern.
	Glob(ctx context.Context, req *GlobRequest) (*GlobReply, error)

	// Grep finds lines by RE2 expression or literal.
	Grep(ctx context.Context, req *GrepRequest) (*GrepReply, error)

	// PutArchive unpacks a tar stream. An entry that would be outside of Path, by
	// its name, by ".." or by a symbolic link, a hard link to outside, and a device
	// or FIFO are ErrInvalid with the entry's name as Path; what came before it
	// stays. Owners are not kept; of modes the permission bits are.
	PutArchive(ctx context.Context, req *PutArchiveRequest) (*PutArchiveReply, error)

	// GetArchive packs a file, under its name, or what is in a directory, under
	// names relative to it, sorted, as a PAX tar stream of files, directories and
	// symbolic links. The reader returns io.EOF only at its true end. What cannot
	// be read is an error, what vanishes meanwhile is left out. The caller closes
	// the reader; ctx governs it until then.
	GetArchive(ctx context.Context, req *GetArchiveRequest) (io.ReadCloser, error)

	// Mkdir makes a directory and its parents. One that is there is no error;
	// another kind of file in its place is ErrExists.
	Mkdir(ctx context.Context, req *MkdirRequest) error

	// Remove removes a file, an empty directory, or a tree if asked. It never
	// follows links. "/" and the workspace itself are ErrInvalid, a directory
	// that is not empty ErrConflict.
	Remove(ctx context.Context, req *RemoveRequest) error

	// Rename moves a file, replacing what is there as rename(2) does, or not:
	// ErrExists if NoReplace.
	Rename(ctx context.Context, req *RenameRequest) error

	// Close lets go of the sandbox, and destroys it if it is ephemeral and was
	// created, not opened, through this handle. Idempotent.
	io.Closer
}
