package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/deep-sandbox/deep/core/backend"
)

const (
	streamRounds = 5
	streamSize   = 256 << 20
)

// zeros is content of a size.
func zeros(n int64) io.Reader { return io.LimitReader(zeroReader{}, n) }

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// stream measures 256 MiB each way, to a file that is synced, against what an exec of cat
// by the engine moves.
func stream(ctx context.Context, name string, sb backend.Sandbox, e *engine) ([]Row, error) {
	const path = "stream"
	write := func() error {
		_, err := sb.WriteFile(ctx, &backend.WriteFileRequest{Path: path, Content: zeros(streamSize)})
		return err
	}
	read := func() error {
		f, err := sb.ReadFile(ctx, &backend.ReadFileRequest{Path: path})
		if err != nil {
			return err
		}
		n, err := io.Copy(io.Discard, f)
		if n != streamSize {
			err = errors.Join(err, fmt.Errorf("read %d bytes", n))
		}
		return errors.Join(err, f.Close())
	}
	var ourWrite, ourRead, theirWrite, theirRead sample
	for range streamRounds {
		if err := errors.Join(ourWrite.time(write), ourRead.time(read)); err != nil {
			return nil, err
		}
		if e == nil {
			continue
		}
		err := errors.Join(
			theirWrite.time(func() error { return e.feed(ctx, zeros(streamSize), "sh", "-c", "cat > /stream") }),
			theirRead.time(func() error { return e.exec(ctx, "cat", "/stream") }),
		)
		if err != nil {
			return nil, err
		}
	}
	_, err := sb.WriteFile(ctx, &backend.WriteFileRequest{Path: path, Content: bytes.NewReader(nil)})
	return []Row{
		compare("stream-write-256m", name, ourWrite, theirWrite), compare("stream-read-256m", name, ourRead, theirRead),
	}, err
}
