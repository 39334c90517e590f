package guest

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

const (
	// grepBlock is how much of a file is in memory, in bytes. A longer line is
	// searched piece by piece.
	grepBlock = 256 << 10
	// binaryProbe is how much of a file is looked at for a NUL.
	binaryProbe = 8 << 10
)

// grepFiles is a batch of files, and what was found in them.
type grepFiles struct {
	walk       *grepWalk
	paths      []string
	matches    []backend.GrepMatch
	found      int // matches that are no context
	searched   int
	unreadable []string
	err        error
	done       bool // all was searched
	finished   atomic.Bool
}

func (b *grepFiles) isDone() bool { return b.finished.Load() }

// add notes a match.
func (b *grepFiles) add(m backend.GrepMatch) {
	b.matches = append(b.matches, m)
	b.walk.taken.Add(int64(len(m.Text)))
	if !m.Context {
		b.found++
	}
}

// enough reports that no more can be part of the answer.
func (b *grepFiles) enough() bool {
	return b.found > b.walk.limit || b.walk.taken.Load() > maxGrepBytes
}

// searchers are kept: each has a buffer.
var searchers = sync.Pool{New: func() any { return &searcher{buf: make([]byte, grepBlock)} }}

// searcher searches files, one after the other.
type searcher struct {
	buf []byte

	// Of the file that is searched:
	batch *grepFiles
	path  string
	fd    int
	size  int64
	// held bytes at the beginning of buf are read; more of the file follows
	// unless ended.
	held  int
	read  int64
	ended bool
	line  int // number of the line that is next
	count int // matching lines
	after int // lines of context still to come
	shown int // last line that was noted
	tail  []contextLine
}

// contextLine is a line of an earlier block that a match may want to show.
type contextLine struct {
	line int
	text string
	cut  bool
}

// files searches a batch.
func (s *searcher) files(b *grepFiles) {
	defer b.finished.Store(true)
	for _, rel := range b.paths {
		if err := b.walk.ctx.Err(); err != nil {
			b.err = err
			return
		}
		if b.enough() {
			return
		}
		err := s.open(b, rel)
		switch {
		case err == nil, hasVanished(err):
		case isUnreadable(err):
			b.unreadable = append(b.unreadable, rel)
		default:
			b.err = err
			return
		}
	}
	b.done, b.paths = true, nil
}

func (s *searcher) open(b *grepFiles, rel string) error {
	var st unix.Stat_t
	fd, err := openStat(b.walk.root, rel, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0, &st)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if typeOf(st.Mode) != backend.TypeRegular {
		return nil
	}
	return s.search(b, fd, st.Size, rel, false)
}

// search searches one open file; a binary one only if asked to.
func (s *searcher) search(b *grepFiles, fd int, size int64, path string, binary bool) error {
	*s = searcher{buf: s.buf, batch: b, path: path, fd: fd, size: size, line: 1, tail: s.tail[:0]}
	if err := s.fill(); err != nil {
		return err
	}
	if !binary && bytes.IndexByte(s.buf[:min(s.held, binaryProbe)], 0) >= 0 {
		return nil
	}
	b.searched++
	for s.held > 0 {
		if err := b.walk.ctx.Err(); err != nil {
			return err
		}
		whole := bytes.LastIndexByte(s.buf[:s.held], '\n') + 1
		if s.ended {
			whole = s.held
		}
		if whole == 0 {
			if err := s.longLine(); err != nil {
				return err
			}
		} else {
			s.block(s.buf[:whole])
			s.held = copy(s.buf, s.buf[whole:s.held])
		}
		if s.full() {
			break
		}
		if err := s.fill(); err != nil {
			return err
		}
	}
	if b.walk.req.Mode == backend.GrepCount && s.count > 0 {
		b.add(backend.GrepMatch{Path: path, Count: s.count})
	}
	return nil
}

// full reports that the rest of the file need not be searched.
func (s *searcher) full() bool {
	switch s.batch.walk.req.Mode {
	case backend.GrepFiles:
		return s.count > 0
	case backend.GrepCount:
		return false
	}
	return s.batch.enough()
}

// fill reads until the buffer is full or the file has ended.
func (s *searcher) fill() error {
	for !s.ended && s.held < len(s.buf) {
		n, err := unix.Read(s.fd, s.buf[s.held:])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return err
		case n == 0:
			s.ended = true
		default:
			s.held += n
			s.read += int64(n)
			// As long as it was a moment ago: asking once more costs a small file
			// as much as its content did. A size of 0 says nothing, as in /proc.
			s.ended = s.size > 0 && s.read >= s.size
		}
	}
	return nil
}

// block searches whole lines.
func (s *searcher) block(block []byte) {
	mode := s.batch.walk.req.Mode
	for pos := 0; pos < len(block); {
		m, ok := s.batch.walk.matcher.next(block, pos)
		if !ok {
			s.between(block[pos:])
			break
		}
		s.count++
		switch mode {
		case backend.GrepFiles:
			s.batch.add(backend.GrepMatch{Path: s.path})
			return
		case backend.GrepCount:
		default:
			s.between(block[pos:m.lineStart])
			s.contextBefore(block, m.lineStart)
			text, cut := cutLine(block[m.lineStart:m.textEnd], m.start-m.lineStart, m.end-m.lineStart)
			s.note(backend.GrepMatch{Line: s.line, Text: text, Cut: cut})
			s.after = s.batch.walk.req.After
			s.line++
			if s.batch.enough() {
				return
			}
		}
		pos = m.next
	}
	s.keepTail(block)
}

// note adds a line to what was found.
func (s *searcher) note(m backend.GrepMatch) {
	m.Path = s.path
	s.shown = m.Line
	s.batch.add(m)
}

// between counts lines that do not match, and notes those that follow a match.
func (s *searcher) between(lines []byte) {
	for s.after > 0 && len(lines) > 0 {
		line, rest := firstLine(lines)
		text, cut := cutLine(line, 0, 0)
		s.note(backend.GrepMatch{Line: s.line, Text: text, Cut: cut, Context: true})
		s.after--
		s.line++
		lines = rest
	}
	s.line += bytes.Count(lines, []byte{'\n'})
	if len(lines) > 0 && lines[len(lines)-1] != '\n' {
		s.line++ // the file's last, without an end
	}
}

// contextBefore notes the lines before the one at start that were not shown.
func (s *searcher) contextBefore(block []byte, start int) {
	want := min(s.batch.walk.req.Before, s.line-1-s.shown)
	if want <= 0 {
		return
	}
	lines := make([]contextLine, 0, want)
	for n := s.line - 1; len(lines) < want; n-- {
		if start == 0 {
			break
		}
		begin := bytes.LastIndexByte(block[:start-1], '\n') + 1
		line, _ := firstLine(block[begin:start])
		text, cut := cutLine(line, 0, 0)
		lines = append(lines, contextLine{n, text, cut})
		start = begin
	}
	for i := len(s.tail) - 1; i >= 0 && len(lines) < want; i-- {
		lines = append(lines, s.tail[i])
	}
	for i := len(lines) - 1; i >= 0; i-- {
		s.note(backend.GrepMatch{Line: lines[i].line, Text: lines[i].text, Cut: lines[i].cut, Context: true})
	}
}

// keepTail keeps the last lines of a block for a match in the next one.
func (s *searcher) keepTail(block []byte) {
	before := s.batch.walk.req.Before
	if before == 0 || s.ended {
		return
	}
	var lines []contextLine
	end := len(block)
	for n := s.line - 1; len(lines) < before && end > 0; n-- {
		begin := bytes.LastIndexByte(block[:end-1], '\n') + 1
		line, _ := firstLine(block[begin:end])
		text, cut := cutLine(line, 0, 0)
		lines = append(lines, contextLine{n, text, cut})
		end = begin
	}
	for i := len(lines) - 1; i >= 0; i-- {
		s.addTail(lines[i])
	}
}

func (s *searcher) addTail(l contextLine) {
	s.tail = append(s.tail, l)
	if extra := len(s.tail) - s.batch.walk.req.Before; extra > 0 {
		s.tail = append(s.tail[:0], s.tail[extra:]...)
	}
}

// firstLine returns the first line without its end, and the rest.
func firstLine(lines []byte) (line, rest []byte) {
	line = lines
	if i := bytes.IndexByte(lines, '\n'); i >= 0 {
		line, rest = lines[:i], lines[i+1:]
	}
	return withoutCR(line), rest
}

func withoutCR(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		return line[:n-1]
	}
	return line
}

// cutLine returns what is shown of a line: all, or the bytes around the match,
// never half a character.
func cutLine(line []byte, start, end int) (text string, cut bool) {
	if len(line) <= backend.MaxGrepLine {
		return string(line), false
	}
	begin := max(0, start-max(0, backend.MaxGrepLine-(end-start))/2)
	begin = min(begin, len(line)-backend.MaxGrepLine)
	stop := begin + backend.MaxGrepLine
	for i := 0; i < utf8.UTFMax-1 && begin > 0 && begin < stop && !utf8.RuneStart(line[begin]); i++ {
		begin++
	}
	for i := 0; i < utf8.UTFMax-1 && stop < len(line) && stop > begin && !utf8.RuneStart(line[stop]); i++ {
		stop--
	}
	return string(line[begin:stop]), true
}

// longLine searches the line that fills the buffer, by reading it through. It
// leaves the buffer at the line after it.
func (s *searcher) longLine() error {
	l := &longLine{s: s, begin: s.read - int64(s.held)}
	start, end, ok, err := s.batch.walk.matcher.inLong(l)
	if err != nil {
		return err
	}
	if err := l.skipToEnd(); err != nil {
		return err
	}
	switch {
	case ok:
		s.count++
		switch s.batch.walk.req.Mode {
		case backend.GrepFiles:
			s.batch.add(backend.GrepMatch{Path: s.path})
		case backend.GrepCount:
		default:
			s.contextBefore(nil, 0)
			text, err := l.text(start, end)
			if err != nil {
				return err
			}
			s.note(backend.GrepMatch{Line: s.line, Text: text, Cut: true})
			s.after = s.batch.walk.req.After
		}
	case s.after > 0:
		text, err := l.text(0, 0)
		if err != nil {
			return err
		}
		s.note(backend.GrepMatch{Line: s.line, Text: text, Cut: true, Context: true})
		s.after--
	}
	if s.batch.walk.req.Before > 0 {
		text, err := l.text(0, 0)
		if err != nil {
			return err
		}
		s.addTail(contextLine{s.line, text, true})
	}
	s.line++
	return nil
}

// longLine reads a line that is longer than the buffer, from its first byte to
// the one before its end.
type longLine struct {
	s     *searcher
	begin int64 // where in the file it begins
	size  int64 // bytes of it before buf[at]
	// buf[at:stop] of the searcher is the line's, and nothing follows if last.
	at, stop int
	last     bool
	failed   error // of a read, which the regexp takes for the line's end
}

// more brings more of the line into memory, unless it has all.
func (l *longLine) more() error {
	if l.last {
		return nil
	}
	s := l.s
	if err := s.batch.walk.ctx.Err(); err != nil {
		return err
	}
	s.held = copy(s.buf, s.buf[l.at:s.held])
	l.at = 0
	if err := s.fill(); err != nil {
		return err
	}
	l.stop, l.last = s.held, s.ended
	if i := bytes.IndexByte(s.buf[:s.held], '\n'); i >= 0 {
		l.stop, l.last = i, true
	}
	// A '\r' at the end belongs to it, or is the line's if something else follows.
	l.stop = len(withoutCR(s.buf[:l.stop]))
	return nil
}

// take moves on by n bytes.
func (l *longLine) take(n int) {
	l.at += n
	l.size += int64(n)
}

// ReadRune implements io.RuneReader.
func (l *longLine) ReadRune() (r rune, size int, err error) {
	if l.stop-l.at < utf8.UTFMax {
		if err := l.more(); err != nil {
			l.failed = err
			return 0, 0, err
		}
	}
	if l.at == l.stop {
		return 0, 0, io.EOF
	}
	r, size = utf8.DecodeRune(l.s.buf[l.at:l.stop])
	l.take(size)
	return r, size, nil
}

// skipToEnd leaves the searcher's buffer at the next line.
func (l *longLine) skipToEnd() error {
	s := l.s
	for {
		if i := bytes.IndexByte(s.buf[l.at:s.held], '\n'); i >= 0 {
			l.take(i)
			s.held = copy(s.buf, s.buf[l.at+1:s.held])
			return nil
		}
		l.take(s.held - l.at)
		if s.ended {
			s.held = 0
			return nil
		}
		if err := s.batch.walk.ctx.Err(); err != nil {
			return err
		}
		s.held, l.at = 0, 0
		if err := s.fill(); err != nil {
			return err
		}
	}
}

// text reads what is shown of the line, once its size is known.
func (l *longLine) text(start, end int64) (string, error) {
	// A window that has the match where cutLine wants it, in a line that is
	// longer than the window on both sides where the real one is.
	const window = 2 * backend.MaxGrepLine
	from := max(0, start-window)
	to := min(l.size, start+window)
	buf := make([]byte, to-from)
	n, err := unix.Pread(l.s.fd, buf, l.begin+from)
	if err != nil {
		return "", err
	}
	text, _ := cutLine(withoutCR(buf[:n]), int(start-from), int(min(end, to)-from))
	return text, nil
}
