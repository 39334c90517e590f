//go:build linux

// Command generate writes the seccomp profiles into a directory.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: generate DIRECTORY")
		os.Exit(2)
	}
	for _, arch := range architectures {
		profile, err := arch.profile()
		if err == nil {
			err = os.WriteFile(filepath.Join(os.Args[1], arch.name+".json"), profile, 0o644)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "generate:", err)
			os.Exit(1)
		}
	}
}
