package tools

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/deep-sandbox/deep/core/backend"
)

const (
	defaultLines = 2000
	// maxReadChars is about 50,000 tokens, more than most models profit from.
	maxReadChars = 200_000
	// maxCountBytes bounds what is read only to tell how many lines follow.
	maxCountBytes = 64 << 20
	sniffBytes    = 8 << 10
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
		Offset *int64 `json:"offset"`
		Limit  *int64 `json:"limit"`
	}
	if a, ok := decode(raw, &args, usage); !ok {
		return a, nil
	}
	if args.Path == "" {
		return failed("path is required. Usage: %s", usage), nil
	}
	w := window{limit: defaultLines, explicit: args.Offset != nil || args.Limit != nil}
	if args.Offset != nil {
		w.offset = *args.Offset
	}
	if args.Limit != nil {
		w.limit = *args.Limit
	}
	if w.offset < 0 || w.limit < 1 {
		return failed("offset must be 0 or more and limit 1 or more. Usage: %s", usage), nil
	}
	sb, err := s.sandbox(ctx)
	if err != nil {
		return Answer{}, err
	}
	answer, err := readText(ctx, sb, args.Path, w)
	if err != nil {
		return problem(err)
	}
	if answer.Failed {
		return answer, nil
	}
	return answer, s.sawFile(ctx, sb, args.Path)
}

// sawFile remembers the sum of a file that was read, so that an edit can tell
// whether it changed since. Files no edit takes are not summed.
func (s *Set) sawFile(ctx context.Context, sb backend.Sandbox, path string) error {
	info, err := sb.Stat(ctx, &backend.StatRequest{Path: path, Follow: true})
	if err == nil && info.Size <= backend.MaxEditSize {
		info, err = sb.Stat(ctx, &backend.StatRequest{Path: path, Follow: true, SHA256: true})
	}
	if err != nil {
		// Gone or replaced a moment after it was read: an edit will find out.
		if _, fatal := problem(err); fatal != nil {
			return fatal
		}
		return nil
	}
	if info.SHA256 != "" {
		s.saw(key(sb, path), info.SHA256)
	}
	return nil
}

// A window is the part of a file to show.
type window struct {
	offset, limit int64
	// explicit: the model chose it, so that cutting it would be a lie.
	explicit bool
}

// readText reads the window of a file as numbered lines.
func readText(ctx context.Context, sb backend.Sandbox, path string, w window) (Answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f, err := sb.ReadFile(ctx, &backend.ReadFileRequest{Path: path})
	if err != nil {
		return Answer{}, err
	}
	defer f.Close()

	name := backend.Printable(path)
	r := bufio.NewReaderSize(f, 64<<10)
	head, err := r.Peek(sniffBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		return Answer{}, err
	}
	if len(head) == 0 {
		return Answer{Text: fmt.Sprintf("%s is empty.", name)}, nil
	}
	if bytes.IndexByte(head, 0) >= 0 {
		kind, _, _ := strings.Cut(http.DetectContentType(head), ";")
		return failed("%s is a binary file (%s, %s): it cannot be shown as text. Use execute with a tool that understands it.", name, kind, size(f.Info.Size)), nil
	}
	p := page{window: w}
	if err := p.fill(r); err != nil {
		return Answer{}, err
	}
	switch {
	case p.count <= w.offset:
		return failed("%s has %s: offset %d is past its end.", name, plural(p.count, "line"), w.offset), nil
	case p.over && w.explicit:
		return failed("These lines of %s hold more than %d characters: ask for fewer with limit.", name, maxReadChars), nil
	}
	return p.answer(name), nil
}

// A page collects the lines of a window and counts the rest.
type page struct {
	window
	text  strings.Builder
	chars int
	// count of all lines seen, shown of those in text.
	count, shown int64
	// over: the characters did not suffice. cutLine: not even for one line.
	over, cutLine bool
	// uncounted: the file goes on after what was counted.
	uncounted bool
	// lossy: some bytes were not UTF-8.
	lossy bool
}

func (p *page) fill(r *bufio.Reader) error {
	var read int64
	for {
		line, n, err := readLine(r)
		read += n
		if n > 0 {
			p.add(line)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if p.count >= p.offset+p.limit && read > maxCountBytes {
			_, err := r.Peek(1)
			p.uncounted = err == nil
			return nil
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

func (p *page) add(line []byte) {
	p.count++
	if p.count <= p.offset || p.count > p.offset+p.limit || p.over {
		return
	}
	s := string(line)
	if !utf8.ValidString(s) {
		p.lossy = true
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	row := fmt.Sprintf("%6d\t%s\n", p.count, s)
	room := maxReadChars - p.chars
	row, whole := clipRunes(row, room)
	if !whole {
		p.over = true
		if p.shown > 0 {
			return // lines are shown whole
		}
		p.cutLine = true
		row += "\n"
	}
	p.chars += utf8.RuneCountInString(row)
	p.text.WriteString(row)
	p.shown++
}

func (p *page) answer(name string) Answer {
	rest := p.count - p.offset - p.shown
	b := &p.text
	switch {
	case p.cutLine:
		fmt.Fprintf(b, "[line %d is longer than %d characters and was cut; use execute to read the rest]\n", p.offset+1, maxReadChars)
	case p.over:
		fmt.Fprintf(b, "[cut at %d characters; go on with offset=%d]\n", maxReadChars, p.offset+p.shown)
	}
	switch {
	case p.uncounted:
		fmt.Fprintf(b, "... (more than %d more lines)\n", rest)
	case rest > 0:
		fmt.Fprintf(b, "... (%d more lines)\n", rest)
	}
	if p.lossy {
		fmt.Fprintf(b, "[%s holds bytes that are not UTF-8, shown as \uFFFD; edit_file cannot match them]\n", name)
	}
	return Answer{Text: b.String(), Truncated: rest > 0 || p.uncounted || p.over}
}
