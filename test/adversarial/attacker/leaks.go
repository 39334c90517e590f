package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

var _ = add(map[string]func([]string){
	"environment": func(args []string) {
		files, _ := filepath.Glob("/proc/[0-9]*/environ")
		for _, f := range files {
			if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), args[0]) {
				got("the secret, in %s", f)
			}
		}
	},
	// Those of a sandbox are the guest, its connections and this.
	"others": func([]string) {
		files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				continue
			}
			argv := strings.Split(string(b), "\x00")
			if name := filepath.Base(argv[0]); name != "deep-guest" && !strings.Contains(string(b), tag) {
				got("process %s, %q", f, argv)
			}
			if strings.Contains(string(b), "quiet") {
				got("the process of the other, %s", f)
			}
		}
	},
	// find PREFIX SUFFIX: as two arguments, so that it does not find itself.
	"find": func(args []string) {
		_ = filepath.WalkDir("/", func(path string, d fs.DirEntry, err error) error {
			if err != nil || path == "/proc" || path == "/sys" || path == "/usr" {
				return fs.SkipDir
			}
			if strings.HasPrefix(d.Name(), args[0]+args[1]) {
				got("%s", path)
			}
			return nil
		})
	},
})
