package main

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/core/control"
)

const ownNetwork = "a network of its own, without an interface"

// A decoy listens on this host, and must hear of nobody.
type decoy struct {
	network, address string
	heard            chan string
	close            func() error
}

// listen makes a decoy that is gone with the trial.
func (t *trial) listen(network, address string) *decoy {
	d := &decoy{network: network, heard: make(chan string, 64)}
	hear := func(who string) {
		select {
		case d.heard <- who:
		default: // it has been heard of often enough
		}
	}
	if strings.HasPrefix(network, "udp") {
		conn, err := net.ListenPacket(network, address)
		t.must(err)
		d.address, d.close = conn.LocalAddr().String(), conn.Close
		go func() {
			for b := make([]byte, 64); ; {
				n, from, err := conn.ReadFrom(b)
				if err != nil {
					return
				}
				hear(fmt.Sprintf("%q from %v", b[:n], from))
			}
		}()
	} else {
		l, err := (&net.ListenConfig{}).Listen(t.ctx, network, address)
		t.must(err)
		d.address, d.close = l.Addr().String(), l.Close
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				hear(fmt.Sprintf("a connection to %v", conn.LocalAddr()))
				_ = conn.Close()
			}
		}()
	}
	t.after(func(context.Context) error { return d.close() })
	return d
}

// deaf notes what a decoy has heard.
func (t *trial) deaf(d *decoy) {
	for wait := time.After(200 * time.Millisecond); ; {
		select {
		case who := <-d.heard:
			t.gets("the host heard %s", who)
		case <-wait:
			return
		}
	}
}

// dial lets the attacker try to reach a decoy.
func (t *trial) dial(network, address string) {
	d := t.listen(network, address)
	t.inside(t.shared(), "dial", network, d.address)
	t.deaf(d)
}

// addresses of this host beside the loopback's.
func (t *trial) addresses() []string {
	interfaces, err := net.InterfaceAddrs()
	t.must(err)
	var list []string
	for _, a := range interfaces {
		if ip, ok := a.(*net.IPNet); ok && !ip.IP.IsLoopback() && ip.IP.To4() != nil {
			list = append(list, ip.IP.String())
		}
	}
	return list
}

func networkAttacks() []attack {
	reach := opening(control.Network)
	// On local Landlock keeps commands from such sockets as well.
	reachAbstract := opening(control.Network, control.Landlock)
	return []attack{
		{name: "tcp-loopback", what: "connects to what listens on the host's loopback", defence: ownNetwork, control: reach,
			run: func(t *trial) { t.dial("tcp4", "127.0.0.1:0") }},
		{name: "tcp6-loopback", what: "the same by IPv6", defence: ownNetwork, control: reach,
			run: func(t *trial) { t.dial("tcp6", "[::1]:0") }},
		{name: "udp-loopback", what: "sends to what listens on the host's loopback", defence: ownNetwork, control: reach,
			run: func(t *trial) { t.dial("udp4", "127.0.0.1:0") }},
		{name: "tcp-host", what: "connects to the host's addresses, bridges of engines among them", defence: ownNetwork, control: reach,
			run: func(t *trial) {
				for _, a := range t.addresses() {
					t.dial("tcp4", net.JoinHostPort(a, "0"))
				}
			}},
		{name: "udp-host", what: "sends to the host's addresses", defence: ownNetwork, control: reach,
			run: func(t *trial) {
				for _, a := range t.addresses() {
					t.dial("udp4", net.JoinHostPort(a, "0"))
				}
			}},
		{name: "abstract-socket", what: "connects to an abstract socket of the host", defence: ownNetwork, control: reachAbstract,
			run: func(t *trial) { t.dial("unix", "@"+t.tag) }},
		{name: "path-socket", what: "connects to a socket in a directory of the host", defence: "no directory of the host is there",
			control: controlArm{spec: func(t *trial, s *backend.Spec) { s.Mounts = []backend.Mount{{Source: t.dirs[0], Target: t.dirs[0]}} }},
			run: func(t *trial) {
				dir := t.dir()
				d := t.listen("unix", filepath.Join(dir, "s"))
				t.must(openToAll(filepath.Join(dir, "s")))
				t.inside(t.shared(), "dial", "unix", d.address)
				t.deaf(d)
			}},
		{name: "engine-socket", what: "connects to the engines' own sockets", defence: "no socket of the host is there",
			control: uncontrolled("an engine's socket is never shown in a sandbox, not even for this"),
			run: func(t *trial) {
				for _, s := range []string{"/var/run/docker.sock", "/run/docker.sock", "/run/podman/podman.sock", "/run/containerd/containerd.sock"} {
					t.inside(t.shared(), "dial", "unix", s)
				}
			}},
		{name: "routes", what: "reaches a metadata service, a resolver, anything beyond", defence: ownNetwork, control: reach,
			run: func(t *trial) {
				// A datagram that can be sent has a way to go.
				for _, a := range []string{"169.254.169.254:80", "192.0.2.53:53", "8.8.8.8:53"} {
					t.inside(t.shared(), "route", a)
				}
			}},
		{name: "resolver", what: "finds the host's resolver", defence: "an empty resolv.conf",
			control: controlArm{spec: func(_ *trial, s *backend.Spec) { s.Network = backend.NetworkFull }},
			run:     func(t *trial) { t.inside(t.shared(), "resolver") }},
		{name: "interfaces", what: "finds an interface that is up, beside the loopback", defence: ownNetwork, control: reach,
			run: func(t *trial) { t.inside(t.shared(), "interfaces") }},
		{name: "meet-by-address", what: "two sandboxes meet by address", defence: ownNetwork, control: reach,
			run: func(t *trial) { t.meet("tcp4", "127.0.0.1:0") }},
		{name: "meet-by-name", what: "two sandboxes meet by the name of an abstract socket", defence: ownNetwork, control: reachAbstract,
			run: func(t *trial) { t.meet("unix", "@meet-"+t.tag) }},
	}
}

// meet lets an attacker listen in one sandbox, and another look for it from a
// second.
func (t *trial) meet(network, address string) {
	first, second := t.sandbox(nil), t.sandbox(nil)
	where := t.start(first, "listen", network, address)
	t.inside(second, "dial-quietly", network, where.first)
	time.Sleep(100 * time.Millisecond)
	_ = where.end()
	// What it printed after the address it listens at.
	for line := range strings.Lines(where.rest()) {
		if strings.HasPrefix(line, "got ") {
			t.gets("the other sandbox heard %s", strings.TrimSpace(line[4:]))
		}
	}
}
