package wire

import (
	"context"

	"google.golang.org/grpc/metadata"

	"github.com/deep-sandbox/deep/core/backend"
)

// SandboxIDKey is the metadata key that names the sandbox of a call.
const SandboxIDKey = "deep-sandbox-id"

// withID returns ctx for a call to the sandbox of that id. Other metadata of the
// caller's stays out: it is not part of the contract.
func withID(ctx context.Context, id string) context.Context {
	return metadata.NewOutgoingContext(ctx, metadata.Pairs(SandboxIDKey, id))
}

// sandboxID returns the id a call came with.
func sandboxID(ctx context.Context) (string, error) {
	ids := metadata.ValueFromIncomingContext(ctx, SandboxIDKey)
	if len(ids) != 1 || !backend.ValidID(ids[0]) {
		return "", &backend.Error{
			Kind:    backend.ErrInvalid,
			Message: "the call must name its sandbox, once, in the metadata key " + SandboxIDKey,
		}
	}
	return ids[0], nil
}
