package wire

import (
	"math/bits"
	"sync"

	"google.golang.org/grpc/mem"
)

// buffers is where a connection takes what it reads into, and a sender what it
// sends. gRPC's own pool sets every buffer to zero before it gives it out, and
// has none between 32 KiB and 1 MiB: a message of 256 KiB costs it four times
// that.
var buffers mem.BufferPool = new(bufferPool)

const (
	// minBuffer and maxBuffer are the exponents of the smallest and the largest
	// buffer that is kept. mem.NewBuffer gives none of 1 KiB back.
	minBuffer = 11
	maxBuffer = 18
)

// bufferPool keeps buffers of each power of two, as they are: who takes one
// fills it before it reads it.
type bufferPool struct {
	sizes [maxBuffer - minBuffer + 1]sync.Pool
}

// Get implements mem.BufferPool.
func (p *bufferPool) Get(n int) *[]byte {
	if n > 1<<maxBuffer || mem.IsBelowBufferPoolingThreshold(n) {
		b := make([]byte, n)
		return &b
	}
	exponent := max(minBuffer, bits.Len(uint(n-1)))
	b, ok := p.sizes[exponent-minBuffer].Get().(*[]byte)
	if !ok {
		b = new(make([]byte, 1<<exponent))
	}
	*b = (*b)[:n]
	return b
}

// Put implements mem.BufferPool.
func (p *bufferPool) Put(b *[]byte) {
	// Of another size it is not from here, or is one that is not kept.
	if exponent := bits.Len(uint(cap(*b))) - 1; cap(*b) == 1<<max(exponent, 0) && exponent >= minBuffer && exponent <= maxBuffer {
		p.sizes[exponent-minBuffer].Put(b)
	}
}
