package pluginsdk

import (
	"encoding/binary"

	"golang.org/x/net/bpf"

	guestv1 "github.com/deep-sandbox/deep/core/proto/guest/v1"
)

// Confinement is what the guest puts commands under, besides what the whole sandbox
// is under. The zero value is nothing.
type Confinement struct {
	// Seccomp is a filter as package seccomp's Program makes it.
	Seccomp []bpf.RawInstruction
	// Writable are the paths inside beneath which commands may change files;
	// elsewhere they may read and execute them. It takes Landlock, which keeps
	// commands from other processes as well. With none there is no such layer.
	Writable []string
}

// message is c as the guest is told.
func (c Confinement) message() *guestv1.Confinement {
	m := &guestv1.Confinement{}
	for _, i := range c.Seccomp {
		m.Seccomp = binary.NativeEndian.AppendUint16(m.GetSeccomp(), i.Op)
		m.Seccomp = append(m.GetSeccomp(), i.Jt, i.Jf)
		m.Seccomp = binary.NativeEndian.AppendUint32(m.GetSeccomp(), i.K)
	}
	for _, path := range c.Writable {
		m.Writable = append(m.GetWritable(), []byte(path))
	}
	return m
}
