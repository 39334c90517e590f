package replay

import "testing"

// Neither reader may panic, and an error must point into the text.
func FuzzInput(f *testing.F) {
	for _, seed := range []string{
		"", " ", "{", `{"version":1,"steps":[{"reply":{"content":"a"}}]}`, `{"a":{"a":1,"a":[1,{}]}}`, `"x"`, "[1 , 2\n]", "\xff",
		`{"model":"m","messages":[{"role":"user","content":"x"},{"role":"tool","tool_call_id":"a","content":"r"}]}`,
		`{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"ls","arguments":""}}]}]}`,
		`{"version":1,"steps":[{"error":{"status":500,"body":null,"times":3},"expect":{"user":{"matches":"("}}}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		rec, mistake := decodeRecording(src)
		if mistake != nil {
			if line, column := position(src, mistake.at); line < 1 || column < 1 {
				t.Errorf("points at %d:%d", line, column)
			}
		} else if len(rec.Steps) == 0 {
			t.Error("a recording without steps")
		}
		req, mistake := readRequest(src)
		if mistake == nil && (len(req.messages) == 0 || req.model == "") {
			t.Errorf("took %q", src)
		}
	})
}
