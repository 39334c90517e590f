package pluginsdk

import (
	"slices"
	"strconv"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/internal/isolation"
	guestv1 "github.com/deep-sandbox/deep/core/proto/guest/v1"
)

// Rlimits of every process of a sandbox, at most.
const (
	maxOpenFiles = 4096
	maxFileSize  = 2 << 30
)

// expectations are the layers that a sandbox shall be under: all, but for those the
// backend said it does without.
func expectations(spec backend.Spec, made *Provisioned) *guestv1.Expectations {
	has := func(layer string) bool {
		return !slices.Contains(made.Without, layer) &&
			!slices.ContainsFunc(made.Info.Degraded, func(d string) bool { return backend.DegradedLayer(d) == layer })
	}
	e := &guestv1.Expectations{
		NoNewPrivileges: has(backend.NameNoNewPrivileges),
		Capabilities:    has(backend.NameCapabilities),
		UserSplit:       has(backend.NameUserSplit),
		NetworkNone:     spec.Network == backend.NetworkNone && has(backend.NameNetwork),
		ReadOnlyRoot:    has(backend.NameRootFileSystem),
		Landlock:        has(backend.NameLandlock),
		NoSwap:          has(backend.NameSwapLimit),
	}
	if has(backend.NameSeccomp) {
		e.Seccomp = made.Seccomp
	}
	if has(backend.NameMemoryLimit) {
		e.Memory = spec.Memory
	}
	if has(backend.NamePIDsLimit) {
		e.Pids = spec.PIDs
	}
	if has(backend.NameCPULimit) {
		e.Cpus = spec.CPUs
	}
	if has(backend.NameResourceLimits) {
		e.OpenFiles, e.FileSize = maxOpenFiles, maxFileSize
	}
	return e
}

// refuse is an error if a layer that was configured is not in force, and the
// operator cannot do without. A guest of an earlier release, which was told of no
// expectations, is taken as it is.
func refuse(settled *guestv1.SetupReply) error {
	setup := settled.GetSetup()
	if setup.GetExpect() == nil {
		return nil
	}
	misbehaves := func(what string) error {
		return &backend.Error{Kind: backend.ErrUnsupported, Path: setup.GetSandboxId(), Message: "the guest tells of its isolation " + what,
			Hint: "make another sandbox; if it stays so, please report it"}
	}
	if settled.GetFound() == nil {
		return misbehaves("nothing")
	}
	if bad := isolation.Bad(settled.GetFound()); bad != "" {
		return misbehaves(backend.Printable(bad))
	}
	lapses := slices.DeleteFunc(isolation.Judge(setup.GetExpect(), settled.GetFound()), func(l isolation.Lapse) bool {
		return slices.Contains(setup.GetAcceptDegraded(), l.Layer)
	})
	if len(lapses) == 0 {
		return nil
	}
	e := &backend.Error{Kind: backend.ErrUnsupported, Path: lapses[0].Layer}
	var found, names []string
	for _, l := range lapses {
		found = append(found, l.Layer+" ("+backend.Printable(l.Found)+")")
		names = append(names, strconv.Quote(l.Layer))
	}
	e.Message = "this layer of isolation was configured and is not in force: " + backend.Printable(lapses[0].Found)
	if len(lapses) > 1 {
		e.Message += "; nor is " + strings.Join(found[1:], ", nor ")
	}
	e.Hint = lapses[0].Remedy + ", or name " + strings.Join(names, ", ") + " in accept_degraded"
	return e
}

// isolationOf is the report of what was found.
func isolationOf(settled *guestv1.SetupReply) *backend.Isolation {
	f := settled.GetFound()
	if f == nil {
		return nil
	}
	i := &backend.Isolation{
		Runtime: settled.GetSetup().GetRuntime(), UID: f.GetUid(), GID: f.GetGid(), UserSplit: f.GetUserSplit(),
		Capabilities: f.GetCapabilities(), Bounding: f.GetBounding(), NoNewPrivileges: f.GetNoNewPrivileges(), Landlock: int(f.GetLandlock()),
		Network: backend.NetworkNone, RootFileSystem: backend.RootWritable,
		Memory: f.GetMemory(), Swap: f.GetSwap(), PIDs: f.GetPids(), CPUs: f.GetCpus(),
		OpenFiles: f.GetOpenFiles(), FileSize: f.GetFileSize(), CoreSize: f.GetCoreSize(), Disk: backend.DiskNone,
	}
	if f.GetSeccomp() && len(f.GetPassed()) == 0 {
		i.Seccomp = settled.GetSetup().GetExpect().GetSeccomp()
	}
	if len(f.GetInterfaces()) > 0 || f.GetRoute() || f.GetNameserver() {
		i.Network = backend.NetworkFull
	}
	if f.GetReadOnlyRoot() {
		i.RootFileSystem = backend.RootReadOnly
	}
	return i
}
