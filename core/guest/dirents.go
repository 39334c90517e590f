package guest

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/deep-sandbox/deep/core/backend"
)

// eachDirent calls visit with name and d_type of each entry in what getdents64
// returned, except "." and "..". The name is valid during the call only.
func eachDirent(buf []byte, visit func(name []byte, kind byte)) {
	// struct linux_dirent64: u64 ino, s64 off, u16 reclen, u8 type, name, NUL.
	const header = 19
	for len(buf) > header {
		size := int(binary.NativeEndian.Uint16(buf[16:]))
		if size <= header || size > len(buf) {
			return
		}
		name := buf[header:size]
		if end := bytes.IndexByte(name, 0); end >= 0 {
			name = name[:end]
		}
		if string(name) != "." && string(name) != ".." {
			visit(name, buf[18])
		}
		buf = buf[size:]
	}
}

// typeOf names the kind of file in a mode.
func typeOf(mode uint32) backend.FileType {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return backend.TypeRegular
	case unix.S_IFDIR:
		return backend.TypeDirectory
	case unix.S_IFLNK:
		return backend.TypeSymlink
	case unix.S_IFIFO:
		return backend.TypeFIFO
	case unix.S_IFSOCK:
		return backend.TypeSocket
	}
	return backend.TypeDevice
}
