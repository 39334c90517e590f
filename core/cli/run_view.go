package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/deep-sandbox/deep/core/agent"
	"github.com/deep-sandbox/deep/core/backend"
)

const (
	// shownLines and shownBytes of one command's output are shown as it comes. All
	// of it is the model's to read, and no person reads more.
	shownLines = 200
	shownBytes = 32 << 10
)

// A runView shows a run: as JSON lines, as text, or only its end.
type runView struct {
	runner *runner
	out    io.Writer
	flags  *outputFlags
	paint  palette
	// stop ends the run when nobody reads any more.
	stop func(error)
	err  error

	// text escapes what the model says, piece by piece.
	text *escaper
	// open reports that the last line has no end yet.
	open    bool
	command *commandView
	// shown are the calls that were, denied those whose answer says nothing new.
	shown, denied map[string]bool
}

func newRunView(r *runner, flags *outputFlags, stop func(error)) *runView {
	v := &runView{runner: r, out: r.app.Out, flags: flags, stop: stop, paint: palette(colourful(r.app.Out)), shown: map[string]bool{}, denied: map[string]bool{}}
	v.text = &escaper{w: writerFunc(v.write)}
	return v
}

type writerFunc func(string) error

func (f writerFunc) Write(p []byte) (int, error) { return len(p), f(string(p)) }

// write writes to standard output, until that fails.
func (v *runView) write(s string) error {
	if v.err != nil || s == "" {
		return v.err
	}
	v.open = !strings.HasSuffix(s, "\n")
	if _, err := io.WriteString(v.out, s); err != nil {
		v.err = err
		v.stop(err)
	}
	return v.err
}

func (v *runView) printf(format string, args ...any) { _ = v.write(fmt.Sprintf(format, args...)) }

// line ends a line that is open.
func (v *runView) line() {
	_ = v.text.flush()
	if v.open {
		_ = v.write("\n")
	}
}

// begin tells which run it is.
func (v *runView) begin() {
	run := v.runner.run
	switch {
	case v.flags.json:
		v.json(map[string]string{"type": "run", "id": run.ID, "backend": run.Backend, "model": run.Model})
	case !v.flags.quiet:
		v.printf("%s\n", v.paint.dim(escapeLine(fmt.Sprintf("run %s on %s, model %s", run.ID, run.Backend, run.Model))))
	}
}

func (v *runView) json(value any) {
	line, err := json.Marshal(value)
	if err != nil {
		v.err = err
		v.stop(err)
		return
	}
	_ = v.write(string(line) + "\n")
}

// event shows one event of the run.
func (v *runView) event(e agent.Event) {
	switch {
	case v.flags.json:
		v.json(e)
	case v.flags.quiet:
		if e.Type == agent.EventEnd && e.Result.Output != "" {
			_, _ = io.WriteString(v.text, e.Result.Output)
			v.line()
		}
	default:
		v.show(e)
	}
}

// show shows an event as text.
func (v *runView) show(e agent.Event) {
	switch e.Type {
	case agent.EventText:
		_, _ = io.WriteString(v.text, e.Text)
	case agent.EventMessage, agent.EventAsk:
		v.line()
	case agent.EventRetry:
		v.line()
		wait := time.Duration(e.Retry.WaitMS) * time.Millisecond
		v.printf("%s\n", v.paint.yellow(escapeLine(fmt.Sprintf("try %d of %d failed, again in %s: %s", e.Retry.Try, e.Retry.MaxTries, round(wait), firstLine(e.Text)))))
	case agent.EventPlan:
		v.printf("Plan:\n")
		for _, todo := range e.Todos {
			v.printf("  %s %s\n", marks[todo.Status], escapeLine(todo.Content))
		}
	case agent.EventCall:
		v.call(e.Call)
		v.command = &commandView{view: v}
	case agent.EventApproval:
		if !e.Decision.Approve {
			v.call(e.Call)
			v.denied[e.Call.ID] = true
			v.printf("  %s\n", v.paint.yellow("denied"+reason(e.Decision.Reason)))
		}
	case agent.EventAnswer:
		v.answer(e)
	case agent.EventEnd:
		v.line()
		r := e.Result
		v.printf("%s\n", v.paint.dim(fmt.Sprintf("%s: %s, %s, %s", r.Status, count(r.Turns, "turn"), count(r.ToolCalls, "tool call"), count(int(r.Usage.Total), "token"))))
	}
}

var marks = map[string]string{"pending": "[ ]", "in_progress": "[~]", "completed": "[x]"}

func reason(s string) string {
	if s == "" {
		return ""
	}
	return ": " + escapeLine(s)
}

// call names a call, once: one that was denied, or was on its way when deep was
// killed, is not run, and would be an answer to nothing.
func (v *runView) call(c *agent.Call) {
	v.line()
	if !v.shown[c.ID] && c.Tool != "write_todos" { // the plan says it all
		v.printf("%s\n", v.paint.bold(escape(describeCall(*c))))
	}
	v.shown[c.ID] = true
}

// answer shows what came of a call, as far as it was not seen.
func (v *runView) answer(e agent.Event) {
	if v.command != nil {
		v.command.end()
		v.command = nil
	}
	v.call(e.Call)
	if e.Exec != nil && e.Call.Tool == "execute" {
		if e.Failed {
			v.printf("  %s\n", v.paint.red(escapeLine(howEnded(e.Exec))))
		}
		return
	}
	if v.denied[e.Call.ID] || e.Call.Tool == "write_todos" && !e.Failed {
		return
	}
	text := "  " + escapeLine(firstLine(e.Text))
	if e.Failed {
		v.printf("%s\n", v.paint.red(text))
	} else {
		v.printf("%s\n", v.paint.dim(text))
	}
}

// howEnded is the end of a command in a few words.
func howEnded(x *agent.Exec) string {
	switch {
	case x.StartError != "":
		return x.StartError
	case x.Outcome == backend.OutcomeTimeout:
		return "timed out, ended after " + round(time.Duration(x.DurationMS)*time.Millisecond).String()
	case x.Outcome == backend.OutcomeExit:
		return fmt.Sprintf("exit code %d", x.ExitCode)
	case x.Outcome == backend.OutcomeSignal && x.OOMPossible:
		return fmt.Sprintf("killed by signal %d; it may have run out of memory", x.Signal)
	case x.Outcome == backend.OutcomeSignal:
		return fmt.Sprintf("killed by signal %d", x.Signal)
	case x.Outcome == backend.OutcomeOOM:
		return "ran out of memory"
	}
	return strings.ReplaceAll(string(x.Outcome), "_", " ")
}

// firstLine returns the first line of a text, and that there is more.
func firstLine(s string) string {
	line, rest, _ := strings.Cut(strings.TrimSpace(s), "\n")
	const most = 200
	if runes := []rune(line); len(runes) > most {
		line, rest = string(runes[:most]), "more"
	}
	if strings.TrimSpace(rest) != "" {
		line += " …"
	}
	return line
}

// output returns the writer for the output of commands, nil where it is not
// shown.
func (v *runView) output() io.Writer {
	if v.flags.json || v.flags.quiet {
		return nil
	}
	return outputWriter{v}
}

type outputWriter struct{ view *runView }

func (w outputWriter) Write(p []byte) (int, error) {
	if c := w.view.command; c != nil {
		c.write(p)
	}
	return len(p), w.view.err
}

// A commandView shows the output of one command, a bar before each line, up to a
// limit.
type commandView struct {
	view    *runView
	escaper *escaper
	lines   int
	shown   int
	hidden  int64
	// begun reports that the current line has its bar.
	begun bool
}

func (c *commandView) write(p []byte) {
	if c.escaper == nil {
		c.escaper = &escaper{w: writerFunc(c.print)}
	}
	if c.lines >= shownLines || c.shown >= shownBytes {
		c.hidden += int64(len(p))
		return
	}
	room := min(len(p), shownBytes-c.shown)
	c.hidden += int64(len(p) - room)
	c.shown += room
	_, _ = c.escaper.Write(p[:room])
}

// print puts a bar before each line of text that is escaped already.
func (c *commandView) print(s string) error {
	for line := range strings.Lines(s) {
		if c.lines >= shownLines {
			c.hidden += int64(len(line))
			continue
		}
		if !c.begun {
			_ = c.view.write("  | ")
		}
		_ = c.view.write(line)
		c.begun = !strings.HasSuffix(line, "\n")
		if !c.begun {
			c.lines++
		}
	}
	return c.view.err
}

func (c *commandView) end() {
	if c.escaper != nil {
		_ = c.escaper.flush()
	}
	c.view.line()
	if c.hidden > 0 {
		c.view.printf("  | %s\n", c.view.paint.dim(fmt.Sprintf("… %d more bytes, which the model got", c.hidden)))
	}
}
