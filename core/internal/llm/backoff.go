package llm

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// delay is the wait after the given failed try, counted from 1. What the endpoint asks for wins, up to its cap: asking
// again sooner is refused anyhow. Otherwise it is exponential, and half of it random, so that many runs thrown back by
// one outage do not return as one crowd.
func (c Config) delay(try int, asked time.Duration) time.Duration {
	if asked > 0 {
		return min(asked, c.MaxRetryAfter)
	}
	d := c.BackOff
	for range try - 1 {
		if d >= c.MaxBackOff {
			break
		}
		d *= 2
	}
	d = min(d, c.MaxBackOff)
	return d/2 + rand.N(d/2+1)
}

// retryAfter reads how long the endpoint wants us to wait: milliseconds, seconds or a date. Zero if it does not say, or
// says nonsense.
func retryAfter(h http.Header) time.Duration {
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil {
		return positive(ms, time.Millisecond)
	}
	value := h.Get("Retry-After")
	if s, err := strconv.ParseFloat(value, 64); err == nil {
		return positive(s, time.Second)
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(date))
	}
	return 0
}

// positive is n units, with bounds that keep the multiplication from overflowing.
func positive(n float64, unit time.Duration) time.Duration {
	if !(n > 0) { // also not a number
		return 0
	}
	return time.Duration(min(n*float64(unit), float64(24*time.Hour)))
}

// sleep waits for d, or less if ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
