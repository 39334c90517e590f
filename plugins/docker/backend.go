package main

import (
	"cmp"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/client"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// dockerBackend makes sandboxes with one engine.
type dockerBackend struct {
	*pluginsdk.EngineLifecycle
	config  Config
	env     pluginsdk.Env
	api     *client.Client
	address pluginsdk.EngineAddress

	mu    sync.Mutex
	known *facts
	// asked is when known was learnt.
	asked time.Time
}

var _ pluginsdk.Provisioner = (*dockerBackend)(nil)

// newBackend makes a client. It asks the engine nothing: one that is not there
// is for the first call to tell.
func newBackend(config Config, env pluginsdk.Env) (*dockerBackend, error) {
	config.Host = cmp.Or(config.Host, os.Getenv("DOCKER_HOST"), "unix:///var/run/docker.sock")
	opts := []client.Opt{client.WithAPIVersionNegotiation(), client.WithUserAgent("deep")}
	address := pluginsdk.EngineAddress{
		Engine: "Docker Engine", Address: config.Host,
		Start: "start it, as in `sudo systemctl start docker`, or install it, as in `sudo apt install docker.io`",
		Join:  "let this user use it, as in `sudo usermod -aG docker $USER`, and log in anew; members of that group are as good as root",
	}
	scheme, rest, _ := strings.Cut(config.Host, "://")
	switch scheme {
	case "unix":
		address.Socket = rest
		opts = append(opts, client.WithHost(config.Host))
	case "tcp":
		opts = append(opts, client.WithHost(config.Host))
		if config.TLSCA != "" || config.TLSCert != "" || config.TLSKey != "" {
			opts = append(opts, client.WithTLSClientConfig(config.TLSCA, config.TLSCert, config.TLSKey))
		}
	case "ssh":
		dial, err := sshDialer(config.Host)
		if err != nil {
			return nil, err
		}
		// The host name is for the HTTP header; the way there is the dialer's.
		opts = append(opts, client.WithHTTPClient(&http.Client{Transport: &http.Transport{DialContext: dial}}),
			client.WithHost("http://docker.example.invalid"), client.WithDialContext(dial))
	default:
		return nil, &backend.Error{Kind: backend.ErrInvalid, Path: "host",
			Message: backend.Printable(config.Host) + " is no address of an engine",
			Hint:    "write unix:///var/run/docker.sock, tcp://HOST:PORT or ssh://USER@HOST"}
	}
	api, err := client.NewClientWithOpts(opts...)
	if err != nil {
		return nil, &backend.Error{Kind: backend.ErrInvalid, Path: "host", Message: "this address cannot be used", Err: err}
	}
	b := &dockerBackend{config: config, env: env, api: api, address: address}
	b.EngineLifecycle = pluginsdk.NewEngineLifecycle(b)
	return b, nil
}

// Close implements pluginsdk.Provisioner.
func (b *dockerBackend) Close() error { return b.api.Close() }
