package guest

import (
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// spoolBlock is what the spool hands out at once, in bytes.
const spoolBlock = 4096

// spool keeps the newest output of all execs, for whoever asks later. It is a
// ring of blocks in a file in memory, which the kernel counts to the sandbox and
// not to the guest, and which takes its size only as it is written. A stream that
// has filled its last block gets the next of the ring: the one handed out longest
// ago, whose owner loses what is in it. So the oldest goes for the newest, and
// what has to be remembered of 64 MiB are 16,384 owners.
//
// The lock is held over the copying, 5 µs for 32 KiB: but for it, each command
// that writes would block a thread of its own there.
type spool struct {
	mu     sync.Mutex
	fd     int // -1 until there is something to keep, or when it is closed
	closed bool
	blocks int
	// owners of the blocks, by their place in the ring; it grows in the first
	// round. nil owns one that was given back.
	owners []*kept
	next   int   // place of the block to hand out next
	used   int64 // bytes kept
}

func newSpool(budget int64) *spool {
	return &spool{fd: -1, blocks: int(max(1, budget/spoolBlock))}
}

// usage is how many bytes are kept, and at most.
func (s *spool) usage() (used, limit int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used, int64(s.blocks) * spoolBlock
}

func (s *spool) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.fd < 0 {
		return nil
	}
	fd := s.fd
	s.fd = -1
	return unix.Close(fd)
}

// open makes the file when the first byte comes.
func (s *spool) open() error {
	if s.closed {
		return unix.EBADF
	}
	if s.fd >= 0 {
		return nil
	}
	fd, err := unix.MemfdCreate("kept-output", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	s.fd = fd
	return nil
}

// take hands the next block to k.
func (s *spool) take(k *kept) {
	at := s.next
	s.next = (at + 1) % s.blocks
	if at == len(s.owners) {
		s.owners = append(s.owners, k)
	} else {
		if owner := s.owners[at]; owner != nil {
			owner.dropBlock()
		}
		s.owners[at] = k
	}
	if len(k.places) == 0 {
		k.base = k.end / spoolBlock
	}
	k.places = append(k.places, int32(at))
}

// kept is what is kept of one stream of an exec. The spool's lock guards it. One
// that stays empty costs nothing more.
type kept struct {
	spool *spool
	// first is the offset of the first byte that is kept, end of the one that is
	// still to come.
	first, end int64
	// places of its blocks in the ring, the oldest first, that one being number
	// base of the stream.
	places []int32
	base   int64
	popped int // places in front of places, in the same memory
	over   bool
	// changed is there while somebody waits for more, and then closed.
	changed chan struct{}
}

// write keeps p. What the kernel has no memory for is lost, and with it what came
// before: a reader is told.
func (k *kept) write(p []byte) {
	s := k.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.open()
	for len(p) > 0 && err == nil {
		if k.room() == 0 {
			s.take(k)
		}
		last := int(k.places[len(k.places)-1])
		offset := int64(last)*spoolBlock + k.end%spoolBlock
		n := int(k.room())
		// What goes on right behind it in the file is written at once.
		for ; n < len(p) && s.next == last+1; n += spoolBlock {
			s.take(k)
			last++
		}
		n = min(n, len(p))
		if err = writeAt(s.fd, p[:n], offset); err == nil {
			k.end += int64(n)
			s.used += int64(n)
			p = p[n:]
		}
	}
	if err != nil {
		k.dropAll()
		k.end += int64(len(p))
		k.first = k.end
	}
	k.wake()
}

func writeAt(fd int, p []byte, offset int64) error {
	for len(p) > 0 {
		n, err := unix.Pwrite(fd, p, offset)
		if err != nil && err != unix.EINTR {
			return err
		}
		n = max(0, n)
		p, offset = p[n:], offset+int64(n)
	}
	return nil
}

// room is what still goes into the last block.
func (k *kept) room() int64 {
	if len(k.places) == 0 {
		return 0
	}
	return (k.base+int64(len(k.places)))*spoolBlock - k.end
}

// dropBlock lets go of the oldest block.
func (k *kept) dropBlock() {
	k.places = k.places[1:]
	k.base++
	first := min(k.base*spoolBlock, k.end)
	k.spool.used -= first - k.first
	k.first = first
	if k.popped++; k.popped > len(k.places)+16 {
		// The memory in front.
		k.places, k.popped = slices.Clone(k.places), 0
	}
}

// dropAll gives every block back.
func (k *kept) dropAll() {
	for _, at := range k.places {
		k.spool.owners[at] = nil
	}
	k.spool.used -= k.end - k.first
	k.places, k.popped, k.first = nil, 0, k.end
}

// finish says that nothing comes any more.
func (k *kept) finish() {
	k.spool.mu.Lock()
	defer k.spool.mu.Unlock()
	k.over = true
	k.wake()
}

// forget gives back what is kept. Who reads it still is told.
func (k *kept) forget() {
	k.spool.mu.Lock()
	defer k.spool.mu.Unlock()
	k.dropAll()
	k.wake()
}

func (k *kept) wake() {
	if k.changed != nil {
		close(k.changed)
		k.changed = nil
	}
}

// bounds are the offsets of the first byte that is kept and of the next to come.
func (k *kept) bounds() (first, end int64) {
	k.spool.mu.Lock()
	defer k.spool.mu.Unlock()
	return k.first, k.end
}

// readAt copies what is kept from offset on, up to stop. Where nothing is yet it
// returns what is closed when something may be, nil if nothing ever will. Above
// offset, first says that what stood there was dropped.
func (k *kept) readAt(p []byte, offset, stop int64) (n int, first int64, changed <-chan struct{}, err error) {
	s := k.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	if offset < k.first {
		return 0, k.first, nil, nil
	}
	p = p[:max(0, min(int64(len(p)), min(k.end, stop)-offset))]
	for n < len(p) && err == nil {
		i := offset/spoolBlock - k.base
		run := spoolBlock - offset%spoolBlock
		at := int64(k.places[i])*spoolBlock + offset%spoolBlock
		for ; run < int64(len(p)-n) && k.places[i+1] == k.places[i]+1; i++ {
			run += spoolBlock
		}
		run = min(run, int64(len(p)-n))
		err = readAllAt(s.fd, p[n:n+int(run)], at)
		n, offset = n+int(run), offset+run
	}
	if err != nil {
		return 0, k.first, nil, err
	}
	if n == 0 && !k.over && offset < stop {
		if k.changed == nil {
			k.changed = make(chan struct{})
		}
		changed = k.changed
	}
	return n, k.first, changed, nil
}

func readAllAt(fd int, p []byte, offset int64) error {
	for len(p) > 0 {
		n, err := unix.Pread(fd, p, offset)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return err
		case n <= 0:
			return unix.EIO // shorter than what was written to it
		}
		n = max(0, n)
		p, offset = p[n:], offset+int64(n)
	}
	return nil
}
