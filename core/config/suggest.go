package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
)

// Suggest says what may have been meant by a name that is not among names: the
// nearest one, or all of them where none is near and they are few.
func Suggest(name string, names []string) string {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	best, least := "", len(name)
	for _, n := range names {
		if d := levenshtein.Distance(strings.ToLower(name), n, nil); d < least {
			best, least = n, d
		}
	}
	switch {
	case len(names) == 0:
		return "there is none"
	case best != "" && least <= max(2, len(name)/3):
		return fmt.Sprintf("did you mean %s?", best)
	case len(names) == 1:
		return "there is only " + names[0]
	}
	return "there are " + strings.Join(names, ", ")
}
