package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Todo is one step of the model's plan.
type Todo struct {
	Content string `json:"content"`
	// Status is "pending", "in_progress" or "completed".
	Status string `json:"status"`
}

// maxTodos keeps a plan something a person can read.
const maxTodos = 100

var statuses = []string{"pending", "in_progress", "completed"}

var marks = map[string]string{"pending": "[ ]", "in_progress": "[~]", "completed": "[x]"}

var writeTodosTool = tool{
	spec: Spec{
		Name:        "write_todos",
		Description: "Write down the plan for the task, replacing the one before. Use it for tasks of several steps, and again as steps are completed.",
		Parameters: json.RawMessage(`{"type":"object","properties":{
			"todos":{"type":"array","maxItems":100,"items":{"type":"object","properties":{
				"content":{"type":"string"},
				"status":{"type":"string","enum":["pending","in_progress","completed"]}
			},"required":["content","status"],"additionalProperties":false}}
		},"required":["todos"],"additionalProperties":false}`),
	},
	call: (*Set).writeTodos,
}

var readTodosTool = tool{
	spec: Spec{
		Name:        "read_todos",
		Description: "Read the plan as it was last written.",
		Parameters:  json.RawMessage(`{"type":"object","properties":{},"additionalProperties":false}`),
	},
	call: (*Set).readTodos,
}

func (s *Set) writeTodos(_ context.Context, raw json.RawMessage) (Answer, error) {
	const usage = "write_todos(todos=[{content, status}])"
	var args struct {
		Todos *[]Todo `json:"todos"`
	}
	if a, ok := decode(raw, &args, usage); !ok {
		return a, nil
	}
	if args.Todos == nil {
		return failed("todos is required. Usage: %s", usage), nil
	}
	todos := *args.Todos
	if len(todos) > maxTodos {
		return failed("%d todos are more than the %d there may be: join steps.", len(todos), maxTodos), nil
	}
	for i, t := range todos {
		if strings.TrimSpace(t.Content) == "" {
			return failed("todo %d has no content.", i+1), nil
		}
		if !slices.Contains(statuses, t.Status) {
			return failed("todo %d has the status %q; it is one of %s.", i+1, t.Status, strings.Join(statuses, ", ")), nil
		}
	}
	s.mu.Lock()
	s.state.Todos = slices.Clone(todos)
	s.mu.Unlock()
	return Answer{Text: FormatTodos(todos)}, nil
}

func (s *Set) readTodos(_ context.Context, raw json.RawMessage) (Answer, error) {
	if a, ok := decode(raw, &struct{}{}, "read_todos()"); !ok {
		return a, nil
	}
	return Answer{Text: FormatTodos(s.State().Todos)}, nil
}

// FormatTodos returns a plan, a line a step.
func FormatTodos(todos []Todo) string {
	if len(todos) == 0 {
		return "There is no plan.\n"
	}
	var b strings.Builder
	for _, t := range todos {
		fmt.Fprintf(&b, "%s %s\n", marks[t.Status], t.Content)
	}
	return b.String()
}
