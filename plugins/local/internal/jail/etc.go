package jail

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// etcShown is what programs in /usr need of /etc: links lead through it, and the
// loader and libraries read it. The rest of it, with the users and secrets of
// this host, is not shown.
var etcShown = []string{
	"alternatives", "ca-certificates", "fonts", "java-*", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime",
	"magic", "mime.types", "perl", "pki/ca-trust", "pki/tls/certs", "pki/tls/openssl.cnf", "protocols", "python*", "services",
	"ssl/certs", "ssl/openssl.cnf", "terminfo", "timezone",
}

// etcNetwork is shown beside where the sandbox has this host's network.
var etcNetwork = []string{"hosts", "resolv.conf"}

func (s *setup) openEtc() error {
	patterns := etcShown
	if s.Network {
		patterns = append(patterns[:len(patterns):len(patterns)], etcNetwork...)
	}
	for _, pattern := range patterns {
		names, err := filepath.Glob("/etc/" + pattern)
		if err != nil {
			return err
		}
		for _, name := range names {
			// What it leads to, wherever that is: /run is not there inside.
			resolved, err := filepath.EvalSymlinks(name)
			if err != nil {
				continue // a link to nothing shows nothing
			}
			// Not even readable for who called: nothing that programs rely on.
			if unix.Access(resolved, unix.R_OK) != nil {
				continue
			}
			if err := s.show(resolved, name, readOnly); err != nil {
				return err
			}
		}
	}
	return nil
}

// etc is the part of /etc that is the sandbox's own.
func (s *setup) etc() map[string]string {
	files := map[string]string{
		"passwd": "root:x:0:0:root:/:/bin/sh\n" +
			fmt.Sprintf("deep:x:%d:%d:deep:%s:/bin/sh\n", UserID, UserID, s.Home) +
			"nobody:x:65534:65534:nobody:/:/bin/false\n",
		"group":         fmt.Sprintf("root:x:0:\ndeep:x:%d:\nnogroup:x:65534:\n", UserID),
		"nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
		"hostname":      "sandbox\n",
		"os-release":    osRelease(),
	}
	if !s.Network {
		files["hosts"] = "127.0.0.1 localhost sandbox\n::1 localhost\n"
	}
	return files
}

// osRelease is this host's: whose programs they are.
func osRelease() string {
	data, err := os.ReadFile(staging + "/usr/lib/os-release")
	if err != nil {
		return "" // not every system tells
	}
	return string(data)
}
