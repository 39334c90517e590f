package backend

import "io"

// PutArchiveRequest unpacks a tar stream.
type PutArchiveRequest struct {
	// Path of the directory to unpack in, made if missing; the workspace if empty.
	Path string
	// Content is read to io.EOF: ustar, PAX or GNU tar, not compressed.
	Content io.Reader
}

// PutArchiveReply tells what was unpacked.
type PutArchiveReply struct {
	// Entries in the archive, and the bytes of its files.
	Entries int
	Bytes   int64
}

// GetArchiveRequest packs a file or a directory.
type GetArchiveRequest struct {
	// Path; the workspace if empty. A last symbolic link is followed.
	Path string
}
