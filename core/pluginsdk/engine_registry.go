package pluginsdk

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// registryPhrases tells what kind of failure an engine's text about a pull
// means, most telling first. A pull fails inside the engine, after its answer has
// begun: there is neither a status nor a code, only this text. The words are
// those of the distribution specification's error codes, of Go's net, tls and
// x509 packages, and of the kernel.
var registryPhrases = []struct {
	kind    error
	phrases []string
}{
	{backend.ErrNoSpace, []string{"no space left on device"}},
	{backend.ErrPermission, []string{"unauthorized", "access to the resource is denied", "pull access denied", "denied:", "authentication required", "no basic auth credentials", "forbidden", "status: 401", "status: 403", "401 (", "403 ("}},
	{backend.ErrNotFound, []string{"manifest unknown", "name unknown", "not found", "repository name not known", "404 ("}},
	{backend.ErrInvalid, []string{"no matching manifest", "invalid reference", "unsupported manifest", "no image found in manifest list", "no image found in image index"}},
	{backend.ErrUnavailable, []string{""}},
}

// EngineImageError says why an image cannot be pulled, from the engine's text.
func EngineImageError(image, text string) error {
	lower := strings.ToLower(text)
	for _, r := range registryPhrases {
		for _, phrase := range r.phrases {
			if strings.Contains(lower, phrase) {
				return imageError(r.kind, image, text)
			}
		}
	}
	return imageError(backend.ErrUnavailable, image, text)
}

func imageError(kind error, image, text string) error {
	e := &backend.Error{Kind: kind, Path: image}
	registry, _, _ := strings.Cut(image, "/")
	is := func(k error) bool { return errors.Is(kind, k) }
	switch {
	case is(backend.ErrPermission):
		e.Message = "the registry denies access"
		e.Hint = "the name may be wrong, or the image private: log in with the engine's own command, to " + registry
	case is(backend.ErrNotFound):
		e.Message = "the registry has no such image"
		e.Hint = "check name and tag"
	case is(backend.ErrInvalid):
		e.Message = "the image does not fit this engine"
		e.Hint = "use one made for linux and the engine's architecture"
	case is(backend.ErrNoSpace):
		e.Message = "the engine's disk is full"
		e.Hint = "remove images that are not needed"
	default:
		e.Message = "the registry cannot be reached"
		e.Hint = "see that the engine's host has a way to " + registry + `; with the image there already, pull = "never" asks no registry`
	}
	e.Message += " (" + backend.Printable(strings.TrimSpace(text)) + ")"
	return e
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

// pullMessage is one line of an engine's answer to a pull, in the form of
// Docker's API, which Podman speaks too.
type pullMessage struct {
	ID       string `json:"id"`
	Status   string `json:"status"`
	Progress struct {
		Current int64 `json:"current"`
		Total   int64 `json:"total"`
	} `json:"progressDetail"`
	Detail struct {
		Message string `json:"message"`
	} `json:"errorDetail"`
	Error string `json:"error"`
}

// EnginePull follows the answer to a pull of image to its end and reports
// progress.
func EnginePull(answer io.Reader, image string, progress func(backend.Progress)) error {
	report := pullProgress(progress)
	lines := json.NewDecoder(answer)
	for {
		var m pullMessage
		err := lines.Decode(&m)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return &backend.Error{Kind: backend.ErrUnavailable, Path: image, Message: "the engine's account of the pull broke off", Err: err}
		case m.Detail.Message != "":
			return EngineImageError(image, m.Detail.Message)
		case m.Error != "":
			return EngineImageError(image, m.Error)
		}
		report(m)
	}
}

// pullProgress returns a function that reports of the many lines an engine
// writes those with something new, and of a layer's bytes ten a second.
func pullProgress(progress func(backend.Progress)) func(m pullMessage) {
	type last struct {
		status string
		at     time.Time
	}
	seen := map[string]last{}
	return func(m pullMessage) {
		now, of := time.Now(), m.Progress
		l, ok := seen[m.ID]
		whole := of.Total > 0 && of.Current >= of.Total
		if ok && l.status == m.Status && !whole && now.Sub(l.at) < 100*time.Millisecond {
			return
		}
		seen[m.ID] = last{m.Status, now}
		progress(backend.Progress{Phase: backend.PhasePull, Message: backend.Printable(m.Status), Layer: backend.Printable(m.ID),
			Current: max(of.Current, 0), Total: max(of.Total, 0)})
	}
}
