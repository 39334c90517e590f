package backend

import (
	"io"
	"time"
)

// FileType is what a path names.
type FileType string

// File types.
const (
	TypeRegular   FileType = "file"
	TypeDirectory FileType = "directory"
	TypeSymlink   FileType = "symlink"
	TypeFIFO      FileType = "fifo"
	TypeSocket    FileType = "socket"
	TypeDevice    FileType = "device"
)

// FileInfo describes a file.
type FileInfo struct {
	// Path as asked for; of a directory entry or match, relative to the
	// directory that was asked about unless said otherwise.
	Path string
	Type FileType
	// Size in bytes of a regular file, else 0.
	Size int64
	// Mode holds the permission bits and setuid, setgid, sticky as in chmod(2).
	Mode    uint32
	ModTime time.Time
	// Target of a symbolic link.
	Target string
	// SHA256 in lower-case hex, if asked for and a regular file.
	SHA256 string
}

// StatRequest asks about a path.
type StatRequest struct {
	Path string
	// Follow a last symbolic link.
	Follow bool
	// SHA256 asks for the content's sum; ErrInvalid unless a regular file.
	SHA256 bool
}

// ReadFileRequest asks for a byte range.
type ReadFileRequest struct {
	Path string
	// Offset of the first byte. One past the end reads nothing.
	Offset int64
	// Length of the range, 0 for all that follows.
	Length int64
}

// File is an open byte range.
type File struct {
	// Info of the whole file when it was opened.
	Info FileInfo
	io.ReadCloser
}

// WriteFileRequest replaces or makes a file.
type WriteFileRequest struct {
	Path string
	// Content is read to io.EOF; any other error leaves the file untouched and
	// is returned. Nil writes an empty file.
	Content io.Reader
	// Mode of a new file, 0644 if 0. Only permission bits.
	Mode uint32
	// Append adds Content to the end of what is there, all of it or nothing.
	// Readers may see it grow.
	Append bool
	// IfAbsent makes it ErrConflict unless there is nothing at Path, not even a
	// dangling symbolic link; IfSHA256 unless there is a file whose content has
	// this sum, in lower-case hex. The file is untouched then, and Content need not
	// have been read. At most one of them, else ErrInvalid.
	IfAbsent bool
	IfSHA256 string
}

// WriteFileReply tells what was written.
type WriteFileReply struct {
	// Size of the file now.
	Size int64
	// SHA256 of the content in lower-case hex; "" of one that was appended to.
	SHA256 string
	// Created reports whether there was no such file before.
	Created bool
}

// MaxEditSize is the largest file Edit takes or makes, in bytes; above it is
// ErrTooLarge.
const MaxEditSize = 64 << 20

// EditRequest replaces Old by New.
type EditRequest struct {
	Path     string
	Old, New []byte
	// All replaces every match, else there must be exactly one.
	All bool
	// Then are further replacements, each made in what the one before left. All
	// are made, or none.
	Then []Replacement
	// IfSHA256 makes it ErrConflict (file untouched) unless the content has this
	// sum. Empty asks for nothing.
	IfSHA256 string
}

// Replacement is one of several of an Edit.
type Replacement struct {
	Old, New []byte
	All      bool
}

// EditReply tells what was replaced.
type EditReply struct {
	// Replaced in all.
	Replaced int
	Size     int64
	SHA256   string
}

// MaxListEntries bounds one page of List.
const MaxListEntries = 1000

// ListDirRequest reads a directory.
type ListDirRequest struct {
	// Path, the workspace if empty.
	Path string
	// Limit of entries in the reply; MaxListEntries if 0 or above it.
	Limit int
	// After is the Next of the page before.
	After string
}

// ListDirReply is one page of a directory.
type ListDirReply struct {
	// Entries with Path being the bare name.
	Entries []FileInfo
	// Next is not empty when there are more.
	Next string
	// Total entries in the directory.
	Total int
}

// Order of the files of a Glob.
type Order string

// Orders. The zero value is OrderNewest.
const (
	OrderNewest Order = "newest" // ties by path
	OrderPath   Order = "path"
)

// MaxGlobMatches bounds the answer of one Glob.
const MaxGlobMatches = 10_000

// GlobRequest finds files. In Pattern, '*' and '?' match within a name, '**'
// any number of directories, [a-z] a character and {a,b} either. A leading dot
// is matched only by a dot, unless Hidden.
type GlobRequest struct {
	// Path of the directory the pattern is relative to, the workspace if empty.
	Path    string
	Pattern string
	// Hidden lets wildcards match names with a leading dot.
	Hidden bool
	// Directories adds matching directories, links and others to the regular
	// files.
	Directories bool
	Order       Order
	// Limit of matches; MaxGlobMatches if 0 or above it.
	Limit int
}

// GlobReply lists matches.
type GlobReply struct {
	// Matches with Path relative to GlobRequest.Path.
	Matches []FileInfo
	// Truncated reports that Limit cut the list, Total how many there were.
	Truncated bool
	Total     int
	// Unreadable directories that could not be searched, at most 100.
	Unreadable []string
}

// GrepMode says what a Grep answers with.
type GrepMode string

// Grep modes. The zero value is GrepLines.
const (
	GrepLines GrepMode = "lines"
	GrepFiles GrepMode = "files" // each file once
	GrepCount GrepMode = "count" // each file with its number of lines
)

// Bounds of a Grep.
const (
	MaxGrepMatches = 10_000
	// MaxGrepLine is how much of a long line is returned, in bytes around the
	// match; the rest is cut and marked.
	MaxGrepLine = 2000
)

// GrepRequest finds lines.
type GrepRequest struct {
	// Path of a directory or one file, the workspace if empty. A file named so is
	// searched whatever it is called and holds.
	Path string
	// Pattern is RE2, matched against each line without its end. ErrInvalid with
	// the position in Message if it does not compile.
	Pattern string
	// Literal takes Pattern as plain bytes.
	Literal    bool
	IgnoreCase bool
	// Include and Exclude are glob patterns on the path relative to Path; one
	// without a slash is matched against the name.
	Include, Exclude []string
	// Hidden searches files and directories with a leading dot too.
	Hidden bool
	// NoIgnore searches what .gitignore files exclude too.
	NoIgnore bool
	Mode     GrepMode
	// Before and After ask for lines of context, at most 20.
	Before, After int
	// Limit of matches (of files, with GrepFiles and GrepCount);
	// MaxGrepMatches if 0 or above it.
	Limit int
}

// GrepReply lists matches, sorted by path, then line.
type GrepReply struct {
	Matches []GrepMatch
	// Truncated reports that Limit, or the size of the reply, cut the list.
	Truncated bool
	// Searched is how many files were read.
	Searched int
	// Unreadable files and directories, at most 100.
	Unreadable []string
}

// GrepMatch is one matching line, one line of context, or one file.
type GrepMatch struct {
	// Path relative to GrepRequest.Path; the name if that is a file.
	Path string
	// Line number from 1, 0 for a file.
	Line int
	// Text of the line without its end.
	Text string
	// Cut reports that the line was longer.
	Cut bool
	// Context reports that this line did not match but surrounds one that did.
	Context bool
	// Count of matching lines, with GrepCount.
	Count int
}

// MkdirRequest makes a directory.
type MkdirRequest struct {
	Path string
	// Mode of the directories made, 0755 if 0.
	Mode uint32
}

// RemoveRequest removes a file or directory.
type RemoveRequest struct {
	Path      string
	Recursive bool
}

// RenameRequest moves a file or directory.
type RenameRequest struct {
	From, To  string
	NoReplace bool
}
