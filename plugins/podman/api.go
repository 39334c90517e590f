package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/containers/podman/v5/pkg/bindings"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/pluginsdk"
)

// call is the context of one call with the connection that the bindings look
// for in a context's values.
type call struct {
	context.Context
	conn context.Context // its values, not its end
}

// Value implements context.Context.
func (c call) Value(key any) any {
	if v := c.Context.Value(key); v != nil {
		return v
	}
	return c.conn.Value(key)
}

// api returns ctx with the connection to the service, which it makes the first
// time: the bindings ask for the version then.
func (b *podmanBackend) api(ctx context.Context) (context.Context, error) {
	b.mu.Lock()
	conn := b.conn
	b.mu.Unlock()
	if conn != nil {
		return call{ctx, conn}, nil
	}
	type answer struct {
		conn context.Context
		err  error
	}
	// The bindings wait for an ssh connection without an eye on ctx.
	done := make(chan answer, 1)
	go func() {
		conn, err := bindings.NewConnectionWithOptions(ctx, bindings.Options{URI: b.config.Host, Identity: b.config.SSHKey})
		done <- answer{conn, err}
	}()
	select {
	case a := <-done:
		switch {
		case a.err != nil && ctx.Err() != nil:
			return nil, b.failure(ctx.Err(), "")
		case a.err != nil:
			return nil, b.address.Unreachable(a.err)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.conn == nil {
			b.conn = context.WithoutCancel(a.conn)
		}
		return call{ctx, b.conn}, nil
	case <-ctx.Done():
		return nil, b.failure(ctx.Err(), "")
	}
}

// disconnect lets go of the connection; the next call makes another.
func (b *podmanBackend) disconnect() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn == nil {
		return
	}
	if conn, err := bindings.GetClient(b.conn); err == nil {
		conn.Client.CloseIdleConnections()
	}
	b.conn = nil
}

// attach starts an exec and returns its stream. The bindings' own attach is of no
// use: it swaps the transport of the shared client, drops what was read ahead,
// and cannot be closed from outside.
func (b *podmanBackend) attach(api context.Context, exec string, log func(string)) (*pluginsdk.EngineStream, error) {
	client, err := bindings.GetClient(api)
	if err != nil {
		return nil, err
	}
	conn, err := client.GetDialer(api)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(api, func() { _ = conn.Close() })
	reader, err := upgrade(conn, "/v4.0.0/libpod/exec/"+exec+"/start", []byte(`{"Detach":false,"Tty":false}`))
	if !stop() {
		err = api.Err()
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return pluginsdk.NewEngineStream(conn, reader, log), nil
}

// upgradeTimeout bounds the service's answer to an attach.
const upgradeTimeout = 30 * time.Second

// upgrade sends a request that turns conn into a stream of its own, of which
// the reader holds what came with the answer.
func upgrade(conn net.Conn, path string, body []byte) (*bufio.Reader, error) {
	if err := conn.SetDeadline(time.Now().Add(upgradeTimeout)); err != nil {
		return nil, err
	}
	req, err := http.NewRequest(http.MethodPost, "http://d"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "tcp")
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	reader := bufio.NewReaderSize(conn, 64<<10)
	resp, err := http.ReadResponse(reader, req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		defer func() { _ = resp.Body.Close() }()
		return nil, (&bindings.APIResponse{Response: resp, Request: req}).Process(nil)
	}
	return reader, conn.SetDeadline(time.Time{})
}

// dockerAPI sends a request to the part of the service that speaks Docker's API:
// only there a pull tells of bytes. The caller closes the answer's body.
func (b *podmanBackend) dockerAPI(api context.Context, path string, header http.Header) (*http.Response, error) {
	client, err := bindings.GetClient(api)
	if err != nil {
		return nil, err
	}
	host := "http://d"
	if client.URI.Scheme == "tcp" {
		host = "http://" + client.URI.Host
	}
	req, err := http.NewRequestWithContext(api, http.MethodPost, host+"/v1.41"+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header = header
	resp, err := client.Client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		defer func() { _ = resp.Body.Close() }()
		answer := &bindings.APIResponse{Response: resp, Request: req}
		if err := answer.Process(nil); err != nil {
			return nil, err
		}
		return nil, &backend.Error{Kind: backend.ErrUnavailable, Message: fmt.Sprintf("the Podman service answered %s", resp.Status)}
	}
	return resp, nil
}
