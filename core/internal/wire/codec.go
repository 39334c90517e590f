package wire

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// codec is gRPC's own for messages, except that a *frame is passed through as it
// is. It has the same name on the wire.
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
	f, ok := v.(*frame)
	if !ok {
		return protoCodec.Marshal(v)
	}
	data := f.data
	f.data = nil
	return data, nil
}

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return protoCodec.Unmarshal(data, v)
	}
	data.Ref()
	f.data = data
	return nil
}

var _ encoding.CodecV2 = codec{}
