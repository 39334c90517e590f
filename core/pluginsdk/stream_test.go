package pluginsdk

import (
	"io"
	"net"
	"testing"
	"time"
)

func TestSilentStreamIsClosed(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	s := newLiveStream(near, 50*time.Millisecond)
	if _, err := s.Read(make([]byte, 1)); err == nil {
		t.Error("Read returned without an error")
	}
	select {
	case <-s.dead:
	default:
		t.Error("the stream is said to be alive")
	}
	if _, err := far.Write([]byte("x")); err == nil {
		t.Error("the other end can still write")
	}
}

func TestStreamWithTrafficStays(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	const silence = time.Second
	s := newLiveStream(near, silence)
	defer s.Close()
	go func() {
		for range 30 {
			time.Sleep(silence / 20)
			if _, err := far.Write([]byte("x")); err != nil {
				return
			}
		}
	}()
	if _, err := io.ReadFull(s, make([]byte, 30)); err != nil {
		t.Errorf("a byte came each %v, and the stream was closed: %v", silence/20, err)
	}
}
