package jail

// Plan says what a sandbox shall be. The plugin tells it the keeper, and the
// keeper the first process.
type Plan struct {
	// Dir of the sandbox, see Record.
	Dir string `json:"dir"`
	IDs IDMap  `json:"ids"`
	// Cgroups to make.
	Cgroups []Cgroup `json:"cgroups,omitempty"`
	// Network: this host's is seen.
	Network bool `json:"network,omitempty"`
	// PIDs bounds processes and threads.
	PIDs int64 `json:"pids"`
	// Guest is its program on this host, GuestPath its place in the sandbox.
	Guest     string `json:"guest"`
	GuestPath string `json:"guest_path"`
	// Home of the user commands run as.
	Home string `json:"home"`
	// Workspace is the path of the workspace inside, one of Binds.
	Workspace string `json:"workspace"`
	// Tmpfs and Binds to mount, each with a target that is absolute and clean.
	Tmpfs []Tmpfs `json:"tmpfs"`
	Binds []Bind  `json:"binds"`

	// probe asks the first process to try what may be forbidden, and end.
	Probe bool `json:"probe,omitempty"`
}

// Tmpfs is a file system in memory.
type Tmpfs struct {
	Target string `json:"target"`
	// Size in bytes, Mode in octal digits.
	Size int64  `json:"size"`
	Mode string `json:"mode"`
	Exec bool   `json:"exec,omitempty"`
}

// Bind shows a directory or file of this host.
type Bind struct {
	// Source is a path without links, Dev and Ino what was there when it was
	// looked at. If it is something else by now, the sandbox is not made.
	Source   string `json:"source"`
	Dev      uint64 `json:"dev"`
	Ino      uint64 `json:"ino"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"read_only,omitempty"`
}
