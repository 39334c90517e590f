package cli

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

// probeReport is what `deep doctor --probe BACKEND --json` prints. Limits that are
// no number are null: there is none, or it is not known, as unlimited and unknown
// say.
type probeReport struct {
	Backend         string   `json:"backend"`
	Image           string   `json:"image,omitempty"`
	Runtime         string   `json:"runtime"`
	UID             uint32   `json:"uid"`
	GID             uint32   `json:"gid"`
	UserSplit       bool     `json:"user_split"`
	Capabilities    []int    `json:"capabilities"`
	Bounding        []int    `json:"bounding"`
	NoNewPrivileges bool     `json:"no_new_privileges"`
	Seccomp         string   `json:"seccomp"`
	Landlock        int      `json:"landlock"`
	Network         string   `json:"network"`
	RootFileSystem  string   `json:"root_file_system"`
	Memory          *float64 `json:"memory"`
	Swap            *float64 `json:"swap"`
	PIDs            *float64 `json:"pids"`
	CPUs            *float64 `json:"cpus"`
	OpenFiles       *float64 `json:"open_files"`
	FileSize        *float64 `json:"file_size"`
	CoreSize        *float64 `json:"core_size"`
	Unlimited       []string `json:"unlimited"`
	Unknown         []string `json:"unknown"`
	Disk            string   `json:"disk"`
	Degraded        []string `json:"degraded"`
}

// doctorProbe makes a sandbox, shows what is in force in it, and removes it.
func (a *app) doctorProbe(ctx context.Context, o *sandboxFlags, asJSON bool) error {
	info, err := a.probe(ctx, o)
	switch {
	case err != nil && asJSON:
		return errors.Join(err, printJSON(a.Out, map[string]*failure{"error": newFailure(err)}))
	case err != nil:
		return err
	case asJSON:
		return printJSON(a.Out, probeInJSON(info))
	}
	return probeTable(info).print(a.Out)
}

// probe returns what a sandbox made for that tells of itself.
func (a *app) probe(ctx context.Context, o *sandboxFlags) (info backend.SandboxInfo, err error) {
	c, err := a.config()
	if err != nil {
		return info, err
	}
	b, err := c.Backend(o.backend)
	if err != nil {
		return info, err
	}
	p, err := a.launch(ctx, b)
	if err != nil {
		return info, err
	}
	defer a.leave(ctx, p)
	desc, err := p.Describe(ctx)
	if err != nil {
		return info, err
	}
	spec, overridden, err := o.spec(b, desc.Capabilities)
	if err != nil {
		return info, err
	}
	// What is looked at is the isolation: nothing that was kept is touched.
	spec.Ephemeral, spec.Workspace.Name = true, ""
	sb, err := a.create(ctx, p, &backend.CreateRequest{ID: backend.NewID(), Spec: spec})
	if err != nil {
		return info, b.ExplainSandbox(err, overridden...)
	}
	if info = sb.Info(); info.Isolation == nil {
		return info, &backend.Error{Kind: backend.ErrUnsupported, Backend: b.Name, Op: "probe", Message: "this backend does not tell what is in force in a sandbox",
			Hint: "use a later release of its plugin"}
	}
	return info, nil
}

func probeInJSON(info backend.SandboxInfo) *probeReport {
	i := info.Isolation
	r := &probeReport{
		Backend: info.Backend, Image: info.Image, Runtime: i.Runtime, UID: i.UID, GID: i.GID, UserSplit: i.UserSplit,
		Capabilities: bitsOf(i.Capabilities), Bounding: bitsOf(i.Bounding), NoNewPrivileges: i.NoNewPrivileges, Seccomp: i.Seccomp, Landlock: i.Landlock,
		Network: string(i.Network), RootFileSystem: string(i.RootFileSystem), Disk: string(i.Disk),
		Unlimited: []string{}, Unknown: []string{}, Degraded: append([]string{}, info.Degraded...),
	}
	for _, l := range []struct {
		name  string
		value float64
		to    **float64
	}{
		{"memory", float64(i.Memory), &r.Memory}, {"swap", float64(i.Swap), &r.Swap}, {"pids", float64(i.PIDs), &r.PIDs}, {"cpus", i.CPUs, &r.CPUs},
		{"open_files", float64(i.OpenFiles), &r.OpenFiles}, {"file_size", float64(i.FileSize), &r.FileSize}, {"core_size", float64(i.CoreSize), &r.CoreSize},
	} {
		switch l.value {
		case backend.NoLimit:
			r.Unlimited = append(r.Unlimited, l.name)
		case backend.NotKnown:
			r.Unknown = append(r.Unknown, l.name)
		default:
			*l.to = &l.value
		}
	}
	return r
}

func probeTable(info backend.SandboxInfo) table {
	i := info.Isolation
	yes := func(is bool, otherwise string) string {
		if is {
			return "yes"
		}
		return otherwise
	}
	or := func(s, otherwise string) string {
		if s == "" {
			return otherwise
		}
		return s
	}
	landlock := "none"
	if i.Landlock > 0 {
		landlock = "version " + strconv.Itoa(i.Landlock)
	}
	t := table{
		{"backend", info.Backend},
		{"image", or(info.Image, "none")},
		{"runtime", or(i.Runtime, "not known")},
		{"commands run as", fmt.Sprintf("%d:%d", i.UID, i.GID)},
		{backend.NameUserSplit, yes(i.UserSplit, "no, the guest is the same user")},
		{backend.NameCapabilities, capabilities(i.Capabilities) + "; at most " + capabilities(i.Bounding)},
		{backend.NameNoNewPrivileges, yes(i.NoNewPrivileges, "no")},
		{backend.NameSeccomp, or(i.Seccomp, "none")},
		{backend.NameLandlock, landlock},
		{backend.NameNetwork, string(i.Network)},
		{backend.NameRootFileSystem, string(i.RootFileSystem)},
		{backend.NameMemoryLimit, inBytes(i.Memory)},
		{backend.NameSwapLimit, inBytes(i.Swap)},
		{backend.NamePIDsLimit, limit(i.PIDs)},
		{backend.NameCPULimit, limit(i.CPUs)},
		{"open files", limit(i.OpenFiles)},
		{"file size", inBytes(i.FileSize)},
		{"core dumps", inBytes(i.CoreSize)},
		{backend.NameDiskQuota, string(i.Disk)},
	}
	for n, d := range info.Degraded {
		head := "degraded"
		if n > 0 {
			head = ""
		}
		t = append(t, []string{head, d})
	}
	return t
}

// limit is a number as people read it.
func limit[N int64 | float64](n N) string {
	switch n {
	case backend.NoLimit:
		return "no limit"
	case backend.NotKnown:
		return "cannot be seen from inside"
	}
	return fmt.Sprint(n)
}

func inBytes(n int64) string {
	if n > 0 && n%(1<<20) == 0 {
		return strconv.FormatInt(n>>20, 10) + " MiB"
	}
	return limit(n)
}

// capabilityNames are those that sandboxes deal in; others are told by number.
var capabilityNames = map[int]string{5: "KILL", 6: "SETGID", 7: "SETUID", 21: "SYS_ADMIN"}

func capabilities(set uint64) string {
	var names []string
	for _, n := range bitsOf(set) {
		name := capabilityNames[n]
		if name == "" {
			name = strconv.Itoa(n)
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// bitsOf are the numbers of the bits that are set.
func bitsOf(set uint64) []int {
	list := make([]int, 0, bits.OnesCount64(set))
	for ; set != 0; set &= set - 1 {
		list = append(list, bits.TrailingZeros64(set))
	}
	return list
}
