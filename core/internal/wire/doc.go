// Package wire carries the contract of core/backend over gRPC.
//
// The server side serves any [backend.Backend] and [backend.Sandbox]; the client
// side is one. Between them a [ForwardSandbox] may pass the calls of a sandbox on
// without decoding them. What is said on the wire is written down in
// core/proto/backend/v1/backend.proto.
//
// The two sides trust each other differently. A server takes what its caller
// sends for a request, and answers a bad one with ErrInvalid. A client takes what
// it is answered for the word of a stranger: whatever breaks the protocol, is
// larger than asked for or contradicts itself ends the call, and the error calls
// the plugin faulty by its name.
package wire
