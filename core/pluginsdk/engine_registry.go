package pluginsdk

import (
	"strings"

	"github.com/distribution/reference"

	"github.com/deep-sandbox/deep/core/backend"
)

// pullFailures tell what an engine's text about a pull means, most telling first.
// A pull fails inside the engine, after its answer has begun: there is neither a
// status nor a code, only this text. The phrases are those of the distribution
// specification's error codes, of the engines' image libraries, of Go's net, tls
// and x509 packages, and of the kernel. REGISTRY in a hint is its address.
var pullFailures = []struct {
	kind          error
	message, hint string
	phrases       []string
}{
	{backend.ErrNoSpace, "the engine's disk is full", "remove images that are not needed",
		[]string{"no space left on device"}},
	{backend.ErrConflict, "what the registry sent does not match its digest, and nothing of it was kept",
		"try again; if it goes on, the content at REGISTRY is damaged, or something on the way there alters it",
		[]string{"verification failed for digest", "digest did not match", "does not match provided manifest digest", "unexpected commit digest"}},
	{backend.ErrUnavailable, "the registry has had too many requests", "wait a while, or log in, which most registries allow more: with the engine's own command, to REGISTRY",
		[]string{"toomanyrequests", "too many requests", "rate limit"}},
	{backend.ErrPermission, "the registry denies access", "the name may be wrong, or the image private: log in with the engine's own command, to REGISTRY",
		[]string{"unauthorized", "access to the resource is denied", "pull access denied", "denied:", "authentication required", "no basic auth credentials", "forbidden", "status: 401", "status: 403", "401 (", "403 ("}},
	{backend.ErrUnsupported, "the image is not for this engine's architecture", "use one made for linux and the engine's architecture",
		[]string{"no matching manifest", "no image found in manifest list", "no image found in image index"}},
	{backend.ErrNotFound, "the registry has no such image", "check name and tag",
		[]string{"manifest unknown", "name unknown", "not found", "repository name not known", "404 ("}},
	{backend.ErrInvalid, "the image does not fit this engine", "use one made for linux and the engine's architecture",
		[]string{"invalid reference", "unsupported manifest"}},
	{backend.ErrUnavailable, "the engine does not trust the registry's certificate", "give the engine the certificate of the authority, in certs.d/REGISTRY/ca.crt below /etc/docker or /etc/containers",
		[]string{"x509:"}},
	{backend.ErrUnavailable, "the registry speaks no TLS", "give it a certificate, or name REGISTRY an insecure registry in the engine's own configuration",
		[]string{"server gave http response to https client"}},
}

const unreachableHint = `see that the engine's host has a way to REGISTRY; with the image there already, pull = "never" asks no registry`

// EngineImageError says why an image cannot be pulled, from the engine's text. What
// it does not know is a registry out of reach.
func EngineImageError(image, text string) error {
	text = strings.TrimSpace(text)
	search := withoutImage(strings.ToLower(text), image)
	for _, f := range pullFailures {
		for _, phrase := range f.phrases {
			if strings.Contains(search, phrase) {
				return imageError(f.kind, image, f.message+" ("+backend.Printable(text)+")", f.hint)
			}
		}
	}
	return imageError(backend.ErrUnavailable, image, "the registry cannot be reached ("+backend.Printable(text)+")", unreachableHint)
}

// imageError is an error about an image and its registry.
func imageError(kind error, image, message, hint string) error {
	return &backend.Error{Kind: kind, Path: image, Message: message, Hint: strings.ReplaceAll(hint, "REGISTRY", registryOf(image))}
}

// registryOf returns the address of the registry of an image.
func registryOf(image string) string {
	if named, err := reference.ParseNormalizedNamed(image); err == nil {
		return reference.Domain(named)
	}
	return "the registry"
}

// withoutImage returns an engine's text without the image's name and tag: anybody
// may call an image "forbidden".
func withoutImage(text, image string) string {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return text
	}
	names := []string{named.String(), reference.FamiliarString(named), named.Name(), "/v2/" + reference.Path(named) + "/"}
	if tagged, ok := named.(reference.Tagged); ok {
		tag := strings.ToLower(tagged.Tag())
		names = append(names, "manifests/"+tag, "manifest "+tag+" ")
	}
	for _, name := range names {
		text = strings.ReplaceAll(text, name, " ")
	}
	return text
}

// EngineImageMissing is the error for an image that is not there and not to be
// pulled.
func EngineImageMissing(image string) error {
	return &backend.Error{Kind: backend.ErrNotFound, Path: image, Message: "the engine does not have this image, and pull is \"never\"",
		Hint: `pull it with the engine's tools, or set pull = "missing"`}
}

// EngineImageReference is the error for what is no name of an image.
func EngineImageReference(image string, cause error) error {
	return &backend.Error{Kind: backend.ErrInvalid, Path: image, Message: "this is no name of an image", Err: cause,
		Hint: "write it as in python:3.12-slim or registry.example.com/team/image:tag, in lower case"}
}

// EngineImageArch is the error for an image whose programs cannot run with a
// guest of ours, or not on that engine.
func EngineImageArch(image, os, arch, engineArch string) error {
	return &backend.Error{Kind: backend.ErrUnsupported, Path: image,
		Message: "the image is for " + backend.Printable(os+"/"+arch) + ", the engine runs linux/" + engineArch,
		Hint:    "pull the image for the engine's architecture"}
}
