package jail

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
)

// commitLine is what the teller of a plan says when the other may go on: the
// keeper, that the first process is in its cgroups; the plugin, that it knows of
// the sandbox and keeps it. One that goes before it has said so wants nothing.
const commitLine = "commit\n"

// input is how a stage is told its plan and, later, to go on.
type input struct{ r *bufio.Reader }

func sendPlan(w io.Writer, p *Plan) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	_, err = w.Write(append(data, '\n'))
	return err
}

func sendCommit(w io.Writer) error {
	_, err := io.WriteString(w, commitLine)
	return err
}

func readPlan(r io.Reader, p *Plan) (*input, error) {
	in := &input{bufio.NewReader(r)}
	line, err := in.r.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	return in, json.Unmarshal(line, p)
}

// commit waits for the other's word. The error is io.EOF if it does not come.
func (in *input) commit() error {
	line, err := in.r.ReadString('\n')
	if err == nil && line != commitLine {
		err = fmt.Errorf("%q is no word to go on", line)
	}
	return err
}
