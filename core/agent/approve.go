package agent

import "context"

// decide asks for what is not decided yet, all of it at once.
func (r *run) decide(ctx context.Context) error {
	pending := r.state.Pending()
	if len(pending) > 0 {
		r.emit(Event{Type: EventAsk, Calls: pending})
		if r.config.Approve != nil {
			decisions, err := r.config.Approve(ctx, pending)
			if err == nil {
				err = ctx.Err()
			}
			if err == nil {
				err = r.state.Decide(decisions)
			}
			if err == nil {
				err = r.save(ctx)
			}
			if err != nil {
				return err
			}
		}
	}
	if len(r.state.Pending()) > 0 {
		return &stop{StatusWaiting, "it waits for a decision on its calls"}
	}
	for i := range r.state.Open {
		if o := &r.state.Open[i]; o.Decision != nil && o.Answer == nil {
			r.emit(Event{Type: EventApproval, Call: &o.Call, Decision: o.Decision})
		}
	}
	return nil
}

// denied is what the model hears of a call that somebody denied.
func denied(d *Decision) string {
	const final = " This is final: do not try to do the same in another way."
	if d.Reason == "" {
		return "Denied by the user." + final
	}
	return "Denied by the user: " + d.Reason + "\n" + final[1:]
}
