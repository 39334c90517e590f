package tools_test

import (
	"strings"
	"testing"
)

func TestTodos(t *testing.T) {
	b := newBench(t)
	b.ok("read_todos", m{}, "There is no plan.\n")
	b.ok("write_todos", `{"todos":[{"content":"plan","status":"completed"},{"content":"write","status":"in_progress"},{"content":"run","status":"pending"}]}`,
		"[x] plan\n[~] write\n[ ] run\n")
	b.ok("read_todos", m{}, "[x] plan\n[~] write\n[ ] run\n")
	if todos := b.State().Todos; len(todos) != 3 || todos[1].Status != "in_progress" {
		t.Errorf("State().Todos = %+v", todos)
	}

	b.fails("write_todos", m{}, "todos is required. Usage: write_todos(todos=[{content, status}])")
	b.fails("write_todos", `{"todos":{"a":1}}`, "The arguments cannot be used: todos must be an array, not object. Usage: write_todos(todos=[{content, status}])")
	b.fails("write_todos", `{"todos":[{"content":"x","status":"done"}]}`, `todo 1 has the status "done"; it is one of pending, in_progress, completed.`)
	b.fails("write_todos", `{"todos":[{"content":" ","status":"pending"}]}`, `todo 1 has no content.`)
	many := `{"todos":[` + strings.TrimSuffix(strings.Repeat(`{"content":"x","status":"pending"},`, 101), ",") + `]}`
	b.fails("write_todos", many, "101 todos are more than the 100 there may be: join steps.")
	b.ok("read_todos", m{}, "[x] plan\n[~] write\n[ ] run\n") // a refused plan changes nothing

	b.ok("write_todos", `{"todos":[]}`, "There is no plan.\n")
}
