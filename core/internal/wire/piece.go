package wire

import (
	"io"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// A piece is a message with a field "data" that holds most of it, as those of
// files and archives. The data is sent from the buffers it was read into, and
// received in those it came in: the codec of proto.Message would copy it twice on
// either side, which is a fifth of what a host does for a large file.
type piece struct {
	// head is the message without the data.
	head proto.Message
	// data is the piece's own until it is marshalled.
	data mem.BufferSlice
}

// sendPiece sends data, which it frees, in a message that is otherwise head.
func sendPiece(stream interface{ SendMsg(m any) error }, head proto.Message, data mem.BufferSlice) error {
	p := &piece{head: head, data: data}
	defer func() { p.data.Free() }() // gRPC did not come to marshal it
	return stream.SendMsg(p)
}

// receivePiece receives a message into head, but for its data, which is the
// caller's to free.
func receivePiece(stream interface{ RecvMsg(m any) error }, head proto.Message) (mem.BufferSlice, error) {
	p := &piece{head: head}
	err := stream.RecvMsg(p)
	return p.data, err
}

// readPiece reads until a buffer of size is full or r fails, and returns r's own
// error beside what it read.
func readPiece(r io.Reader, size int) (mem.BufferSlice, error) {
	buf := buffers.Get(size)
	n, err := fill(r, *buf)
	*buf = (*buf)[:n]
	return mem.BufferSlice{mem.NewBuffer(buf, buffers)}, err
}

func dataField(m proto.Message) protoreflect.FieldDescriptor {
	return m.ProtoReflect().Descriptor().Fields().ByName("data")
}

func (p *piece) marshal() (mem.BufferSlice, error) {
	size := p.data.Len()
	head, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, 0, 64), p.head)
	if err != nil {
		return nil, err
	}
	if size > 0 {
		head = protowire.AppendTag(head, dataField(p.head).Number(), protowire.BytesType)
		head = protowire.AppendVarint(head, uint64(size))
	}
	out := append(mem.BufferSlice{mem.SliceBuffer(head)}, p.data...)
	p.data = nil
	return out, nil
}

func (p *piece) unmarshal(msg mem.BufferSlice) error {
	field := dataField(p.head)
	if head, data, ok := splitPiece(msg, field.Number()); ok {
		if err := proto.Unmarshal(msg[0].ReadOnlyData()[:head], p.head); err != nil {
			return err
		}
		p.data = append(mem.BufferSlice{msg[0].Slice(data, msg[0].Len())}, msg[1:]...)
		msg[1:].Ref()
		return nil
	}
	if err := protoCodec.Unmarshal(msg, p.head); err != nil {
		return err
	}
	m := p.head.ProtoReflect()
	if data := m.Get(field).Bytes(); len(data) > 0 {
		p.data = mem.BufferSlice{mem.SliceBuffer(data)}
	}
	m.Clear(field)
	return nil
}

// splitPiece finds the data where it is all that follows what the first buffer
// begins with, as messages are that marshal made: data[0][:head] are the other
// fields, and the data begins at data[0][body]. Any other message has to be
// decoded as a whole.
func splitPiece(msg mem.BufferSlice, field protowire.Number) (head, body int, ok bool) {
	if len(msg) == 0 {
		return 0, 0, false
	}
	b := msg[0].ReadOnlyData()
	for head < len(b) {
		number, kind, tag := protowire.ConsumeTag(b[head:])
		if tag < 0 {
			break
		}
		value := b[head+tag:]
		if number == field && kind == protowire.BytesType {
			size, n := protowire.ConsumeVarint(value)
			if n < 0 {
				break
			}
			body = head + tag + n
			return head, body, size == uint64(msg.Len()-body)
		}
		n := protowire.ConsumeFieldValue(number, kind, value)
		if n < 0 {
			break
		}
		head += tag + n
	}
	return 0, 0, false
}
