package host

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	goplugin "github.com/hashicorp/go-plugin"

	"github.com/deep-sandbox/deep/core/internal/handshake"
)

// refusal says what is wrong with the first line a plugin printed.
type refusal struct {
	reason  Reason
	message string
	hint    string
}

func (r *refusal) Error() string { return r.message }

// accept checks the line of go-plugin's handshake, core|protocol|network|address|
// type|certificate, before go-plugin sees it: go-plugin would dial whatever
// address it is told, and tells its failures apart in prose only. Sockets of the
// plugin must be in dir.
func accept(line, dir string) error {
	part := strings.Split(line, "|")
	if len(part) < 4 {
		return &refusal{ReasonOutput, "it printed something else than go-plugin's handshake: " + excerpt(line),
			"a plugin prints nothing before pluginsdk.Serve; is this a plugin of deep?"}
	}
	core, coreErr := strconv.Atoi(part[0])
	protocol, protocolErr := strconv.Atoi(part[1])
	switch {
	case coreErr != nil || protocolErr != nil:
		return &refusal{ReasonOutput, "it printed something else than go-plugin's handshake: " + excerpt(line),
			"a plugin prints nothing before pluginsdk.Serve; is this a plugin of deep?"}
	case core != goplugin.CoreProtocolVersion:
		return &refusal{ReasonHandshake, fmt.Sprintf("it speaks version %d of go-plugin's own protocol, deep speaks %d", core, goplugin.CoreProtocolVersion),
			"build the plugin with a go-plugin of the same generation"}
	case protocol != handshake.ProtocolVersion:
		return &refusal{ReasonProtocol, fmt.Sprintf("it speaks version %d of deep's protocol, this deep speaks %d", protocol, handshake.ProtocolVersion),
			"install a plugin and a deep of the same generation"}
	case part[2] != "unix":
		return &refusal{ReasonHandshake, "it listens on " + excerpt(part[2]) + ", not on a unix socket",
			"a plugin listens in the directory PLUGIN_UNIX_SOCKET_DIR"}
	case !within(dir, part[3]):
		return &refusal{ReasonHandshake, "its socket is not where it was told to put it: " + excerpt(part[3]),
			"a plugin listens in the directory PLUGIN_UNIX_SOCKET_DIR"}
	case len(part) < 5 || part[4] != string(goplugin.ProtocolGRPC):
		return &refusal{ReasonHandshake, "it does not speak gRPC", "serve it with pluginsdk, or with go-plugin's gRPC server"}
	case len(part) < 6 || part[5] == "":
		return &refusal{ReasonHandshake, "it has no certificate: the connection would be open to every process of this user",
			"answer PLUGIN_CLIENT_CERT with a certificate, as go-plugin's AutoMTLS does"}
	}
	return nil
}

// within reports whether path is a name below dir.
func within(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel) && rel != "."
}

// excerpt is enough of what a plugin printed to know it by.
func excerpt(s string) string {
	const enough = 120
	if len(s) > enough {
		s = strings.ToValidUTF8(s[:enough], "") + "…"
	}
	return strconv.Quote(s)
}
