package replay

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"unicode/utf8"
)

// maxRecordingBytes bounds a recording file.
const maxRecordingBytes = 16 << 20

// ParseError is a mistake in a recording file.
type ParseError struct {
	Path         string
	Line, Column int // from 1; columns count characters
	What         string
}

func (e *ParseError) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.Path, e.Line, e.Column, e.What)
}

// Load reads a recording. A mistake in it is a [*ParseError].
func Load(path string) (*Recording, error) {
	src, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("replay: %w", err)
	}
	rec, mistake := decodeRecording(src)
	if mistake != nil {
		line, column := position(src, mistake.at)
		return nil, &ParseError{Path: path, Line: line, Column: column, What: mistake.Error()}
	}
	rec.Name = filepath.Base(path)
	return rec, nil
}

func read(path string) ([]byte, error) {
	// Asked before opening: opening a FIFO waits for a writer.
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%w; give the path of a recording, see docs/replay.md", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file; give the path of a recording, see docs/replay.md", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, maxRecordingBytes+1))
	if err != nil {
		return nil, err
	}
	if len(src) > maxRecordingBytes {
		return nil, fmt.Errorf("%s is over %d MiB; split the conversation", path, maxRecordingBytes>>20)
	}
	return src, nil
}

func position(src []byte, at int) (line, column int) {
	before := src[:at]
	line = bytes.Count(before, []byte("\n")) + 1
	return line, utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
}
