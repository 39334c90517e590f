package main

import (
	"os"
	"testing"

	"github.com/deep-sandbox/deep/core/pluginsdk"
	"github.com/deep-sandbox/deep/plugins/internal/enginetest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	enginetest.Clean()
	os.Exit(code)
}

func TestBackend(t *testing.T) { enginetest.Run(t, engine()) }

func engine() enginetest.Engine {
	return enginetest.Engine{
		Name:   "podman",
		Socket: "/run/podman/podman.sock",
		TLS:    true,
		New: func(env pluginsdk.Env, host string, remote bool) (pluginsdk.Provisioner, error) {
			return newBackend(Config{Host: host, Remote: remote}, env)
		},
		NewWithRuntime: func(env pluginsdk.Env, host, runtime string) (pluginsdk.Provisioner, error) {
			return newBackend(Config{Host: host, Runtime: runtime}, env)
		},
		NewWithAuth: func(env pluginsdk.Env, host, file string) (pluginsdk.Provisioner, error) {
			return newBackend(Config{Host: host, Auth: file}, env)
		},
	}
}
