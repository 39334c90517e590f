package host

import (
	"context"
	"io"

	"github.com/deep-sandbox/deep/core/backend"
)

// explainedReader tells of a crash in the middle of what is read.
type explainedReader struct {
	io.ReadCloser
	ctx      context.Context
	instance *instance
}

func (r *explainedReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err == nil || err == io.EOF { //nolint:errorlint // io.Reader returns it bare
		return n, err
	}
	return n, r.instance.explain(r.ctx, err)
}

// explainedConn tells of a crash in the middle of a connection.
type explainedConn struct {
	backend.Conn
	ctx      context.Context
	instance *instance
}

func (c *explainedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == nil || err == io.EOF { //nolint:errorlint // io.Reader returns it bare
		return n, err
	}
	return n, c.instance.explain(c.ctx, err)
}

func (c *explainedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	return n, c.instance.explain(c.ctx, err)
}
