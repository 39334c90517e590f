package backendtest

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// A small shell: lists with ; & && ||, pipes, subshells, while, redirections,
// quotes, variables. What it does not know is a syntax error, never a guess.

// token is a word, or an operator when quoted parts are absent and op is set.
type token struct {
	op    string
	parts []part
}

// part of a word. Text in single quotes is literal; elsewhere $ expands.
type part struct {
	text    string
	literal bool
}

func (t token) plain() string {
	if len(t.parts) == 1 && !t.parts[0].literal {
		return t.parts[0].text
	}
	return ""
}

var operators = []string{"2>&1", ">&2", "2>", ">>", "&&", "||", "\n", ";", "&", "|", "(", ")", "<", ">"}

func lex(src string) ([]token, error) {
	var tokens []token
	var word []part
	inWord := false
	flush := func() {
		if inWord {
			tokens = append(tokens, token{parts: word})
		}
		word, inWord = nil, false
	}
next:
	for i := 0; i < len(src); {
		switch c := src[i]; c {
		case ' ', '\t':
			flush()
			i++
			continue
		case '\'', '"':
			end := strings.IndexByte(src[i+1:], c)
			if end < 0 {
				return nil, fmt.Errorf("an unclosed %c", c)
			}
			word, inWord = append(word, part{src[i+1 : i+1+end], c == '\''}), true
			i += end + 2
			continue
		case '\\':
			if i+1 == len(src) {
				return nil, fmt.Errorf("a backslash at the end")
			}
			word, inWord = append(word, part{src[i+1 : i+2], true}), true
			i += 2
			continue
		}
		for _, op := range operators {
			if strings.HasPrefix(src[i:], op) && (op[0] != '2' || !inWord) {
				flush()
				tokens = append(tokens, token{op: op})
				i += len(op)
				continue next
			}
		}
		end := i
		for end < len(src) && !strings.ContainsRune(" \t'\"\\\n;&|()<>", rune(src[end])) {
			end++
		}
		word, inWord = append(word, part{src[i:end], false}), true
		i = end
	}
	flush()
	return tokens, nil
}

// expand puts values in the place of $NAME, ${NAME}, $?, $! and $$.
func (p *proc) expand(t token) string {
	var b strings.Builder
	for _, part := range t.parts {
		if part.literal {
			b.WriteString(part.text)
			continue
		}
		s := part.text
		for {
			before, after, found := strings.Cut(s, "$")
			b.WriteString(before)
			if !found {
				break
			}
			n := 0
			switch {
			case strings.HasPrefix(after, "{") && strings.Contains(after, "}"):
				n = strings.IndexByte(after, '}') + 1
				b.WriteString(p.env[after[1:n-1]])
			case strings.HasPrefix(after, "?"):
				n = 1
				b.WriteString(strconv.Itoa(p.last))
			case strings.HasPrefix(after, "!"):
				n = 1
				b.WriteString(strconv.Itoa(p.lastJob))
			case strings.HasPrefix(after, "$"):
				n = 1
				b.WriteString(strconv.Itoa(p.shellPID))
			default:
				for n < len(after) && (after[n] == '_' || after[n] >= 'A' && after[n] <= 'Z' || after[n] >= 'a' && after[n] <= 'z' || n > 0 && after[n] >= '0' && after[n] <= '9') {
					n++
				}
				if n == 0 {
					b.WriteByte('$')
				}
				b.WriteString(p.env[after[:n]])
			}
			s = after[n:]
		}
	}
	return b.String()
}

// parser runs a script while it reads it. With skip set it only reads.
type parser struct {
	tokens []token
	pos    int
}

func (ps *parser) peek() string {
	if ps.pos < len(ps.tokens) {
		return ps.tokens[ps.pos].op
	}
	return "end"
}

func (ps *parser) accept(ops ...string) string {
	for _, op := range ops {
		if ps.peek() == op {
			ps.pos++
			return op
		}
	}
	return ""
}

// command is a parsed piece of a script.
type command func(p *proc) status

// word returns the next token if it is a word without quotes, else "".
func (ps *parser) word() string {
	if ps.peek() == "" {
		return ps.tokens[ps.pos].plain()
	}
	return ""
}

// list = and_or { (";" | "&" | newline) and_or }
func (ps *parser) list() (command, error) {
	var all []command
	for {
		for ps.accept(";", "\n") != "" {
		}
		if w := ps.word(); ps.peek() == "end" || ps.peek() == ")" || w == "do" || w == "done" {
			break
		}
		start := ps.pos
		cmd, err := ps.andOr()
		if err != nil {
			return nil, err
		}
		simple := ps.simpleSince(start)
		if ps.accept("&") != "" {
			inner := cmd
			cmd = func(p *proc) status {
				p.background(inner, simple)
				return status{}
			}
		} else if op := ps.peek(); op != ";" && op != "\n" && op != ")" && op != "end" {
			return nil, fmt.Errorf("unexpected %q", op)
		}
		all = append(all, cmd)
	}
	return func(p *proc) status {
		var st status
		for _, cmd := range all {
			if st, dead := p.dead(); dead {
				return st
			}
			st = cmd(p)
			p.last = st.code
			if st.exit {
				return st
			}
			if st, exit := p.handleSignals(); exit {
				return st
			}
		}
		return st
	}, nil
}

// simpleSince reports whether what was read since start is one command or one
// subshell: a job that needs no process beside its own.
func (ps *parser) simpleSince(start int) bool {
	depth := 0
	for i, t := range ps.tokens[start:ps.pos] {
		switch {
		case t.op == "(" && (depth > 0 || i == 0):
			depth++
		case t.op == ")":
			depth--
		case depth == 0 && slices.Contains([]string{"&&", "||", "|", "(", ";", "\n"}, t.op):
			return false
		}
	}
	return ps.tokens[start].plain() != "while"
}

// background runs a command as a job. It reads nothing, and what is typed does not
// interrupt it. A simple one is the job, others are run by it.
func (p *proc) background(cmd command, simple bool) {
	c := p.fork(p.args())
	c.direct = simple
	c.in = strings.NewReader("")
	c.self.ignore(int(syscall.SIGINT), int(syscall.SIGQUIT))
	p.lastJob = c.self.pid
	p.self.addJob(c.self)
	go func() {
		defer c.self.exit()
		cmd(c)
	}()
}

// handleSignals runs the traps of what was caught, and reports whether one of them
// ends the shell.
func (p *proc) handleSignals() (status, bool) {
	for {
		script := p.self.caught()
		if script == "" {
			return status{}, false
		}
		last := p.last
		if st := p.runHere(script); st.exit {
			return st, true
		}
		p.last = last
	}
}

// andOr = pipeline { ("&&" | "||") pipeline }
func (ps *parser) andOr() (command, error) {
	left, err := ps.pipeline()
	if err != nil {
		return nil, err
	}
	for {
		op := ps.accept("&&", "||")
		if op == "" {
			return left, nil
		}
		right, err := ps.pipeline()
		if err != nil {
			return nil, err
		}
		before := left
		left = func(p *proc) status {
			st := before(p)
			p.last = st.code
			if st.exit || (st.code == 0) != (op == "&&") {
				return st
			}
			return right(p)
		}
	}
}

// pipeline = simple { "|" simple }
func (ps *parser) pipeline() (command, error) {
	left, err := ps.simple()
	if err != nil {
		return nil, err
	}
	for ps.accept("|") != "" {
		right, err := ps.simple()
		if err != nil {
			return nil, err
		}
		before := left
		left = func(p *proc) status {
			pipe := newPipe()
			a, b := p.fork(p.args()), p.fork(p.args())
			a.out, b.in = end{pipe, a.self}, end{pipe, b.self}
			go func() {
				before(a)
				pipe.finish(io.EOF)
				a.self.exit()
			}()
			st := right(b)
			pipe.abandon(errPipe)
			b.self.exit()
			<-a.self.over
			return p.waited(st)
		}
	}
	return left, nil
}

type redirection struct {
	op string
	to token
}

// loop = "while" list "do" list "done"
func (ps *parser) loop() (command, error) {
	ps.pos++
	cond, err := ps.list()
	if err != nil {
		return nil, err
	}
	if ps.word() != "do" {
		return nil, fmt.Errorf("while without do")
	}
	ps.pos++
	body, err := ps.list()
	if err != nil {
		return nil, err
	}
	if ps.word() != "done" {
		return nil, fmt.Errorf("do without done")
	}
	ps.pos++
	return func(p *proc) status {
		for {
			if st := cond(p); st.exit {
				return st
			} else if st.code != 0 {
				return status{}
			}
			if st := body(p); st.exit {
				return st
			}
			if st, dead := p.dead(); dead {
				return st
			}
		}
	}, nil
}

// simple = loop | "(" list ")" redirections | { word | redirection }
func (ps *parser) simple() (command, error) {
	if ps.word() == "while" {
		return ps.loop()
	}
	var body command
	if ps.accept("(") != "" {
		inner, err := ps.list()
		if err != nil {
			return nil, err
		}
		if ps.accept(")") == "" {
			return nil, fmt.Errorf("an unclosed (")
		}
		body = func(p *proc) status {
			if p.direct {
				p.direct = false
				return inner(p)
			}
			c := p.fork(p.args())
			st := inner(c)
			c.self.exit()
			return p.waited(st)
		}
	}
	var words []token
	var redirections []redirection
	for {
		if op := ps.accept("2>&1", ">&2"); op != "" {
			redirections = append(redirections, redirection{op: op})
			continue
		}
		if op := ps.accept("2>", ">>", "<", ">"); op != "" {
			if ps.peek() != "" {
				return nil, fmt.Errorf("%s without a file", op)
			}
			redirections = append(redirections, redirection{op, ps.tokens[ps.pos]})
			ps.pos++
			continue
		}
		if ps.peek() != "" {
			break
		}
		words = append(words, ps.tokens[ps.pos])
		ps.pos++
	}
	switch {
	case body != nil && len(words) > 0:
		return nil, fmt.Errorf("a word after )")
	case body == nil && len(words) == 0:
		return nil, fmt.Errorf("a command is missing")
	}
	if len(words) > 0 {
		switch w := words[0].plain(); w {
		case "if", "for", "case", "until", "{", "function":
			return nil, fmt.Errorf("this shell does not know %q", w)
		}
		body = func(p *proc) status { return p.words(words) }
	}
	if len(redirections) == 0 {
		return body, nil
	}
	return func(p *proc) status { return p.redirected(body, redirections) }, nil
}

// words runs a simple command, or sets variables.
func (p *proc) words(words []token) status {
	set := map[string]string{}
	for len(words) > 0 && len(words[0].parts) > 0 && !words[0].parts[0].literal {
		name, _, found := strings.Cut(words[0].parts[0].text, "=")
		if !found || name == "" || strings.ContainsAny(name, "$[/.") {
			break
		}
		_, value, _ := strings.Cut(p.expand(words[0]), "=")
		set[name] = value
		words = words[1:]
	}
	if len(words) == 0 {
		maps.Copy(p.env, set)
		return status{}
	}
	var argv []string
	for _, w := range words {
		argv = append(argv, p.expand(w))
	}
	if builtin := builtins[argv[0]]; builtin != nil {
		return builtin(p, argv)
	}
	if inShell[argv[0]] {
		return commands[argv[0]](p, argv)
	}
	if p.direct {
		maps.Copy(p.env, set)
		return replace(p, append([]string{"exec"}, argv...))
	}
	c := p.fork(argv)
	maps.Copy(c.env, set)
	st := c.run(argv)
	if dead, yes := c.dead(); yes {
		st = dead
	}
	c.self.exit()
	return p.waited(st)
}

// waited is what the end of a child is to the shell that waited for it.
func (p *proc) waited(st status) status {
	st.exit, st.signal = false, 0
	if dead, yes := p.dead(); yes {
		return dead
	}
	return st
}

func (p *proc) redirected(body command, redirections []redirection) status {
	c := *p
	var files []*outFile
	for _, r := range redirections {
		switch r.op {
		case "2>&1":
			c.err = c.out
		case ">&2":
			c.out = c.err
		case "<":
			data, err := p.open(p.expand(r.to))
			if err != nil {
				fmt.Fprintln(p.err, "sh:", err)
				return status{code: 1}
			}
			c.in = data
		default:
			f, err := p.create(p.expand(r.to), r.op == ">>")
			if err != nil {
				fmt.Fprintln(p.err, "sh:", err)
				return status{code: 1}
			}
			files = append(files, f)
			if r.op == "2>" {
				c.err = f
			} else {
				c.out = f
			}
		}
	}
	st := body(&c)
	p.dir, p.env, p.lastJob = c.dir, c.env, c.lastJob
	for _, f := range files {
		if err := f.err; err != nil {
			fmt.Fprintln(p.err, "sh:", err)
			return status{code: 1}
		}
	}
	return st
}
