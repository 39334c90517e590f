package guest

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// TestSpoolModel writes at random to several streams and compares with all that
// was written to each.
func TestSpoolModel(t *testing.T) {
	for _, blocks := range []int{1, 2, 3, 7, 64} {
		rnd := rand.New(rand.NewPCG(1, uint64(blocks)))
		s := newSpool(int64(blocks) * spoolBlock)
		streams := make([]*kept, 5)
		all := make([][]byte, len(streams))
		for i := range streams {
			streams[i] = &kept{spool: s}
		}
		for round := range 800 {
			i := rnd.IntN(len(streams))
			p := make([]byte, 1+rnd.IntN([]int{10, 5000, 40_000}[rnd.IntN(3)]))
			for j := range p {
				p[j] = byte(rnd.Uint32())
			}
			before, _ := streams[i].bounds()
			streams[i].write(p)
			all[i] = append(all[i], p...)
			if first, end := streams[i].bounds(); end != int64(len(all[i])) || first < before {
				t.Fatalf("%d blocks, round %d: kept %d to %d, before from %d, of %d", blocks, round, first, end, before, len(all[i]))
			}
			if rnd.IntN(200) == 0 {
				streams[i].forget()
			}
			for j, k := range streams {
				checkKept(t, k, all[j], rnd)
			}
			checkSpool(t, s, streams)
		}
		check(t, s.close())
	}
}

// checkKept reads what is kept and compares.
func checkKept(t *testing.T, k *kept, all []byte, rnd *rand.Rand) {
	t.Helper()
	first, end := k.bounds()
	at := first
	if end > first {
		at += rnd.Int64N(end - first)
	}
	got := make([]byte, 1+rnd.IntN(20_000))
	n, _, _, err := k.readAt(got, at, end)
	if want := min(int64(len(got)), end-at); err != nil || int64(n) != want || !bytes.Equal(got[:n], all[at:at+want]) {
		t.Fatalf("at %d of %d to %d: %d bytes, want %d, %v", at, first, end, n, want, err)
	}
	if first > 0 {
		if n, from, _, err := k.readAt(got, first-1, end); n != 0 || from != first || err != nil {
			t.Fatalf("before %d: %d %d %v", first, n, from, err)
		}
	}
}

// checkSpool checks what must hold of the index.
func checkSpool(t *testing.T, s *spool, streams []*kept) {
	t.Helper()
	var used int64
	owned := 0
	for _, k := range streams {
		used += k.end - k.first
		owned += len(k.places)
		for _, at := range k.places {
			if s.owners[at] != k {
				t.Fatal("a block with two owners")
			}
		}
		if k.popped > len(k.places)+16 {
			t.Fatalf("%d places in memory that is not let go of, %d in use", k.popped, len(k.places))
		}
	}
	if got, limit := s.usage(); got != used || used > limit || owned > s.blocks || len(s.owners) > s.blocks {
		t.Fatalf("%d bytes used, counted %d, of %d; %d blocks of %d", used, got, limit, owned, s.blocks)
	}
}

// TestSpoolOldestGoes: the newest output is what is kept, of whatever stream.
func TestSpoolOldestGoes(t *testing.T) {
	s := newSpool(8 * spoolBlock)
	defer func() { check(t, s.close()) }()
	quiet, loud := &kept{spool: s}, &kept{spool: s}
	quiet.write([]byte("quiet"))
	loud.write(make([]byte, 7*spoolBlock))
	if first, _ := quiet.bounds(); first != 0 {
		t.Fatalf("dropped up to %d though there was room", first)
	}
	loud.write([]byte("x"))
	if first, end := quiet.bounds(); first != 5 || end != 5 {
		t.Fatalf("the oldest is kept: %d to %d", first, end)
	}
	// It goes on where it was.
	quiet.write([]byte("again"))
	buf := make([]byte, 100)
	if n, _, _, err := quiet.readAt(buf, 5, 10); err != nil || string(buf[:n]) != "again" {
		t.Fatalf("%q %v", buf[:n], err)
	}
	if first, end := loud.bounds(); first != spoolBlock || end != 7*spoolBlock+1 {
		t.Fatalf("%d to %d", first, end)
	}
}

// TestSpoolCostsNothing: before the first byte there is no file.
func TestSpoolCostsNothing(t *testing.T) {
	s := newSpool(1 << 20)
	k := &kept{spool: s}
	k.finish()
	if s.fd >= 0 || s.owners != nil {
		t.Fatal("silence costs something")
	}
	if n, _, changed, err := k.readAt(make([]byte, 1), 0, 0); n != 0 || changed != nil || err != nil {
		t.Fatal(n, changed, err)
	}
}

// TestSpoolNoMemory: what could not be kept is said to be dropped.
func TestSpoolNoMemory(t *testing.T) {
	s := newSpool(1 << 20)
	k := &kept{spool: s}
	k.write([]byte("kept"))
	// A file that cannot grow any more.
	check(t, unix.Close(s.fd))
	fd, err := unix.MemfdCreate("sealed", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	check(t, err)
	_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	check(t, err)
	s.fd = fd
	k.write([]byte(" and lost"))
	if first, end := k.bounds(); first != 13 || end != 13 {
		t.Fatalf("%d to %d", first, end)
	}
	if used, _ := s.usage(); used != 0 {
		t.Fatalf("%d bytes in use", used)
	}
	check(t, s.close())
	k.write([]byte("after the end"))
	if first, end := k.bounds(); first != end || end != 26 {
		t.Fatalf("%d to %d", first, end)
	}
}

// TestSpoolTogether writes and follows many streams at once.
func TestSpoolTogether(t *testing.T) {
	s := newSpool(4 << 20)
	defer func() { check(t, s.close()) }()
	var all sync.WaitGroup
	for i := range 20 {
		k := &kept{spool: s}
		line := strings.Repeat(string(rune('a'+i)), 1000)
		all.Go(func() {
			for range 100 {
				k.write([]byte(line))
			}
			k.finish()
		})
		all.Go(func() {
			r := &outputReader{ctx: context.Background(), kept: k, stop: 1 << 60, closed: make(chan struct{})}
			b, err := io.ReadAll(r)
			if err != nil || string(b) != strings.Repeat(line, 100) {
				t.Errorf("%d: %d bytes, %v", i, len(b), err)
			}
		})
	}
	all.Wait()
}

// TestOutputReader: dropped output is a conflict that names where it goes on, the
// end is the one of when it was asked for.
func TestOutputReader(t *testing.T) {
	s := newSpool(2 * spoolBlock)
	k := &kept{spool: s}
	k.write([]byte("some"))
	ctx, cancel := context.WithCancel(t.Context())
	r := &outputReader{ctx: ctx, kept: k, stop: 4, closed: make(chan struct{})}
	k.write([]byte(" more"))
	if b, err := io.ReadAll(r); err != nil || string(b) != "some" {
		t.Fatalf("%q %v", b, err)
	}
	r = &outputReader{ctx: ctx, kept: k, at: 2, stop: 9, closed: make(chan struct{})}
	k.write(make([]byte, 3*spoolBlock))
	_, err := r.Read(make([]byte, 10))
	if e := wantKind(t, err, backend.ErrConflict); !strings.Contains(e.Message, "from 2 to 8192") || !strings.Contains(e.Hint, "8192") {
		t.Fatal(err)
	}
	follow := &outputReader{ctx: ctx, kept: k, at: k.end, stop: 1 << 60, closed: make(chan struct{})}
	got := make(chan error, 1)
	go func() {
		_, err := follow.Read(make([]byte, 1))
		got <- err
	}()
	cancel()
	wantKind(t, <-got, context.Canceled)
	// Close wakes it too.
	follow.ctx = t.Context()
	go func() {
		_, err := follow.Read(make([]byte, 1))
		got <- err
	}()
	check(t, follow.Close())
	check(t, follow.Close())
	wantKind(t, <-got, backend.ErrInvalid)
	check(t, s.close())
	_, err = (&outputReader{ctx: t.Context(), kept: k, at: k.first, stop: k.end, closed: make(chan struct{})}).Read(make([]byte, 1))
	wantKind(t, err, backend.ErrGone)
}
