package backend

import (
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of a Spec beyond which a value is a slip of the pen, not a wish.
const (
	minMemory = 16 << 20
	maxMemory = 1 << 50
	minPIDs   = 96
	maxPIDs   = 1 << 22 // the kernel's own limit
	minCPUs   = 0.01
	maxCPUs   = 1 << 14
	minLease  = time.Second
	maxPath   = 4095
)

// Settle returns s with every default filled in. It is the same on every
// backend: ErrInvalid for what means nothing anywhere, ErrUnsupported for what
// needs a capability that is not in caps. Path of the error is the field as a
// configuration writes it.
func (s Spec) Settle(caps []Capability) (Spec, error) {
	s.fillIn()
	for _, check := range []func([]Capability) error{
		s.checkImage, s.checkWorkspace, s.checkMounts, s.checkEnv, s.checkNetwork, s.checkLimits, s.checkTimes, s.checkDegraded,
	} {
		if err := check(caps); err != nil {
			return Spec{}, err
		}
	}
	s.Env = maps.Clone(s.Env)
	s.Mounts = slices.Clone(s.Mounts)
	for i := range s.Mounts {
		s.Mounts[i].Target = path.Clean(s.Mounts[i].Target)
	}
	s.Workspace.Path = path.Clean(s.Workspace.Path)
	s.AcceptDegraded = slices.Clone(s.AcceptDegraded)
	return s, nil
}

func (s *Spec) fillIn() {
	fill(&s.Image, DefaultImage)
	fill(&s.Pull, PullMissing)
	fill(&s.Workspace.Path, DefaultWorkspace)
	fill(&s.Network, NetworkNone)
	fill(&s.Memory, DefaultMemory)
	fill(&s.PIDs, DefaultPIDs)
	fill(&s.CPUs, DefaultCPUs)
	fill(&s.Timeout, DefaultTimeout)
	fill(&s.Lease, DefaultLease)
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (s *Spec) checkImage([]Capability) error {
	if strings.ContainsFunc(s.Image, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return invalid("image", "it holds a space or a control character", "write it as in python:3.12-slim")
	}
	if !slices.Contains([]PullPolicy{PullMissing, PullAlways, PullNever}, s.Pull) {
		return invalid("pull", Printable(string(s.Pull))+" is no policy", `use "missing", "always" or "never"`)
	}
	return nil
}

func (s *Spec) checkWorkspace(caps []Capability) error {
	w := s.Workspace
	if err := checkTarget("workspace", w.Path); err != nil {
		return err
	}
	if w.Source != "" && w.Name != "" {
		return invalid("workspace", "it has both a directory of this host and a name to be kept under", "use one of them")
	}
	if w.Source != "" {
		if err := checkSource("workspace", w.Source); err != nil {
			return err
		}
		return needs(caps, CapBind, "workspace", "a directory of this host cannot be bound here", "leave it out: the sandbox gets a workspace of its own")
	}
	if w.Name == "" {
		return nil
	}
	if !ValidID(w.Name) {
		return invalid("workspace", Printable(w.Name)+" is no name for a workspace", "use up to 64 of a-z, A-Z, 0-9, '.', '_' and '-', a letter or digit first")
	}
	return needs(caps, CapKeepWorkspace, "workspace", "a workspace cannot be kept here", "leave the name out")
}

func (s *Spec) checkMounts(caps []Capability) error {
	taken := map[string]bool{path.Clean(s.Workspace.Path): true}
	for _, m := range s.Mounts {
		field := "volume " + strconv.Quote(m.Target)
		if err := checkTarget(field, m.Target); err != nil {
			return err
		}
		if err := checkSource(field, m.Source); err != nil {
			return err
		}
		if target := path.Clean(m.Target); taken[target] {
			return invalid(field, "something is mounted there already", "use another path in the sandbox")
		} else {
			taken[target] = true
		}
		if err := needs(caps, CapBind, field, "a directory of this host cannot be bound here", "copy the files into the workspace"); err != nil {
			return err
		}
	}
	return nil
}

// checkTarget refuses a path inside that would hide what a sandbox stands on.
func checkTarget(field, target string) error {
	if err := checkPath(field, "in the sandbox", target); err != nil {
		return err
	}
	clean := path.Clean(target)
	if clean == "/" {
		return invalid(field, "nothing can be mounted at / of the sandbox", "use a directory below it")
	}
	for _, own := range []string{"/proc", "/sys", "/dev", "/.deep"} {
		if clean == own || strings.HasPrefix(clean, own+"/") {
			return invalid(field, own+" of the sandbox is not to be covered", "use another path in the sandbox")
		}
	}
	return nil
}

func checkSource(field, source string) error { return checkPath(field, "of this host", source) }

func checkPath(field, where, p string) error {
	switch {
	case p == "":
		return invalid(field, "the path "+where+" is missing", "name a directory")
	case !path.IsAbs(p):
		return invalid(field, "the path "+where+" is not absolute: "+Printable(p), "begin it with /")
	case strings.ContainsRune(p, 0):
		return invalid(field, "the path "+where+" holds a NUL", "")
	case len(p) > maxPath:
		return invalid(field, fmt.Sprintf("the path %s has %d bytes, %d are possible", where, len(p), maxPath), "")
	}
	return nil
}

func (s *Spec) checkEnv([]Capability) error {
	for _, key := range slices.Sorted(maps.Keys(s.Env)) {
		switch {
		case key == "" || strings.ContainsAny(key, "=\x00"):
			return invalid("env", Printable(key)+" is no name for a variable", "use one without '=' and NUL, not empty")
		case strings.ContainsRune(s.Env[key], 0):
			return invalid("env", "the value of "+Printable(key)+" holds a NUL", "")
		}
	}
	return nil
}

func (s *Spec) checkNetwork(caps []Capability) error {
	switch s.Network {
	case NetworkNone:
		return nil
	case NetworkFull:
		return needs(caps, CapNetworkFull, "network", "a sandbox has no network here", `use "none"`)
	}
	return invalid("network", Printable(string(s.Network))+" is no mode", `use "none" or "full"`)
}

func (s *Spec) checkLimits([]Capability) error {
	switch {
	case s.Memory < minMemory || s.Memory > maxMemory:
		return invalid("memory", fmt.Sprintf("%d bytes is out of range", s.Memory), `at least "16MiB"; "1GiB" is the default`)
	case s.PIDs < minPIDs || s.PIDs > maxPIDs:
		return invalid("pids", fmt.Sprintf("%d is out of range", s.PIDs), fmt.Sprintf("from %d, of which 64 are the guest's, to %d", minPIDs, maxPIDs))
	case math.IsNaN(s.CPUs) || s.CPUs < minCPUs || s.CPUs > maxCPUs:
		return invalid("cpus", strconv.FormatFloat(s.CPUs, 'g', -1, 64)+" is out of range", "at least 0.01; 2 is the default")
	}
	return nil
}

func (s *Spec) checkTimes([]Capability) error {
	for _, t := range []struct {
		field string
		value time.Duration
	}{{"timeout", s.Timeout}, {"lease", s.Lease}, {"idle_timeout", s.IdleTimeout}, {"max_lifetime", s.MaxLifetime}} {
		if t.value < 0 {
			return invalid(t.field, t.value.String()+" is negative", `write a duration such as "90s"`)
		}
	}
	if s.Lease < minLease {
		return invalid("lease", s.Lease.String()+" is too short", "at least 1s; 60s is the default")
	}
	return nil
}

func (s *Spec) checkDegraded([]Capability) error {
	for _, name := range s.AcceptDegraded {
		if !ValidLayer(name) {
			return invalid("accept_degraded", Printable(name)+" is no layer of isolation",
				"the layers are "+strings.Join(LayerNames, ", ")+"; one that only a backend has begins with "+OwnLayer)
		}
	}
	return nil
}

func needs(caps []Capability, want Capability, field, message, hint string) error {
	if slices.Contains(caps, want) {
		return nil
	}
	return &Error{Kind: ErrUnsupported, Op: "create", Path: field, Message: message, Hint: hint}
}

func invalid(field, message, hint string) error {
	return &Error{Kind: ErrInvalid, Op: "create", Path: field, Message: message, Hint: hint}
}
