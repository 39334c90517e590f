package backendtest

import (
	"strconv"

	"github.com/deep-sandbox/deep/core/backend"
)

// link gives a file another name.
func (p *proc) link(argv []string) status {
	p.files.mu.Lock()
	defer p.files.mu.Unlock()
	from, err := p.files.regular(argv[0], p.dir, argv[1])
	if err != nil {
		return p.fails(argv, "%v", err)
	}
	to, err := p.files.find(argv[0], p.dir, argv[2], false, false)
	switch {
	case err != nil:
		return p.fails(argv, "%v", err)
	case to.node != nil:
		return p.fails(argv, "%s is there", argv[2])
	}
	if err := p.files.put(argv[0], argv[2], to, from.node); err != nil {
		return p.fails(argv, "%v", err)
	}
	return status{}
}

// truncate makes a file of a size; what it did not hold is a hole.
func truncate(p *proc, argv []string) status {
	if len(argv) != 4 || argv[1] != "-s" {
		return p.fails(argv, "only truncate -s BYTES FILE is known")
	}
	size, err := strconv.ParseInt(argv[2], 10, 64)
	if err != nil || size < 0 {
		return p.fails(argv, "not a size: %s", argv[2])
	}
	return p.places(argv, argv[3:], func(at place) *node {
		n := &node{typ: backend.TypeRegular, mode: 0o644}
		if at.node != nil {
			n.mode, n.data = at.node.mode, at.node.data
		}
		n.data = n.data[:min(size, int64(len(n.data)))]
		n.hole = size - int64(len(n.data))
		return n
	})
}
