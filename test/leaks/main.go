// Command leaks lists what deep left on this machine: containers and volumes of
// each engine that answers, processes, cgroups, directories for temporary files.
// It exits with 1 if there is anything.
//
// With -known FILE it leaves out the lines of that file, an earlier output, and
// with -wait it looks again until nothing is left or the time is up, since an
// engine removes a container a moment after its last process ended.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	known := flag.String("known", "", "`file` with lines to leave out")
	wait := flag.Duration("wait", 0, "how long to look again while something is left")
	flag.Parse()

	ignore, err := lines(*known)
	if err != nil {
		fmt.Fprintln(os.Stderr, "leaks:", err)
		os.Exit(2)
	}
	var left []string
	for deadline := time.Now().Add(*wait); ; time.Sleep(500 * time.Millisecond) {
		left = nil
		for _, look := range []func() []string{engines, processes, cgroups, directories} {
			for _, l := range look() {
				if !ignore[l] {
					left = append(left, l)
				}
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			break
		}
	}
	for _, l := range left {
		fmt.Println(l)
	}
	if len(left) > 0 {
		os.Exit(1)
	}
}

// lines returns the lines of a file as a set, an empty one for "".
func lines(path string) (map[string]bool, error) {
	set := map[string]bool{}
	if path == "" {
		return set, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		set[s.Text()] = true
	}
	return set, s.Err()
}

// engines asks each engine for what carries our label. One that does not answer
// holds nothing we could have made.
func engines() []string {
	var found []string
	for name, socket := range map[string]string{"docker": "/var/run/docker.sock", "podman": "/run/podman/podman.sock"} {
		client := &http.Client{
			Timeout: 30 * time.Second,
			Transport: &http.Transport{
				DisableKeepAlives: true,
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return (&net.Dialer{}).DialContext(ctx, "unix", socket)
				},
			},
		}
		label := url.QueryEscape(`{"label":["deep.managed=true"]}`)
		var containers []struct {
			Names  []string
			Labels map[string]string
			State  string
		}
		if err := get(client, "/v1.40/containers/json?all=1&filters="+label, &containers); err != nil {
			continue
		}
		for _, c := range containers {
			found = append(found, fmt.Sprintf("%s container %v", name, c.Names))
		}
		var volumes struct {
			Volumes []struct {
				Name   string
				Labels map[string]string
			}
		}
		if err := get(client, "/v1.40/volumes?filters="+label, &volumes); err != nil {
			found = append(found, fmt.Sprintf("%s volumes cannot be listed: %v", name, err))
		}
		for _, v := range volumes.Volumes {
			// The guest's own volume is a cache by its sum, and stays on purpose.
			if v.Labels["deep.guest"] == "" {
				found = append(found, fmt.Sprintf("%s volume %s", name, v.Name))
			}
		}
	}
	return found
}

func get(client *http.Client, path string, into any) error {
	resp, err := client.Get("http://engine" + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// processes looks for our programs, by the name they were started under.
func processes() []string {
	var found []string
	dirs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range dirs {
		data, err := os.ReadFile(p)
		if err != nil {
			continue // it ended meanwhile
		}
		args := strings.Split(string(data), "\x00")
		base := filepath.Base(args[0])
		if base == "deep" || base == "deep-guest" || strings.HasPrefix(base, "deep-guest-linux-") || strings.HasPrefix(base, "deep-backend-") {
			found = append(found, fmt.Sprintf("process %s %s", filepath.Base(filepath.Dir(p)), strings.Join(args, " ")))
		}
	}
	return found
}

// cgroups looks for ours, which begin with "deep".
func cgroups() []string {
	var found []string
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), "deep-") {
			found = append(found, "cgroup "+path)
			return fs.SkipDir
		}
		return nil // what vanished meanwhile is not ours to worry about
	})
	return found
}

// directories looks for temporary files of ours, and mounts in them.
func directories() []string {
	var found []string
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), "deep*"))
	for _, d := range dirs {
		found = append(found, "directory "+d)
	}
	mounts, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 1 && strings.Contains(f[1], "/deep/") {
			found = append(found, "mount "+f[1])
		}
	}
	return found
}
