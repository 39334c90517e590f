package wire

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	backendv1 "github.com/deep-sandbox/deep/core/proto/backend/v1"
)

// Each type of the contract has a pair of functions here: xToWire for the side
// that sends it, xFromWire for the side that gets it. They change the form and
// nothing else; checking is in validate.go.

func mapSlice[A, B any](in []A, f func(A) B) []B {
	if len(in) == 0 {
		return nil
	}
	out := make([]B, len(in))
	for i, v := range in {
		out[i] = f(v)
	}
	return out
}

func bytesToWire(in []string) [][]byte {
	return mapSlice(in, func(s string) []byte { return []byte(s) })
}
func bytesFromWire(in [][]byte) []string {
	return mapSlice(in, func(b []byte) string { return string(b) })
}

// textsToWire mends what is no UTF-8: a proto string cannot carry it.
func textsToWire(in []string) []string {
	return mapSlice(in, func(s string) string { return text(s, maxErrorField) })
}

func timeToWire(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func timeFromWire(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

func envToWire(env map[string]string) []*backendv1.EnvVar {
	return mapSlice(slices.Sorted(maps.Keys(env)), func(k string) *backendv1.EnvVar {
		return &backendv1.EnvVar{Key: []byte(k), Value: []byte(env[k])}
	})
}

func envFromWire(in []*backendv1.EnvVar) map[string]string {
	if len(in) == 0 {
		return nil
	}
	env := make(map[string]string, len(in))
	for _, v := range in {
		env[string(v.GetKey())] = string(v.GetValue())
	}
	return env
}

func descriptionToWire(d *backend.Description) *backendv1.DescribeReply {
	return &backendv1.DescribeReply{
		Name:    text(d.Name, maxErrorField),
		Version: text(d.Version, maxErrorField),
		Summary: text(d.Summary, maxErrorField),
		Schema: mapSlice(d.Schema, func(a backend.Attribute) *backendv1.Attribute {
			return &backendv1.Attribute{
				Name: text(a.Name, maxErrorField), Type: string(a.Type), Required: a.Required,
				Default: text(a.Default, maxErrorField), Description: text(a.Description, maxErrorField), Sensitive: a.Sensitive,
			}
		}),
		Capabilities: mapSlice(d.Capabilities, func(c backend.Capability) string { return string(c) }),
	}
}

func descriptionFromWire(r *backendv1.DescribeReply) *backend.Description {
	return &backend.Description{
		Name: r.GetName(), Version: r.GetVersion(), Summary: r.GetSummary(),
		Schema: mapSlice(r.GetSchema(), func(a *backendv1.Attribute) backend.Attribute {
			return backend.Attribute{
				Name: a.GetName(), Type: backend.AttributeType(a.GetType()), Required: a.GetRequired(),
				Default: a.GetDefault(), Description: a.GetDescription(), Sensitive: a.GetSensitive(),
			}
		}),
		Capabilities: mapSlice(r.GetCapabilities(), func(c string) backend.Capability { return backend.Capability(c) }),
	}
}

func configureToWire(r *backend.ConfigureRequest) *backendv1.ConfigureRequest {
	return &backendv1.ConfigureRequest{
		ConfigJson: r.Config, GuestDir: r.GuestDir, StateDir: r.StateDir,
		Owner: ownerToWire(r.Owner),
	}
}

func configureFromWire(r *backendv1.ConfigureRequest) *backend.ConfigureRequest {
	return &backend.ConfigureRequest{
		Config: r.GetConfigJson(), GuestDir: r.GetGuestDir(), StateDir: r.GetStateDir(),
		Owner: ownerFromWire(r.GetOwner()),
	}
}

// ownerToWire leaves an owner that is not known out.
func ownerToWire(o backend.Owner) *backendv1.Owner {
	if o == (backend.Owner{}) {
		return nil
	}
	return &backendv1.Owner{HostId: text(o.HostID, maxErrorField), BootId: text(o.BootID, maxErrorField), Pid: int64(o.PID), StartTime: o.StartTime}
}

func ownerFromWire(o *backendv1.Owner) backend.Owner {
	return backend.Owner{HostID: o.GetHostId(), BootID: o.GetBootId(), PID: int(o.GetPid()), StartTime: o.GetStartTime()}
}

func checkToWire(r *backend.CheckReport) *backendv1.CheckReply {
	return &backendv1.CheckReply{
		Engine: text(r.Engine, maxErrorField), Endpoint: text(r.Endpoint, maxErrorField),
		Layers: mapSlice(r.Layers, func(l backend.Layer) *backendv1.Layer {
			return &backendv1.Layer{
				Name: text(l.Name, maxErrorField), State: string(l.State),
				Detail: text(l.Detail, maxErrorField), Remedy: text(l.Remedy, maxErrorField),
			}
		}),
	}
}

func checkFromWire(r *backendv1.CheckReply) *backend.CheckReport {
	return &backend.CheckReport{
		Engine: r.GetEngine(), Endpoint: r.GetEndpoint(),
		Layers: mapSlice(r.GetLayers(), func(l *backendv1.Layer) backend.Layer {
			return backend.Layer{Name: l.GetName(), State: backend.LayerState(l.GetState()), Detail: l.GetDetail(), Remedy: l.GetRemedy()}
		}),
	}
}

func specToWire(s *backend.Spec) *backendv1.Spec {
	return &backendv1.Spec{
		Image: s.Image,
		Pull:  string(s.Pull),
		Workspace: &backendv1.Workspace{
			Path: []byte(s.Workspace.Path), Source: []byte(s.Workspace.Source), Name: s.Workspace.Name,
		},
		Mounts: mapSlice(s.Mounts, func(m backend.Mount) *backendv1.Mount {
			return &backendv1.Mount{Source: []byte(m.Source), Target: []byte(m.Target), ReadOnly: m.ReadOnly}
		}),
		Env:           envToWire(s.Env),
		Network:       string(s.Network),
		Memory:        s.Memory,
		Pids:          s.PIDs,
		Cpus:          s.CPUs,
		TimeoutNs:     int64(s.Timeout),
		Ephemeral:     s.Ephemeral,
		LeaseNs:       int64(s.Lease),
		IdleTimeoutNs: int64(s.IdleTimeout),
		MaxLifetimeNs: int64(s.MaxLifetime),

		AcceptDegraded: s.AcceptDegraded,
	}
}

func specFromWire(s *backendv1.Spec) backend.Spec {
	w := s.GetWorkspace()
	return backend.Spec{
		Image:     s.GetImage(),
		Pull:      backend.PullPolicy(s.GetPull()),
		Workspace: backend.Workspace{Path: string(w.GetPath()), Source: string(w.GetSource()), Name: w.GetName()},
		Mounts: mapSlice(s.GetMounts(), func(m *backendv1.Mount) backend.Mount {
			return backend.Mount{Source: string(m.GetSource()), Target: string(m.GetTarget()), ReadOnly: m.GetReadOnly()}
		}),
		Env:         envFromWire(s.GetEnv()),
		Network:     backend.NetworkMode(s.GetNetwork()),
		Memory:      s.GetMemory(),
		PIDs:        s.GetPids(),
		CPUs:        s.GetCpus(),
		Timeout:     time.Duration(s.GetTimeoutNs()),
		Ephemeral:   s.GetEphemeral(),
		Lease:       time.Duration(s.GetLeaseNs()),
		IdleTimeout: time.Duration(s.GetIdleTimeoutNs()),
		MaxLifetime: time.Duration(s.GetMaxLifetimeNs()),

		AcceptDegraded: s.GetAcceptDegraded(),
	}
}

func progressToWire(p backend.Progress) *backendv1.Progress {
	return &backendv1.Progress{
		Phase: text(string(p.Phase), maxErrorField), Message: text(p.Message, maxErrorField), Layer: text(p.Layer, maxErrorField),
		Current: p.Current, Total: p.Total,
	}
}

func progressFromWire(p *backendv1.Progress) backend.Progress {
	return backend.Progress{
		Phase: backend.Phase(p.GetPhase()), Message: p.GetMessage(), Layer: p.GetLayer(),
		Current: p.GetCurrent(), Total: p.GetTotal(),
	}
}

func infoToWire(i backend.SandboxInfo) *backendv1.SandboxInfo {
	return &backendv1.SandboxInfo{
		Id: text(i.ID, maxErrorField), Backend: text(i.Backend, maxErrorField), State: string(i.State),
		CreatedNs: timeToWire(i.Created), Ephemeral: i.Ephemeral, Image: text(i.Image, maxErrorField),
		EngineId: text(i.EngineID, maxErrorField), Workspace: []byte(i.Workspace), WorkspaceSource: []byte(i.WorkspaceSource),
		User: text(i.User, maxErrorField), Degraded: textsToWire(i.Degraded), Owner: ownerToWire(i.Owner),
		Isolation: isolationToWire(i.Isolation),
	}
}

func infoFromWire(i *backendv1.SandboxInfo) backend.SandboxInfo {
	return backend.SandboxInfo{
		ID: i.GetId(), Backend: i.GetBackend(), State: backend.SandboxState(i.GetState()),
		Created: timeFromWire(i.GetCreatedNs()), Ephemeral: i.GetEphemeral(), Image: i.GetImage(),
		EngineID: i.GetEngineId(), Workspace: string(i.GetWorkspace()), User: i.GetUser(), Degraded: i.GetDegraded(),
		Owner: ownerFromWire(i.GetOwner()), WorkspaceSource: string(i.GetWorkspaceSource()),
		Isolation: isolationFromWire(i.GetIsolation()),
	}
}

func execToWire(r *backend.ExecRequest, id string) *backendv1.ExecStart {
	start := &backendv1.ExecStart{
		Id: id, Argv: bytesToWire(r.Argv), Shell: []byte(r.Shell), Env: envToWire(r.Env), Dir: []byte(r.Dir),
		TimeoutNs: int64(r.Timeout), Stdin: r.Stdin != nil, OutputLimit: r.OutputLimit, Merge: r.Merged(),
		KeepStdin: r.KeepStdin,
	}
	if r.Grace != nil {
		start.GraceNs = new(int64(*r.Grace))
	}
	if r.TTY != nil {
		start.Tty = sizeToWire(*r.TTY)
	}
	return start
}

func execFromWire(s *backendv1.ExecStart) *backend.ExecRequest {
	r := &backend.ExecRequest{
		ID: s.GetId(), Argv: bytesFromWire(s.GetArgv()), Shell: string(s.GetShell()), Env: envFromWire(s.GetEnv()),
		Dir: string(s.GetDir()), Timeout: time.Duration(s.GetTimeoutNs()), OutputLimit: s.GetOutputLimit(),
		Merge: s.GetMerge(), KeepStdin: s.GetKeepStdin(), TTY: sizeFromWire(s.GetTty()),
	}
	if s.GraceNs != nil {
		r.Grace = new(time.Duration(s.GetGraceNs()))
	}
	return r
}

func sizeToWire(s backend.WindowSize) *backendv1.WindowSize {
	return &backendv1.WindowSize{Rows: uint32(s.Rows), Cols: uint32(s.Cols)}
}

// sizeFromWire makes what is above the bound 0, which is no size: it is refused
// with those.
func sizeFromWire(s *backendv1.WindowSize) *backend.WindowSize {
	switch {
	case s == nil:
		return nil
	case s.GetRows() > math.MaxUint16 || s.GetCols() > math.MaxUint16:
		return &backend.WindowSize{}
	}
	return &backend.WindowSize{Rows: uint16(s.GetRows()), Cols: uint16(s.GetCols())}
}

func resultToWire(r *backend.ExecResult) *backendv1.ExecResult {
	return &backendv1.ExecResult{
		Id: text(r.ID, maxErrorField), Outcome: string(r.Outcome), ExitCode: int32(r.ExitCode), Signal: int32(r.Signal),
		StartError: text(r.StartError, maxErrorField), DurationNs: int64(r.Duration),
		UserTimeNs: int64(r.UserTime), SystemTimeNs: int64(r.SystemTime), MaxRss: r.MaxRSS,
		StdoutBytes: r.StdoutBytes, StderrBytes: r.StderrBytes, Degraded: textsToWire(r.Degraded),
		OomPossible: r.OOMPossible,
	}
}

func resultFromWire(r *backendv1.ExecResult) *backend.ExecResult {
	return &backend.ExecResult{
		ID: r.GetId(), Outcome: backend.Outcome(r.GetOutcome()), ExitCode: int(r.GetExitCode()), Signal: int(r.GetSignal()),
		StartError: r.GetStartError(), Duration: time.Duration(r.GetDurationNs()),
		UserTime: time.Duration(r.GetUserTimeNs()), SystemTime: time.Duration(r.GetSystemTimeNs()), MaxRSS: r.GetMaxRss(),
		StdoutBytes: r.GetStdoutBytes(), StderrBytes: r.GetStderrBytes(), Degraded: r.GetDegraded(),
		OOMPossible: r.GetOomPossible(),
	}
}

func fileToWire(f backend.FileInfo) *backendv1.FileInfo {
	return &backendv1.FileInfo{
		Path: []byte(f.Path), Type: string(f.Type), Size: f.Size, Mode: f.Mode, MtimeNs: timeToWire(f.ModTime),
		Target: []byte(f.Target), Sha256: f.SHA256,
	}
}

func fileFromWire(f *backendv1.FileInfo) backend.FileInfo {
	return backend.FileInfo{
		Path: string(f.GetPath()), Type: backend.FileType(f.GetType()), Size: f.GetSize(), Mode: f.GetMode(),
		ModTime: timeFromWire(f.GetMtimeNs()), Target: string(f.GetTarget()), SHA256: f.GetSha256(),
	}
}

func globToWire(r *backend.GlobRequest) *backendv1.GlobRequest {
	return &backendv1.GlobRequest{
		Path: []byte(r.Path), Pattern: []byte(r.Pattern), Hidden: r.Hidden, Directories: r.Directories,
		Order: string(r.Order), Limit: int64(r.Limit),
	}
}

func globFromWire(r *backendv1.GlobRequest) *backend.GlobRequest {
	return &backend.GlobRequest{
		Path: string(r.GetPath()), Pattern: string(r.GetPattern()), Hidden: r.GetHidden(), Directories: r.GetDirectories(),
		Order: backend.Order(r.GetOrder()), Limit: int(r.GetLimit()),
	}
}

func grepToWire(r *backend.GrepRequest) *backendv1.GrepRequest {
	return &backendv1.GrepRequest{
		Path: []byte(r.Path), Pattern: []byte(r.Pattern), Literal: r.Literal, IgnoreCase: r.IgnoreCase,
		Include: bytesToWire(r.Include), Exclude: bytesToWire(r.Exclude), Hidden: r.Hidden, NoIgnore: r.NoIgnore,
		Mode: string(r.Mode), Before: int32(r.Before), After: int32(r.After), Limit: int64(r.Limit),
	}
}

func grepFromWire(r *backendv1.GrepRequest) *backend.GrepRequest {
	return &backend.GrepRequest{
		Path: string(r.GetPath()), Pattern: string(r.GetPattern()), Literal: r.GetLiteral(), IgnoreCase: r.GetIgnoreCase(),
		Include: bytesFromWire(r.GetInclude()), Exclude: bytesFromWire(r.GetExclude()), Hidden: r.GetHidden(), NoIgnore: r.GetNoIgnore(),
		Mode: backend.GrepMode(r.GetMode()), Before: int(r.GetBefore()), After: int(r.GetAfter()), Limit: int(r.GetLimit()),
	}
}

func matchToWire(m backend.GrepMatch) *backendv1.GrepMatch {
	return &backendv1.GrepMatch{
		Path: []byte(m.Path), Line: int64(m.Line), Text: []byte(m.Text), Cut: m.Cut, Context: m.Context, Count: int64(m.Count),
	}
}

func matchFromWire(m *backendv1.GrepMatch) backend.GrepMatch {
	return backend.GrepMatch{
		Path: string(m.GetPath()), Line: int(m.GetLine()), Text: string(m.GetText()), Cut: m.GetCut(), Context: m.GetContext(), Count: int(m.GetCount()),
	}
}
