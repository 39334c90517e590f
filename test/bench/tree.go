package main

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"

	"github.com/deep-sandbox/deep/core/backend"
)

const (
	treeDirs   = 100
	treeFiles  = 100 // in each
	treeRounds = 30
	// needle stands in one file of a hundred.
	needle = "needle_in_a_haystack"
)

// tree measures searches in 10,000 files of 4 KiB.
func tree(ctx context.Context, name string, sb backend.Sandbox) ([]Row, error) {
	var archive bytes.Buffer
	if err := writeTree(&archive); err != nil {
		return nil, err
	}
	var put sample
	err := put.time(func() error {
		_, err := sb.PutArchive(ctx, &backend.PutArchiveRequest{Path: "/tmp/tree", Content: &archive})
		return err
	})
	if err != nil {
		return nil, err
	}
	var grep, glob sample
	for range treeRounds {
		err := grep.time(func() error {
			r, err := sb.Grep(ctx, &backend.GrepRequest{Path: "/tmp/tree", Pattern: needle, Literal: true})
			if err == nil && (len(r.Matches) != treeDirs || r.Searched != treeDirs*treeFiles) {
				err = fmt.Errorf("%d matches in %d files", len(r.Matches), r.Searched)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		err = glob.time(func() error {
			r, err := sb.Glob(ctx, &backend.GlobRequest{Path: "/tmp/tree", Pattern: "**/*.go"})
			if err == nil && r.Total != treeDirs*treeFiles/2 {
				err = fmt.Errorf("%d matches", r.Total)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	err = sb.Remove(ctx, &backend.RemoveRequest{Path: "/tmp/tree", Recursive: true})
	return []Row{
		compare("archive-put-10k", name, put, nil), compare("grep-literal-10k", name, grep, nil), compare("glob-10k", name, glob, nil),
	}, err
}

// writeTree writes the files: text lines, half of them named *.go.
func writeTree(w *bytes.Buffer) error {
	line := []byte("func f(a, b int) int { return a*31 + b } // as in a source\n")
	text := bytes.Repeat(line, 4096/len(line)+1)[:4096]
	t := tar.NewWriter(w)
	for d := range treeDirs {
		for f := range treeFiles {
			content := text
			if f == 50 {
				content = bytes.Clone(text)
				copy(content[2000:], needle)
			}
			ext := "go"
			if f%2 == 1 {
				ext = "py"
			}
			h := &tar.Header{Name: fmt.Sprintf("d%02d/f%02d.%s", d, f, ext), Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg}
			if err := t.WriteHeader(h); err != nil {
				return err
			}
			if _, err := t.Write(content); err != nil {
				return err
			}
		}
	}
	return t.Close()
}
