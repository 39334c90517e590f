// Package cli is the command line of deep: one file a command, its streams
// injected, its logic in functions that know nothing of the library that parses
// flags.
//
// Standard output carries what was asked for, as text for people or as JSON;
// standard error everything else. What comes from a sandbox, a plugin or a model
// is escaped before it reaches a person, except the output of `deep exec`, which
// is what was asked for: bytes, as they are.
package cli
