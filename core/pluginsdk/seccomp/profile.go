package seccomp

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
)

//go:embed amd64.json arm64.json
var profiles embed.FS

// Profile returns the profile for an architecture by Go's name, amd64 or arm64, as
// engines take it: for a container with its guest. Commands are put under [Program]
// besides.
func Profile(arch string) ([]byte, error) {
	profile, err := profiles.ReadFile(arch + ".json")
	if err != nil {
		return nil, fmt.Errorf("there is no seccomp profile for %s, only for amd64 and arm64", arch)
	}
	return profile, nil
}

// Digest names a profile in labels and reports: the first half of its SHA-256, in
// 32 digits.
func Digest(profile []byte) string {
	sum := sha256.Sum256(profile)
	return hex.EncodeToString(sum[:len(sum)/2])
}
