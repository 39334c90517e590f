package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/docker/docker/api/types/registry"

	"github.com/deep-sandbox/deep/core/backend"
)

// hub is what docker login files credentials of docker.io under.
const hub = "https://index.docker.io/v1/"

// helperTimeout bounds a program that keeps credentials: it may ask its user.
const helperTimeout = 30 * time.Second

// authFile is what docker login writes.
type authFile struct {
	Auths map[string]struct {
		Auth          string `json:"auth"`
		IdentityToken string `json:"identitytoken"`
	} `json:"auths"`
	CredHelpers map[string]string `json:"credHelpers"`
	CredsStore  string            `json:"credsStore"`
}

// credentials returns what docker login knows of a registry, as a header of the
// engine's API, "" for nothing. The secret is in no error and no log line.
func (b *dockerBackend) credentials(ctx context.Context, domain string) (string, error) {
	file, path, err := b.readAuthFile()
	if file == nil || err != nil {
		return "", err
	}
	key := domain
	if domain == "docker.io" {
		key = hub
	}
	auth := registry.AuthConfig{ServerAddress: key}
	helper := file.CredHelpers[key]
	if helper == "" {
		helper = file.CredsStore
	}
	switch entry, ok := file.Auths[key]; {
	case helper != "":
		found, err := askHelper(ctx, helper, &auth)
		if err != nil || !found {
			return "", err
		}
	case !ok:
		return "", nil
	default:
		plain, err := base64.StdEncoding.DecodeString(entry.Auth)
		if err != nil {
			return "", &backend.Error{Kind: backend.ErrInvalid, Path: path, Message: "the credentials of " + key + " are damaged", Hint: "docker login " + domain}
		}
		auth.Username, auth.Password, _ = strings.Cut(strings.TrimRight(string(plain), "\x00"), ":")
		auth.IdentityToken = entry.IdentityToken
	}
	return registry.EncodeAuthConfig(auth)
}

func (b *dockerBackend) readAuthFile() (*authFile, string, error) {
	path := b.config.Auth
	if path == "" {
		dir := os.Getenv("DOCKER_CONFIG")
		if dir == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return nil, "", nil //nolint:nilerr // without a home nobody logged in
			}
			dir = filepath.Join(home, ".docker")
		}
		path = filepath.Join(dir, "config.json")
	}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && b.config.Auth == "":
		return nil, path, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, path, &backend.Error{Kind: backend.ErrNotFound, Path: path, Message: "auth_file does not exist"}
	case err != nil:
		return nil, path, &backend.Error{Kind: backend.ErrPermission, Path: path, Message: "cannot read the credentials of registries", Err: err}
	}
	file := &authFile{}
	if json.Unmarshal(data, file) != nil {
		// The decoder's error would quote from the file.
		return nil, path, &backend.Error{Kind: backend.ErrInvalid, Path: path, Message: "no JSON as docker login writes it"}
	}
	return file, path, nil
}

// askHelper runs the program that keeps credentials; found is false when it has
// none for that registry.
func askHelper(ctx context.Context, helper string, auth *registry.AuthConfig) (found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	name := "docker-credential-" + helper
	cmd := exec.CommandContext(ctx, name, "get")
	cmd.Stdin = strings.NewReader(auth.ServerAddress)
	var out bytes.Buffer
	cmd.Stdout = &out
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		if strings.Contains(out.String(), "credentials not found") {
			return false, nil // the helpers' protocol has these words for it
		}
		return false, &backend.Error{Kind: backend.ErrUnavailable, Path: name, Message: "the program that keeps the credentials of " + auth.ServerAddress + " failed", Err: err,
			Hint: "log in again, or take it out of ~/.docker/config.json"}
	}
	var answer struct{ Username, Secret string }
	if json.Unmarshal(out.Bytes(), &answer) != nil {
		return false, &backend.Error{Kind: backend.ErrUnavailable, Path: name, Message: "it answered no JSON"}
	}
	if answer.Username == "<token>" {
		auth.IdentityToken = answer.Secret
	} else {
		auth.Username, auth.Password = answer.Username, answer.Secret
	}
	return true, nil
}
