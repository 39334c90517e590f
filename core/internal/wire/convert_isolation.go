package wire

import (
	"github.com/deep-sandbox/deep/core/backend"
	backendv1 "github.com/deep-sandbox/deep/core/proto/backend/v1"
)

func isolationToWire(i *backend.Isolation) *backendv1.Isolation {
	if i == nil {
		return nil
	}
	return &backendv1.Isolation{
		Runtime: text(i.Runtime, maxErrorField), Uid: i.UID, Gid: i.GID, UserSplit: i.UserSplit,
		Capabilities: i.Capabilities, Bounding: i.Bounding, NoNewPrivileges: i.NoNewPrivileges,
		Seccomp: text(i.Seccomp, maxErrorField), Landlock: int32(i.Landlock),
		Network: string(i.Network), RootFileSystem: string(i.RootFileSystem),
		Memory: i.Memory, Swap: i.Swap, Pids: i.PIDs, Cpus: i.CPUs,
		OpenFiles: i.OpenFiles, FileSize: i.FileSize, CoreSize: i.CoreSize, Disk: text(string(i.Disk), maxErrorField),
	}
}

func isolationFromWire(i *backendv1.Isolation) *backend.Isolation {
	if i == nil {
		return nil
	}
	return &backend.Isolation{
		Runtime: i.GetRuntime(), UID: i.GetUid(), GID: i.GetGid(), UserSplit: i.GetUserSplit(),
		Capabilities: i.GetCapabilities(), Bounding: i.GetBounding(), NoNewPrivileges: i.GetNoNewPrivileges(),
		Seccomp: i.GetSeccomp(), Landlock: int(i.GetLandlock()),
		Network: backend.NetworkMode(i.GetNetwork()), RootFileSystem: backend.RootMode(i.GetRootFileSystem()),
		Memory: i.GetMemory(), Swap: i.GetSwap(), PIDs: i.GetPids(), CPUs: i.GetCpus(),
		OpenFiles: i.GetOpenFiles(), FileSize: i.GetFileSize(), CoreSize: i.GetCoreSize(), Disk: backend.DiskMode(i.GetDisk()),
	}
}
