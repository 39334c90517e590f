package wire

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// codec is gRPC's own for messages, except that a *frame is passed through as it
// is, and the data of a *piece is not copied. It has the same name on the wire.
type codec struct{}

var protoCodec = encoding.GetCodecV2(proto.Name)

// frame is a message nobody has decoded. It owns one reference to its buffers
// from Unmarshal to Marshal.
type frame struct{ data mem.BufferSlice }

// free lets go of a frame that will not be sent.
func (f *frame) free() {
	f.data.Free()
	f.data = nil
}

func (codec) Name() string { return proto.Name }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	switch m := v.(type) {
	case *frame:
		data := m.data
		m.data = nil
		return data, nil
	case *piece:
		return m.marshal()
	default:
		return protoCodec.Marshal(v)
	}
}

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	switch m := v.(type) {
	case *frame:
		data.Ref()
		m.data = data
		return nil
	case *piece:
		return m.unmarshal(data)
	default:
		return protoCodec.Unmarshal(data, v)
	}
}

var _ encoding.CodecV2 = codec{}
