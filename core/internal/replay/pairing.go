package replay

// pairing checks that every tool call has exactly one result, between its own turn and whatever is said next. An agent
// that breaks this rule works until the first real endpoint, which refuses the conversation from then on.
func (d *requestDecoder) pairing(messages []message) {
	ids := map[string]bool{} // all of the conversation
	var open []call          // calls of the last assistant turn that wait for a result
	answered := map[string]bool{}

	for _, m := range messages {
		if m.role == "tool" {
			i := indexCall(open, m.callID)
			switch {
			case i >= 0:
				open = append(open[:i:i], open[i+1:]...)
				answered[m.callID] = true
			case answered[m.callID]:
				d.fail(m.callIDAt, "call %q has its result already", m.callID)
			case ids[m.callID]:
				d.fail(m.from, "the result of call %q does not follow the turn that made it", m.callID)
			default:
				d.fail(m.callIDAt, "no call has the id %q", m.callID)
			}
			continue
		}
		d.allAnswered(open)
		open = nil
		for _, c := range m.toolCalls {
			if ids[c.id] {
				d.fail(c.from, "the id %q was used for an earlier call", c.id)
			}
			ids[c.id] = true
			open = append(open, c)
		}
	}
	d.allAnswered(open)
}

func (d *requestDecoder) allAnswered(open []call) {
	if len(open) > 0 {
		d.fail(open[0].from, "call %q of %s has no result; each call wants one before the conversation goes on", open[0].id, open[0].name)
	}
}

func indexCall(calls []call, id string) int {
	for i, c := range calls {
		if c.id == id {
			return i
		}
	}
	return -1
}
