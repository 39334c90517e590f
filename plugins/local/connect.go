package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/pluginsdk"
	"github.com/deep-sandbox/deep/plugins/local/internal/jail"
)

// Connect implements pluginsdk.Provisioner: straight to the guest's socket, which
// is on this side of the sandbox.
func (b *localBackend) Connect(ctx context.Context, id string) (io.ReadWriteCloser, error) {
	dir, err := os.Open(b.dir(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, pluginsdk.Gone(id)
	}
	if err != nil {
		return nil, failure(err, id)
	}
	defer func() { _ = dir.Close() }()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socketIn(dir))
	switch {
	case err == nil:
		return conn, nil
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return nil, pluginsdk.Gone(id)
	case ctx.Err() != nil:
		return nil, ctxError(ctx, id)
	}
	return nil, failure(err, id)
}

// socketIn names the guest's socket by a descriptor of its directory: an address
// holds 107 bytes, which a state directory alone may exceed.
func socketIn(dir *os.File) string {
	return filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), jail.SocketFile)
}

// listen makes the guest's socket in dir and returns its descriptor.
func listen(dir string) (*os.File, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = d.Close() }()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socketIn(d), Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	return f, errors.Join(err, l.Close())
}
