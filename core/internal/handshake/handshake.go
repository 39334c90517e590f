// Package handshake holds what a plugin and its host must agree on before they
// can talk: both sides import it, and neither imports the other.
package handshake

// The cookie tells a plugin that it was started by deep. It keeps people from
// starting one by mistake; it is no secret.
const (
	CookieKey   = "DEEP_PLUGIN_COOKIE"
	CookieValue = "7f3d0c7a-deep-backend"
)

// ProtocolVersion is the major version of deep.backend.v1. A plugin may speak
// several; minor growth needs no new one.
const ProtocolVersion = 1

// PluginKey names the one thing a plugin serves, to go-plugin.
const PluginKey = "backend"

// BinaryPrefix begins the name of every plugin's program.
const BinaryPrefix = "deep-backend-"

// SocketDirPrefix begins the name of the directory a host makes for the socket of
// one plugin process.
const SocketDirPrefix = "deep-plugin-"
