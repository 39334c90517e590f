package main

import "github.com/deep-sandbox/deep/core/backend"

// plan is what the plugin tells the keeper, and the keeper the first process of
// the sandbox, on standard input.
type plan struct {
	// Dir of the sandbox on this host.
	Dir    string  `json:"dir"`
	Record *record `json:"record"`
	// Guest is its program on this host.
	Guest string `json:"guest"`
	// Workspace on this host, and further mounts.
	Workspace string          `json:"workspace"`
	Mounts    []backend.Mount `json:"mounts,omitempty"`
	// Network: this host's is seen.
	Network bool `json:"network,omitempty"`
	// Tmpfs to make.
	Tmpfs []tmpfs `json:"tmpfs"`
}

// tmpfs is a file system in memory, which counts as the sandbox's.
type tmpfs struct {
	Target string `json:"target"`
	Size   int64  `json:"size"`
	Mode   string `json:"mode"`
}
