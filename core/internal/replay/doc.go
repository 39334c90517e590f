// Package replay plays a recorded conversation in the place of a model.
//
// [Start] opens an endpoint on loopback that speaks Chat Completions, so that the client, its streaming and its error
// handling are the ones used with a real model. It is as strict as a real one: what that would answer with a 400 is a 400
// here, which is how a test finds an agent that sends a malformed conversation.
//
// # Answers come from the request
//
// The endpoint keeps no place in the recording. Which step answers is the number of assistant turns in the request, so a
// run resumed by another process, or a request sent twice, gets the right one. Before it answers, it checks that those
// turns are the ones it gave and that the tool results since the last are the ones the recording expects. If not, the
// answer is a [StatusMismatch] with a diff, and [Server.Err] has it for the program to show.
//
// The one thing counted is how often a step's simulated failure was served; see [Failure].
//
// The file format is described in docs/replay.md.
package replay
