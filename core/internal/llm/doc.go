// Package llm talks to a language model over the Chat Completions protocol, at any endpoint that speaks it.
//
// One [Client] belongs to one endpoint. [Client.Complete] sends a conversation and streams the answer back; it is the only
// call. The types that go in and come out are this package's own and plain JSON, because transcripts are stored and read
// back by other processes, perhaps by a later version: the SDK's types may change under us, stored runs may not.
//
// # What the endpoint may do to us
//
// The endpoint is whatever base_url names, so nothing it sends is trusted. A response is bounded in size, in tool calls and
// in the silence between two events; text from it that ends up in an error is cut, stripped of control characters and of
// the API key. A redirect is an error, since following one would hand the key and the conversation to an address nobody
// configured. The environment is not read: OPENAI_BASE_URL and its siblings are a matter for the configuration layer.
//
// # Errors
//
// Everything except the end of the caller's context is an [*Error], whose Kind is one of the Err values and whose text
// ends with what to do. Cancelling the context gives an error that wraps ctx.Err().
package llm
