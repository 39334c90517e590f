// Command echo stands in for the guest where only the way to it matters: it
// sends every byte of a connection back. It also reaps, as PID 1 must.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) != 4 || os.Args[2] != "--socket" {
		fail(fmt.Errorf("usage: echo serve|connect --socket PATH, not %q", os.Args[1:]))
	}
	switch socket := os.Args[3]; os.Args[1] {
	case "serve":
		serve(socket)
	case "connect":
		connect(socket)
	}
}

func serve(socket string) {
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGCHLD)
	l, err := net.Listen("unix", socket)
	if err != nil {
		fail(err)
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			fail(err)
		}
		go func() {
			defer conn.Close()
			io.Copy(conn, conn)
		}()
	}
}

func connect(socket string) {
	var conn net.Conn
	var err error
	for range 200 {
		if conn, err = net.Dial("unix", socket); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		fail(err)
	}
	fmt.Fprintln(os.Stderr, "connected")
	go func() {
		io.Copy(conn, os.Stdin)
		conn.(*net.UnixConn).CloseWrite()
	}()
	io.Copy(os.Stdout, conn)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
