package guest

import (
	"bytes"
	"fmt"

	"github.com/deep-sandbox/deep/core/backend"
)

// batch is the replacements of one Edit, in their order.
type batch []backend.Replacement

func newBatch(req *backend.EditRequest) batch {
	return append(batch{{Old: req.Old, New: req.New, All: req.All}}, req.Then...)
}

// check refuses what no content could make meaningful.
func (b batch) check() error {
	for i, r := range b {
		switch {
		case len(r.Old) == 0:
			return b.error(i, backend.ErrInvalid, "the text to find is empty", "give the text that is to be replaced; a write replaces the whole file")
		case bytes.Equal(r.Old, r.New):
			return b.error(i, backend.ErrInvalid, "the new text is the old one", "give a text that differs, or leave the replacement out")
		}
	}
	return nil
}

// apply makes all replacements, and tells how many matches were replaced.
func (b batch) apply(content []byte) (result []byte, replaced int, err error) {
	for i, r := range b {
		n := bytes.Count(content, r.Old)
		switch {
		case n == 0:
			return nil, 0, b.error(i, backend.ErrNotFound, "the text to replace is not in the file",
				"read the file again and copy the text exactly, white space included")
		case n > 1 && !r.All:
			err := b.error(i, backend.ErrConflict, fmt.Sprintf("the text to replace is in the file %d times", n),
				"give more of what surrounds it, or ask for all")
			err.Count = n
			return nil, 0, err
		}
		// Before it is made: a batch that doubles the text 40 times would not fit.
		if size := len(content) + n*(len(r.New)-len(r.Old)); size > backend.MaxEditSize {
			return nil, 0, b.error(i, backend.ErrTooLarge, fmt.Sprintf("the file would have %d bytes, above the %d of an edit", size, backend.MaxEditSize), hintEditSize)
		}
		content = bytes.ReplaceAll(content, r.Old, r.New)
		replaced += n
	}
	return content, replaced, nil
}

// error says which of several replacements it is about.
func (b batch) error(i int, kind error, message, hint string) *backend.Error {
	if len(b) > 1 {
		message = fmt.Sprintf("replacement %d of %d: %s", i+1, len(b), message)
	}
	return &backend.Error{Kind: kind, Message: message, Hint: hint}
}
