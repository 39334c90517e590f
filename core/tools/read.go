package tools

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"

	"github.com/deep-sandbox/deep/core/backend"
)

const (
	defaultLines = 2000
	// maxReadChars is about 50,000 tokens, more than most models profit from.
	maxReadChars = 200_000
	// maxCountBytes bounds what is read only to tell how many lines follow. A file
	// above it cannot be edited either.
	maxCountBytes = backend.MaxEditSize
	// maxSkipBytes bounds what is read only to find a line: about a second's worth.
	maxSkipBytes = 256 << 20
	sniffBytes   = 8 << 10
)

var readTool = tool{
	spec: Spec{
		Name:        "read_file",
		Description: "Read a text file. Each line comes with its number and a tab, which are not part of the file. Long files are read in parts with offset and limit.",
		Parameters: json.RawMessage(`{"type":"object","properties":{
			"path":{"type":"string","description":"File, absolute or relative to the workspace."},
			"offset":{"type":"integer","minimum":0,"description":"Lines to skip, so that 0 begins with line 1. Default: 0."},
			"limit":{"type":"integer","minimum":1,"description":"Lines to read. Default: 2000."}
		},"required":["path"],"additionalProperties":false}`),
	},
	call: (*Set).read,
}

func (s *Set) read(ctx context.Context, raw json.RawMessage) (Answer, error) {
	const usage = "read_file(path, offset=0, limit=2000)"
	var args struct {
		Path   string `json:"path"`
		Offset int64  `json:"offset"`
		Limit  *int64 `json:"limit"`
	}
	if a, ok := decode(raw, &args, usage); !ok {
		return a, nil
	}
	if args.Path == "" {
		return failed("path is required. Usage: %s", usage), nil
	}
	w := window{offset: args.Offset, limit: defaultLines}
	if args.Limit != nil {
		w.limit, w.explicit = *args.Limit, true
	}
	if w.offset < 0 || w.limit < 1 {
		return failed("offset must be 0 or more and limit 1 or more. Usage: %s", usage), nil
	}
	w.limit = min(w.limit, math.MaxInt64-w.offset)
	sb, err := s.sandbox(ctx)
	if err != nil {
		return Answer{}, err
	}
	answer, sum, err := readText(ctx, sb, args.Path, w)
	if err != nil {
		return readProblem(args.Path, err)
	}
	if sum != "" && !answer.Failed {
		s.saw(key(sb, args.Path), sum)
	}
	return answer, nil
}

func readProblem(path string, err error) (Answer, error) {
	name := backend.Printable(path)
	switch {
	case errors.Is(err, backend.ErrNotFound):
		return failed("There is no file %s. Use ls or glob to find it.", name), nil
	case errors.Is(err, backend.ErrIsDirectory):
		return failed("%s is a directory. Use ls to see what is in it.", name), nil
	}
	return problem(err)
}

// A window is the part of a file to show.
type window struct {
	offset, limit int64
	// explicit: the model asked for so many lines, so that cutting them would be a
	// lie.
	explicit bool
}

// readText reads the window of a file as numbered lines. Sum is that of the whole
// file if it was read to its end: made of the very bytes that were shown, so that
// an edit finds out about any change since.
func readText(ctx context.Context, sb backend.Sandbox, path string, w window) (answer Answer, sum string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f, err := sb.ReadFile(ctx, &backend.ReadFileRequest{Path: path})
	if err != nil {
		return Answer{}, "", err
	}
	defer func() { _ = f.Close() }() // what was read was checked as it was read

	name, hash := backend.Printable(path), sha256.New()
	r := bufio.NewReaderSize(io.TeeReader(f, hash), 64<<10)
	head, err := r.Peek(sniffBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		return Answer{}, "", err
	}
	if bytes.IndexByte(head, 0) >= 0 {
		return failed("%s is a binary file (%s, %s): it cannot be shown as text. Use execute with a program that understands it.",
			name, http.DetectContentType(head), size(f.Info.Size)), "", nil
	}
	p := page{window: w}
	whole, err := p.fill(r)
	if err != nil {
		return Answer{}, "", err
	}
	if whole {
		sum = hex.EncodeToString(hash.Sum(nil))
	}
	return p.answer(name), sum, nil
}

// fill reads the lines of the window and counts what follows. It reports whether
// it came to the end of the file.
func (p *page) fill(r *bufio.Reader) (whole bool, err error) {
	for {
		line, n, err := readLine(r)
		p.read += n
		if n > 0 {
			p.add(line)
		}
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		p.tooFar = p.count < p.offset && p.read > maxSkipBytes
		if p.tooFar || p.count >= p.offset+p.limit && p.read > maxCountBytes {
			_, err := r.Peek(1)
			if err != nil && !errors.Is(err, io.EOF) {
				return false, err
			}
			p.uncounted = err == nil
			return !p.uncounted, nil
		}
	}
}

// readLine returns a line without its end, of which it keeps no more than a page
// can hold, and how many bytes it took.
func readLine(r *bufio.Reader) (line []byte, n int64, err error) {
	for {
		piece, err := r.ReadSlice('\n')
		n += int64(len(piece))
		if room := 4*maxReadChars + 1 - len(line); room > 0 {
			line = append(line, piece[:min(room, len(piece))]...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		return bytes.TrimSuffix(line, []byte("\n")), n, err
	}
}
