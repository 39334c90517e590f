package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const dialTime = 2 * time.Second

var _ = add(map[string]func([]string){
	// dial NETWORK ADDRESS
	"dial": func(args []string) {
		if dial(args[0], args[1]) && !strings.HasPrefix(args[0], "udp") {
			got("a connection to %s", args[1])
		}
	},
	// Who listens tells whether this got anything.
	"dial-quietly": func(args []string) { dial(args[0], args[1]) },
	// listen NETWORK ADDRESS prints where it listens, and whom it hears.
	"listen": func(args []string) {
		l, err := net.Listen(args[0], args[1])
		try(err)
		fmt.Println(l.Addr())
		for {
			conn, err := l.Accept()
			try(err)
			got("a connection from %v", conn.RemoteAddr())
			_ = conn.Close()
		}
	},
	"route": func(args []string) {
		conn, err := net.Dial("udp", args[0])
		if err != nil {
			return
		}
		if _, err := conn.Write([]byte("hello")); err == nil {
			got("a way to %s, from %v", args[0], conn.LocalAddr())
		}
	},
	"resolver": func([]string) {
		text, _ := os.ReadFile("/etc/resolv.conf")
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "nameserver") {
				got("%s", strings.TrimSpace(line))
			}
		}
	},
	"interfaces": func([]string) {
		all, err := net.Interfaces()
		try(err)
		for _, i := range all {
			if i.Flags&net.FlagLoopback == 0 && i.Flags&net.FlagUp != 0 {
				got("interface %s", i.Name)
			}
		}
	},
})

// dial connects and sends a word, and reports whether that went well.
func dial(network, address string) bool {
	conn, err := net.DialTimeout(network, address, dialTime)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	_, err = conn.Write([]byte("attack"))
	return err == nil || errors.Is(err, unix.EPIPE)
}
