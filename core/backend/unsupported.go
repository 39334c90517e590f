package backend

import (
	"context"
	"io"
)

// Unsupported answers every operation of a Sandbox but Info, Exec and Close with
// ErrUnsupported. A sandbox of one's own embeds it, so that it goes on compiling
// when the contract grows, and says truly what it cannot do.
type Unsupported struct{}

func unsupported(op string) error {
	return &Error{Kind: ErrUnsupported, Op: op, Message: "this backend cannot do that", Hint: "use another backend"}
}

// Start implements Sandbox.
func (Unsupported) Start(context.Context, *ExecRequest) (*StartReply, error) {
	return nil, unsupported("start")
}

// Outcome implements Sandbox.
func (Unsupported) Outcome(context.Context, *OutcomeRequest) (*OutcomeReply, error) {
	return nil, unsupported("outcome")
}

// ReadOutput implements Sandbox.
func (Unsupported) ReadOutput(context.Context, *ReadOutputRequest) (*Output, error) {
	return nil, unsupported("read output")
}

// WriteStdin implements Sandbox.
func (Unsupported) WriteStdin(context.Context, *WriteStdinRequest) (*WriteStdinReply, error) {
	return nil, unsupported("write stdin")
}

// Signal implements Sandbox.
func (Unsupported) Signal(context.Context, *SignalRequest) error { return unsupported("signal") }

// Kill implements Sandbox.
func (Unsupported) Kill(context.Context, *KillRequest) (*OutcomeReply, error) {
	return nil, unsupported("kill")
}

// Resize implements Sandbox.
func (Unsupported) Resize(context.Context, *ResizeRequest) error { return unsupported("resize") }

// Processes implements Sandbox.
func (Unsupported) Processes(context.Context, *ProcessesRequest) (*ProcessesReply, error) {
	return nil, unsupported("processes")
}

// Stats implements Sandbox.
func (Unsupported) Stats(context.Context, *StatsRequest) (*Stats, error) {
	return nil, unsupported("stats")
}

// Dial implements Sandbox.
func (Unsupported) Dial(context.Context, *DialRequest) (Conn, error) {
	return nil, unsupported("dial")
}

// Stat implements Sandbox.
func (Unsupported) Stat(context.Context, *StatRequest) (*FileInfo, error) {
	return nil, unsupported("stat")
}

// ReadFile implements Sandbox.
func (Unsupported) ReadFile(context.Context, *ReadFileRequest) (*File, error) {
	return nil, unsupported("read file")
}

// WriteFile implements Sandbox.
func (Unsupported) WriteFile(context.Context, *WriteFileRequest) (*WriteFileReply, error) {
	return nil, unsupported("write file")
}

// Edit implements Sandbox.
func (Unsupported) Edit(context.Context, *EditRequest) (*EditReply, error) {
	return nil, unsupported("edit")
}

// List implements Sandbox.
func (Unsupported) List(context.Context, *ListDirRequest) (*ListDirReply, error) {
	return nil, unsupported("list")
}

// Glob implements Sandbox.
func (Unsupported) Glob(context.Context, *GlobRequest) (*GlobReply, error) {
	return nil, unsupported("glob")
}

// Grep implements Sandbox.
func (Unsupported) Grep(context.Context, *GrepRequest) (*GrepReply, error) {
	return nil, unsupported("grep")
}

// PutArchive implements Sandbox.
func (Unsupported) PutArchive(context.Context, *PutArchiveRequest) (*PutArchiveReply, error) {
	return nil, unsupported("put archive")
}

// GetArchive implements Sandbox.
func (Unsupported) GetArchive(context.Context, *GetArchiveRequest) (io.ReadCloser, error) {
	return nil, unsupported("get archive")
}

// Mkdir implements Sandbox.
func (Unsupported) Mkdir(context.Context, *MkdirRequest) error { return unsupported("mkdir") }

// Remove implements Sandbox.
func (Unsupported) Remove(context.Context, *RemoveRequest) error { return unsupported("remove") }

// Rename implements Sandbox.
func (Unsupported) Rename(context.Context, *RenameRequest) error { return unsupported("rename") }
