package guest

import (
	"context"
	"sync"
)

// fileKey names an entry of a directory, whatever path leads to it.
type fileKey struct {
	dev, ino uint64 // of the directory
	name     string
}

// fileLocks let one writer at a time replace a file, so that of two edits the
// second sees what the first wrote.
type fileLocks struct {
	mu   sync.Mutex
	held map[fileKey]*fileLock
}

type fileLock struct {
	turn  chan struct{} // holds one token while nobody has the lock
	users int
}

func newFileLocks() *fileLocks { return &fileLocks{held: map[fileKey]*fileLock{}} }

// lock waits for its turn, or for ctx. unlock is to be called if err is nil.
func (l *fileLocks) lock(ctx context.Context, key fileKey) (unlock func(), err error) {
	l.mu.Lock()
	f := l.held[key]
	if f == nil {
		f = &fileLock{turn: make(chan struct{}, 1)}
		f.turn <- struct{}{}
		l.held[key] = f
	}
	f.users++
	l.mu.Unlock()
	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if f.users--; f.users == 0 {
			delete(l.held, key)
		}
	}
	select {
	case <-f.turn:
		return func() {
			f.turn <- struct{}{}
			leave()
		}, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
