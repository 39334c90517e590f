package main

import (
	"context"
	"io"
	"net"
	"net/url"
	"os/exec"
	"sync"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// sshDialer reaches an engine as the docker command does: each connection is a
// `docker system dial-stdio` on its host. Keys, known hosts and jumps are ssh's
// and its configuration's; without a terminal it cannot ask for a password.
func sshDialer(host string) (func(ctx context.Context, network, addr string) (net.Conn, error), error) {
	u, err := url.Parse(host)
	bad := err != nil || u.Hostname() == "" || u.Hostname()[0] == '-' || u.Path != "" && u.Path != "/"
	if !bad && u.User != nil {
		_, withPassword := u.User.Password()
		bad = withPassword || u.User.Username() == ""
	}
	if bad {
		return nil, &backend.Error{Kind: backend.ErrInvalid, Path: "host", Message: "this is no address for ssh, or it holds a password", Hint: "write ssh://USER@HOST, or ssh://USER@HOST:PORT"}
	}
	args := []string{"-o", "BatchMode=yes", "-o", "ConnectTimeout=30", "-T"}
	if u.User != nil {
		args = append(args, "-l", u.User.Username())
	}
	if u.Port() != "" {
		args = append(args, "-p", u.Port())
	}
	args = append(args, "--", u.Hostname(), "docker", "system", "dial-stdio")
	return func(context.Context, string, string) (net.Conn, error) {
		return newPipeConn(exec.Command("ssh", args...))
	}, nil
}

// pipeConn is a connection over a program's stdin and stdout.
type pipeConn struct {
	io.WriteCloser
	io.Reader
	cmd *exec.Cmd

	once sync.Once
}

func newPipeConn(cmd *exec.Cmd) (net.Conn, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &pipeConn{WriteCloser: in, Reader: out, cmd: cmd}, nil
}

// CloseWrite ends what is written; what is read goes on.
func (c *pipeConn) CloseWrite() error { return c.WriteCloser.Close() }

// Close implements net.Conn and waits for the program, which it ends.
func (c *pipeConn) Close() error {
	c.once.Do(func() {
		_ = c.WriteCloser.Close()
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait() // it was killed: that is its status
	})
	return nil
}

// LocalAddr implements net.Conn.
func (c *pipeConn) LocalAddr() net.Addr { return pipeAddr{} }

// RemoteAddr implements net.Conn.
func (c *pipeConn) RemoteAddr() net.Addr { return pipeAddr{} }

// SetDeadline implements net.Conn. Close is what ends a call here.
func (c *pipeConn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (c *pipeConn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (c *pipeConn) SetWriteDeadline(time.Time) error { return nil }

var _ net.Conn = (*pipeConn)(nil)

type pipeAddr struct{}

func (pipeAddr) Network() string { return "ssh" }
func (pipeAddr) String() string  { return "ssh" }
