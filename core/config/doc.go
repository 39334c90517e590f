// Package config reads config.hcl into typed values that know where they stand.
//
// # Which file
//
// The first of these that there is, and no other: the one asked for (--config),
// $DEEP_CONFIG, deep/config.hcl in the user's configuration directory,
// /etc/deep/config.hcl. Never one in the working directory: that may be a
// stranger's checkout, and whoever writes the configuration decides what a
// sandbox may do. For the same reason a file that others can write is refused.
// Without any file everything has a default.
//
// # Mistakes
//
// [Load] reports every mistake at once, in an [*Error] that holds for each the
// place, what is wrong, the nearest valid name and the line. A key that is not
// known is a mistake, and so is a backend that is not installed: the limits in a
// block with a misspelt name would be none.
//
// What a plugin finds wrong later, with its own options or with the sandbox asked
// of it, [Backend.ExplainOptions] and [Backend.ExplainSandbox] bring back to the line
// it was written on.
package config
