package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/deep-sandbox/deep/core/backend"
	backendv1 "github.com/deep-sandbox/deep/core/proto/backend/v1"
)

// countedPool counts the buffers that are out, and spoils those that come back.
type countedPool struct {
	mu  sync.Mutex
	out map[*[]byte]bool
	bad int // given back without being out
}

func (p *countedPool) Get(n int) *[]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	// mem.NewBuffer gives smaller ones back to nobody.
	b := new(make([]byte, n, max(n, 2<<10)))
	p.out[b] = true
	return b
}

func (p *countedPool) Put(b *[]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.out[b] {
		p.bad++
	}
	delete(p.out, b)
	for i := range *b {
		(*b)[i] = 'x'
	}
}

// counted returns a pool that must have everything back, once, at the end of the
// test.
func counted(t *testing.T) *countedPool {
	p := &countedPool{out: make(map[*[]byte]bool)}
	t.Cleanup(func() {
		if len(p.out) > 0 || p.bad > 0 {
			t.Errorf("%d buffers were not freed, %d too often", len(p.out), p.bad)
		}
	})
	return p
}

// slice returns data in buffers of at most size.
func (p *countedPool) slice(data []byte, size int) (out mem.BufferSlice) {
	for len(data) > 0 {
		n := min(size, len(data))
		b := p.Get(n)
		copy(*b, data)
		out, data = append(out, mem.NewBuffer(b, p)), data[n:]
	}
	return out
}

// unmarshalled decodes msg as gRPC does, and returns the data.
func unmarshalled(msg mem.BufferSlice, head proto.Message) ([]byte, error) {
	p := &piece{head: head}
	err := codec{}.Unmarshal(msg, p)
	msg.Free()
	data := p.data.Materialize()
	p.data.Free()
	return data, err
}

func TestPiece(t *testing.T) {
	start := &backendv1.WriteFileStart{Path: []byte("f"), Mode: 0o600}
	for name, data := range map[string][]byte{"none": nil, "little": []byte("abc"), "much": bytes.Repeat([]byte("0123456789"), 20_000)} {
		t.Run(name, func(t *testing.T) {
			pool := counted(t)
			for _, head := range []*backendv1.WriteFileRequest{{Start: start}, {Commit: true}, {}, {Start: start, Commit: true}} {
				p := &piece{head: head, data: pool.slice(data, 7_000)}
				sent, err := codec{}.Marshal(p)
				if err != nil || p.data != nil {
					t.Fatal(err, p.data)
				}
				// What everybody else makes of it.
				whole := new(backendv1.WriteFileRequest)
				if err := proto.Unmarshal(sent.Materialize(), whole); err != nil {
					t.Fatal(err)
				}
				want := &backendv1.WriteFileRequest{Start: head.GetStart(), Data: data, Commit: head.GetCommit()}
				if !proto.Equal(whole, want) {
					t.Errorf("%v became another message", head)
				}
				got := new(backendv1.WriteFileRequest)
				received, err := unmarshalled(sent, got)
				if err != nil || !bytes.Equal(received, data) || !proto.Equal(got, head) {
					t.Errorf("%v with %d bytes became %v with %d, %v", head, len(data), got, len(received), err)
				}
			}
		})
	}
}

// TestPieceOfOthers: what is not as our own senders make it is read all the same,
// or refused, as the whole message is.
func TestPieceOfOthers(t *testing.T) {
	data := func(size int, text string) []byte {
		return append(protowire.AppendVarint([]byte{0x12}, uint64(size)), text...)
	}
	const commit, path, unknown = "\x18\x01", "\x0a\x03\x0a\x01f", "\xfa\x01\x02hi"
	for name, msg := range map[string][]byte{
		"empty":                 nil,
		"empty data":            data(0, ""),
		"commit after the data": append(data(3, "abc"), commit...),
		"data twice":            append(data(3, "abc"), data(2, "de")...),
		"data twice, then none": append(data(3, "abc"), data(0, "")...),
		"an unknown field":      append([]byte(unknown), data(3, "abc")...),
		"an unknown field last": append(data(3, "abc"), unknown...),
		"a group":               append([]byte("\x7b\x08\x01\x7c"), data(3, "abc")...),
		"start, data, commit":   append(append([]byte(path), data(3, "abc")...), commit...),
		"data that is a number": []byte("\x10\x05"),
		"too short":             data(4, "abc"),
		"too long":              data(2, "abc"),
		"without an end":        data(1<<40, "abc"),
		"a size without an end": []byte("\x12\xff\xff"),
		"a tag without an end":  []byte("\x18\x01\xff"),
		"field 0":               append([]byte("\x00\x01"), data(3, "abc")...),
		"a bad start":           append([]byte("\x0a\x01\xff"), data(3, "abc")...),
		"a sum not in UTF-8":    append([]byte("\x0a\x03\x2a\x01\xff"), data(3, "abc")...),
		"a group not ended":     append([]byte("\x7b"), data(3, "abc")...),
	} {
		t.Run(name, func(t *testing.T) {
			for size := 1; size <= len(msg)+1; size++ {
				samePiece(t, counted(t).slice(msg, size))
			}
		})
	}
}

// samePiece checks that a message is as a piece what it is as a whole.
func samePiece(t *testing.T, msg mem.BufferSlice) {
	t.Helper()
	raw := msg.Materialize()
	whole, head := new(backendv1.WriteFileRequest), new(backendv1.WriteFileRequest)
	wantErr := proto.Unmarshal(raw, whole)
	data, err := unmarshalled(msg, head)
	if (err != nil) != (wantErr != nil) {
		t.Fatalf("%q: %v, and %v as a whole", raw, err, wantErr)
	}
	if err != nil {
		return
	}
	if len(head.GetData()) > 0 {
		t.Errorf("%q: %q stayed in the message", raw, head.GetData())
	}
	head.Data = data
	if !proto.Equal(head, whole) {
		t.Errorf("%q: %v, and %v as a whole", raw, head, whole)
	}
}

// FuzzPiece: a message means the same with its data apart, however it comes.
func FuzzPiece(f *testing.F) {
	f.Add([]byte("\x0a\x03\x0a\x01f\x12\x03abc"), 4)
	f.Add([]byte("\x12\x03abc\x18\x01"), 100)
	f.Fuzz(func(t *testing.T, msg []byte, size int) {
		samePiece(t, counted(t).slice(msg, 1+max(0, size%100)))
	})
}

// TestPiecesAreFreed: whatever ends a stream of messages, their buffers are freed.
func TestPiecesAreFreed(t *testing.T) {
	pool := counted(t)
	const most = 10_000
	read := func(more func() (mem.BufferSlice, string, error)) *pieces {
		first := true
		return &pieces{peer: "stranger", ctx: t.Context(), cancel: func() {}, op: "read", most: most, recv: func() (mem.BufferSlice, string, error) {
			if first {
				first = false
				return pool.slice(make([]byte, most), 3_000), "", nil
			}
			return more()
		}}
	}
	for name, c := range map[string]struct {
		more func() (mem.BufferSlice, string, error)
		want error
	}{
		"the end":   {func() (mem.BufferSlice, string, error) { return nil, "", io.EOF }, nil},
		"bad":       {func() (mem.BufferSlice, string, error) { return pool.slice(make([]byte, 5), 5), "bad", nil }, backend.ErrUnavailable},
		"too large": {func() (mem.BufferSlice, string, error) { return pool.slice(make([]byte, most+1), most), "", nil }, backend.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			p := read(c.more)
			if got, err := io.ReadAll(p); len(got) != most || !errors.Is(err, c.want) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("closed half way", func(t *testing.T) {
		p := read(nil)
		if _, err := io.ReadFull(p, make([]byte, 4_000)); err != nil {
			t.Error(err)
		}
		for range 2 {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestUploadIsFreed: whatever ends an upload, its buffers are freed.
func TestUploadIsFreed(t *testing.T) {
	pool := counted(t)
	for name, c := range map[string]struct {
		last uploadedFrame
		err  error
		want error
	}{
		"a commit":  {last: uploadedFrame{commit: true}},
		"no commit": {err: io.EOF, want: backend.ErrInvalid},
		"a start":   {last: uploadedFrame{start: true, data: pool.slice(make([]byte, 5), 5)}, want: backend.ErrInvalid},
		"too large": {last: uploadedFrame{data: pool.slice(make([]byte, fileFrame+1), fileFrame)}, want: backend.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			u := &uploaded{ctx: context.Background(), recv: func() (uploadedFrame, error) { return c.last, c.err }}
			u.take(uploadedFrame{data: pool.slice(make([]byte, 10_000), 3_000)})
			if got, err := io.ReadAll(u); len(got) != 10_000 || !errors.Is(err, c.want) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			u.free()
		})
	}
	t.Run("not read", func(*testing.T) {
		u := new(uploaded)
		u.take(uploadedFrame{data: pool.slice(make([]byte, 10_000), 3_000)})
		u.free()
	})
}

func TestBufferPool(t *testing.T) {
	p := new(bufferPool)
	for _, n := range []int{0, 1, 1 << 10, 1<<10 + 1, 2 << 10, 16 << 10, 16<<10 + 1, 256 << 10, 256<<10 + 1, 1 << 20} {
		b := p.Get(n)
		if len(*b) != n || cap(*b) >= 4<<10 && cap(*b) > 2*n {
			t.Errorf("%d bytes: %d of %d", n, len(*b), cap(*b))
		}
		*b = (*b)[:n/2]
		p.Put(b)
		if again := p.Get(n); len(*again) != n {
			t.Errorf("%d bytes: again %d of %d", n, len(*again), cap(*again))
		}
	}
	p.Put(new(make([]byte, 10, 3<<10))) // of nobody's size
	if b := p.Get(2 << 10); cap(*b) != 2<<10 {
		t.Errorf("a buffer of %d", cap(*b))
	}
}
