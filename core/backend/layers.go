package backend

import (
	"slices"
	"strings"
)

// Names of layers of isolation that mean the same on every backend: in
// Layer.Name, in Spec.AcceptDegraded and in the Path of an error of Create.
const (
	NameMemoryLimit     = "memory limit"
	NameSwapLimit       = "swap limit"
	NamePIDsLimit       = "pids limit"
	NameCPULimit        = "cpu limit"
	NameSeccomp         = "seccomp"
	NameNamespaces      = "namespaces"
	NameUserNamespace   = "user namespace"
	NameUserSplit       = "user split"
	NameCapabilities    = "capabilities"
	NameNoNewPrivileges = "no new privileges"
	NameNetwork         = "network"
	NameRootFileSystem  = "root file system"
	NameResourceLimits  = "resource limits"
	NameLandlock        = "Landlock"
	NameDiskQuota       = "disk quota"
)

// LayerNames are all of them. A configuration that accepts the lack of another
// one is refused: a slip of the pen would otherwise be found when a sandbox is.
var LayerNames = []string{
	NameMemoryLimit, NameSwapLimit, NamePIDsLimit, NameCPULimit, NameSeccomp,
	NameNamespaces, NameUserNamespace, NameUserSplit, NameCapabilities, NameNoNewPrivileges,
	NameNetwork, NameRootFileSystem, NameResourceLimits, NameLandlock, NameDiskQuota,
}

// OwnLayer begins the name of a layer that only one backend has: "x-microvm".
const OwnLayer = "x-"

// ValidLayer reports whether a layer can have that name: one of LayerNames, or
// one of the backend's own.
func ValidLayer(name string) bool {
	own, ok := strings.CutPrefix(name, OwnLayer)
	return ok && own != "" || slices.Contains(LayerNames, name)
}
