package tools

import (
	"context"
	"fmt"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

// killedInside is a shell's exit code when what it ran got a SIGKILL.
const killedInside = 128 + 9

// ending says how a command ended, and what to do about it; after is when its
// timeout was. Success says nothing.
func (s *Set) ending(ctx context.Context, sb backend.Sandbox, res *backend.ExecResult, after string) string {
	why := ""
	switch res.Outcome {
	case backend.OutcomeExit:
		if res.ExitCode == 0 {
			return ""
		}
		if res.ExitCode == killedInside {
			why = s.starved(ctx, sb)
		}
	case backend.OutcomeSignal:
		why = fmt.Sprintf(": it was killed by signal %d", res.Signal)
		if res.OOMPossible {
			why += "; it may have run out of memory" + memoryLimit(ctx, sb)
		}
	case backend.OutcomeOOM:
		why = ": it ran out of memory" + memoryLimit(ctx, sb) + ". Give it less to do at once."
	case backend.OutcomeTimeout:
		return fmt.Sprintf("Command failed (exit code 124): it timed out %s; all it had started was ended. Give it a longer timeout, or less to do.\n", after)
	case backend.OutcomeStartFailed:
		why = ": it could not be started: " + res.StartError
	case backend.OutcomeCancelled:
		return "Command was ended by kill, with all it had started.\n"
	default:
		return fmt.Sprintf("Command failed: %s\n", strings.ReplaceAll(string(res.Outcome), "_", " "))
	}
	return fmt.Sprintf("Command failed (exit code %d)%s\n", res.ExitCode, why)
}

// starved says that processes were killed for want of memory since it last said so.
func (s *Set) starved(ctx context.Context, sb backend.Sandbox) string {
	stats, err := sb.Stats(ctx, &backend.StatsRequest{})
	if err != nil {
		return "" // a guess less
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if stats.OOMKills <= s.oomKills {
		return ""
	}
	s.oomKills = stats.OOMKills
	return ": what it ran was killed, for want of memory as it seems" + limitOf(stats)
}

// memoryLimit is " (limit 1024 MiB)", "" where it is not known: that the memory
// did not suffice is true all the same.
func memoryLimit(ctx context.Context, sb backend.Sandbox) string {
	stats, err := sb.Stats(ctx, &backend.StatsRequest{})
	if err != nil {
		return ""
	}
	return limitOf(stats)
}

func limitOf(stats *backend.Stats) string {
	if stats.MemoryLimit <= 0 {
		return ""
	}
	return fmt.Sprintf(" (limit %s)", size(stats.MemoryLimit))
}
