package llm

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// DefaultBaseURL is where a configuration that names no endpoint goes.
const DefaultBaseURL = "https://api.openai.com/v1"

// Config describes an endpoint and how patient to be with it. The zero value of each field has a default.
type Config struct {
	// BaseURL is the address in front of /chat/completions: http or https, without user, query or fragment.
	BaseURL string

	// APIKey is sent as a bearer token; empty sends none, which is what local servers want.
	APIKey string

	// UserAgent names the caller; "deep" if empty.
	UserAgent string

	// MaxTries counts the first try too; 4 if zero, so 1 turns retries off.
	MaxTries int

	// BackOff is the first wait between tries, doubled for each further one up to MaxBackOff; 500 ms and 30 s if zero.
	BackOff, MaxBackOff time.Duration

	// MaxRetryAfter caps the wait an endpoint may ask for in Retry-After; 2 minutes if zero.
	MaxRetryAfter time.Duration

	// HeaderTimeout bounds connecting, sending and the wait for the response's header; IdleTimeout the silence between
	// two events after it. Both 5 minutes if zero: a reasoning model may well think that long. Keep-alive comments are not
	// events, or an endpoint that only ever says it is alive would never end.
	HeaderTimeout, IdleTimeout time.Duration

	// NoStreamUsage leaves out stream_options, for old servers that refuse it. Usage is then unreported.
	NoStreamUsage bool

	// OnRetry, if set, is called before each wait, on the goroutine that called Complete.
	OnRetry func(Retry)
}

// Retry tells that a try failed and another follows.
type Retry struct {
	// Try is the one that failed, counted from 1, of MaxTries.
	Try, MaxTries int

	// Wait is the time until the next.
	Wait time.Duration

	// Err is why it failed; an [*Error].
	Err error
}

// checked returns c with defaults filled in, or what is wrong with it.
func (c Config) checked() (Config, error) {
	base, err := checkBaseURL(cmp.Or(c.BaseURL, DefaultBaseURL))
	if err != nil {
		return c, err
	}
	c.BaseURL = base
	if err := checkAPIKey(c.APIKey); err != nil {
		return c, err
	}
	if c.MaxTries < 0 {
		return c, configError("max tries is negative", "use 1 for no retries, 0 for the default")
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"back-off", &c.BackOff, 500 * time.Millisecond},
		{"largest back-off", &c.MaxBackOff, 30 * time.Second},
		{"largest Retry-After", &c.MaxRetryAfter, 2 * time.Minute},
		{"header timeout", &c.HeaderTimeout, 5 * time.Minute},
		{"idle timeout", &c.IdleTimeout, 5 * time.Minute},
	} {
		if *d.value < 0 {
			return c, configError(d.name+" is negative", "use a positive duration, or 0 for the default")
		}
		*d.value = cmp.Or(*d.value, d.def)
	}
	c.UserAgent = cmp.Or(c.UserAgent, "deep")
	c.MaxTries = cmp.Or(c.MaxTries, 4)
	return c, nil
}

// checkBaseURL returns base without a trailing slash. User and query are refused because both are where people put
// secrets, and the URL is printed in errors.
func checkBaseURL(base string) (string, error) {
	u, err := url.Parse(base)
	if err != nil {
		// The parser's own text quotes the URL, password and all.
		return "", configError("base_url is not a URL", "write it as in "+DefaultBaseURL)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return "", configError(fmt.Sprintf("base_url has the scheme %q", u.Scheme), "use http:// or https://")
	case u.Hostname() == "":
		return "", configError("base_url names no host", "write it as in "+DefaultBaseURL)
	case u.User != nil:
		return "", configError("base_url holds a user or password", "remove it and set the API key instead")
	case u.RawQuery != "" || u.ForceQuery:
		return "", configError("base_url has a query", "remove everything from the ? on")
	case u.Fragment != "":
		return "", configError("base_url has a fragment", "remove everything from the # on")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// checkAPIKey refuses what cannot stand in a header, nearly always a line end copied along from a file.
func checkAPIKey(key string) error {
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' {
			return configError(fmt.Sprintf("the API key has a blank, line end or non-ASCII character at byte %d", i),
				"copy it again, without anything around it")
		}
	}
	return nil
}

func configError(what, remedy string) *Error {
	return &Error{Kind: ErrConfig, Message: what, Remedy: remedy}
}
