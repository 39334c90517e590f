package pluginsdk

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

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

// registryPatience is how long a registry may take to tell anything of an image.
// Most of the engines' own limits are shorter; Podman asks one that has had too
// many requests again for minutes, and says nothing meanwhile.
const registryPatience = time.Minute

// errSilent is why a pull ends that nothing was heard of.
var errSilent = errors.New("nothing was heard of it for " + registryPatience.String())

// EnginePull pulls an image and reports progress. pull asks the engine for it,
// with the context it is given; what the engine answers is followed to its end.
func EnginePull(ctx context.Context, image string, progress func(backend.Progress), pull func(context.Context) (io.ReadCloser, error)) error {
	asking, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(registryPatience, func() { cancel(errSilent) })
	defer silence.Stop()

	progress(backend.Progress{Phase: backend.PhasePull, Message: "pulling " + image})
	answer, err := pull(asking)
	if err == nil {
		err = followPull(answer, image, func() { silence.Stop() }, progress)
		_ = answer.Close()
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return imageError(ctx.Err(), image, "the pull from "+registryOf(image)+" was given up", "give it more time, and "+unreachableHint)
	case errors.Is(context.Cause(asking), errSilent):
		return imageError(backend.ErrUnavailable, image, "the registry does not answer ("+errSilent.Error()+")", unreachableHint)
	}
	return err
}

// followPull reads the answer to a pull to its end. heard is called when the
// registry told of the image.
func followPull(answer io.Reader, image string, heard func(), progress func(backend.Progress)) error {
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
		case m.ID == "":
			continue // of the whole: its digest, and that it is done
		}
		heard()
		if !strings.HasPrefix(m.Status, "Pulling from ") { // its id is a tag
			report(m)
		}
	}
}

// pullProgress returns a function that reports of the many lines an engine
// writes those with something new, and of a layer's bytes ten a second. An engine
// counts a layer's bytes again as it unpacks it, and may not tell of the last
// ones: here they never go back, and end at the total.
func pullProgress(progress func(backend.Progress)) func(m pullMessage) {
	type layer struct {
		status         string
		at             time.Time
		current, total int64
	}
	seen := map[string]*layer{}
	return func(m pullMessage) {
		now := time.Now()
		l, known := seen[m.ID]
		if !known {
			l = &layer{}
			seen[m.ID] = l
		}
		before := l.current
		l.total = max(l.total, m.Progress.Total)
		l.current = min(max(l.current, m.Progress.Current), l.total)
		if m.Status == "Download complete" || m.Status == "Pull complete" {
			l.current = l.total
		}
		whole := l.current > before && l.current == l.total
		if known && l.status == m.Status && !whole && now.Sub(l.at) < 100*time.Millisecond {
			return
		}
		l.status, l.at = m.Status, now
		progress(backend.Progress{Phase: backend.PhasePull, Message: backend.Printable(m.Status), Layer: backend.Printable(m.ID),
			Current: l.current, Total: l.total})
	}
}
