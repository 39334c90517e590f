package host

import (
	"cmp"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
)

// DefaultStartTimeout is how long a plugin may take from its start to being
// configured, in Options.StartTimeout.
const DefaultStartTimeout = 10 * time.Second

// Options say which plugin to start, and how.
type Options struct {
	// Name of the backend, as in `backend "NAME"`.
	Name string
	// Path of the program; the one Find finds by Name if empty.
	Path string
	// SHA256 the program must have, in lower-case hex. If it is empty, a plugin that
	// Find finds beside this program must be the one built with it; any other may
	// be any.
	SHA256 string
	// Config is the JSON of the block `config { }`, see DecodeConfig. Empty is an
	// empty block.
	Config []byte
	// Decode, if not nil, makes Config of the schema that the plugin describes
	// itself with. It is called once, and saves starting the plugin twice.
	Decode func(backend.Schema) ([]byte, error)
	// Env names the variables of this process that the plugin gets beside the
	// harmless ones (PATH, HOME, LANG, …). No other reaches it.
	Env []string
	// GuestDir holds the guest's programs; DEEP_GUEST_DIR, or guest/ beside this
	// program, if empty.
	GuestDir string
	// StateDir is for what the plugin must find again after its process ended. It
	// is made with mode 0700; a folder of the backend's in the user's state
	// directory if empty.
	StateDir string
	// Logger gets what the plugin logs and what befalls it; nothing if nil.
	Logger *slog.Logger
	// StartTimeout is DefaultStartTimeout if 0.
	StartTimeout time.Duration
}

// settle fills in the defaults.
func (o Options) settle() (Options, error) {
	if !validName(o.Name) {
		return o, &backend.Error{Kind: backend.ErrInvalid, Op: "start plugin", Path: o.Name,
			Message: "no name of a backend", Hint: "a backend's name is made of a-z, 0-9 and -"}
	}
	if o.Path == "" {
		path, err := Find(o.Name)
		if err != nil {
			return o, err
		}
		o.Path = path
		if o.SHA256 == "" {
			o.SHA256 = bundled(o.Name, path)
		}
	}
	var err error
	if o.Path, err = filepath.Abs(o.Path); err != nil {
		return o, &backend.Error{Kind: backend.ErrInvalid, Backend: o.Name, Op: "start plugin", Path: o.Path, Err: err}
	}
	if o.GuestDir == "" {
		if o.GuestDir, err = guestDir(); err != nil {
			return o, &backend.Error{Kind: backend.ErrUnavailable, Backend: o.Name, Op: "find guest", Err: err, Hint: "set DEEP_GUEST_DIR"}
		}
	}
	if o.StateDir == "" {
		if o.StateDir, err = stateDir(o.Name); err != nil {
			return o, &backend.Error{Kind: backend.ErrUnavailable, Backend: o.Name, Op: "find state directory", Err: err, Hint: "set XDG_STATE_HOME or HOME"}
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Logger = o.Logger.With("plugin", o.Name)
	o.StartTimeout = cmp.Or(o.StartTimeout, DefaultStartTimeout)
	return o, nil
}

// guestDir is where the guest's programs are.
func guestDir() (string, error) {
	if dir := os.Getenv("DEEP_GUEST_DIR"); dir != "" {
		return filepath.Abs(dir)
	}
	self, err := executable()
	return filepath.Join(filepath.Dir(self), "guest"), err
}

// stateDir is where backend name keeps what outlives its process.
func stateDir(name string) (string, error) {
	dir, err := userDir("XDG_STATE_HOME", ".local/state")
	return filepath.Join(dir, "deep", "backends", name), err
}

// userDir returns one of the user's base directories. A relative one in the
// environment is ignored, as the specification has it.
func userDir(variable, below string) (string, error) {
	if dir := os.Getenv(variable); filepath.IsAbs(dir) {
		return dir, nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, below), err
}

// executable is this program's own file, links resolved: what belongs to it is
// beside the file, not beside a link in ~/bin.
func executable() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(self)
}
