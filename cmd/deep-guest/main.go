// Command deep-guest is the program inside a sandbox.
package main

import (
	"os"

	"github.com/deep-sandbox/deep/core/guest"
)

func main() { os.Exit(guest.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
