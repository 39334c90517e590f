package backendtest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

// entry is one of an archive.
type entry struct {
	tar.Header
	data string
}

func file(name, data string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data))}, data}
}

func directory(name string) entry {
	return entry{tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755}, ""}
}

func link(name, target string) entry {
	return entry{tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, ""}
}

func hardLink(name, target string) entry {
	return entry{tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o644}, ""}
}

func (e entry) mode(mode int64) entry {
	e.Mode = mode
	return e
}

// archiveOf makes a tar stream.
func archiveOf(t *T, entries ...entry) string {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		if e.Format == tar.FormatUnknown {
			e.Format = tar.FormatPAX
		}
		t.must("make an archive", w.WriteHeader(&e.Header))
		_, err := io.WriteString(w, e.data)
		t.must("make an archive", err)
	}
	t.must("make an archive", w.Close())
	return out.String()
}

// putArchive unpacks entries in a directory of the rule's.
func (t *T) putArchive(dir string, entries ...entry) (*backend.PutArchiveReply, error) {
	return t.sandbox().PutArchive(t.ctx, &backend.PutArchiveRequest{Path: t.path(dir), Content: onlyReader{strings.NewReader(archiveOf(t, entries...))}})
}

// getArchiveIn returns the whole stream.
func (t *T) getArchiveIn(ctx context.Context, path string) (string, error) {
	r, err := t.sandbox().GetArchive(ctx, &backend.GetArchiveRequest{Path: path})
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(r)
	return string(data), errors.Join(err, r.Close())
}

// getArchive packs a file or directory of the rule's and returns its entries.
func (t *T) getArchive(name string) []entry {
	stream, err := t.getArchiveIn(t.ctx, t.path(name))
	t.must("get archive", err)
	return t.entries(stream)
}

func (t *T) entries(stream string) []entry {
	var entries []entry
	r := tar.NewReader(strings.NewReader(stream))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return entries
		}
		t.must("read an archive", err)
		data, err := io.ReadAll(r)
		t.must("read an archive", err)
		entries = append(entries, entry{*h, string(data)})
	}
}

// brief says of each entry what counts: kind, name, permissions, target or
// content.
func brief(entries []entry) []string {
	var all []string
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name, "/")
		switch e.Typeflag {
		case tar.TypeSymlink:
			all = append(all, fmt.Sprintf("l %q -> %q", name, e.Linkname))
		case tar.TypeDir:
			all = append(all, fmt.Sprintf("d %q %o", name, e.Mode&0o7777))
		default:
			all = append(all, fmt.Sprintf("%c %q %o %s", e.Typeflag, name, e.Mode&0o7777, short(e.data)))
		}
	}
	return all
}

func (t *T) wantEntries(name string, want ...entry) {
	if got, want := brief(t.getArchive(name)), brief(want); !slices.Equal(got, want) {
		t.Errorf("the archive of %s holds\n\t%s, want\n\t%s", name, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}
