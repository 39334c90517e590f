package backendtest

import (
	"errors"
	"io"
	"strings"

	"github.com/deep-sandbox/deep/core/backend"
)

// imageRules are those on the names of images, and on one whose settings no sandbox
// takes over.
var imageRules = []Rule{
	{
		Name:     "image-missing",
		Sentence: "An image that is not there and may not be pulled is ErrNotFound, and nothing stays.",
		Needs:    backend.CapImages,
		run: func(t *T) {
			t.refuseImage(backend.ErrNotFound, "localhost/no-such-image-"+strings.ToLower(backend.NewID())+":1", backend.PullNever)
		},
	},
	{
		Name:     "image-bad-reference",
		Sentence: "A bad image reference is ErrInvalid, and nothing stays.",
		Needs:    backend.CapImages,
		run: func(t *T) {
			for _, ref := range []string{"UPPER/case", "a b", "image:", "-flag", "x@sha256:short"} {
				t.refuseImage(backend.ErrInvalid, ref, backend.PullMissing)
			}
		},
	},
	{
		Name:     "image-registry-unreachable",
		Sentence: "A registry that cannot be reached is ErrUnavailable, and nothing stays.",
		Needs:    backend.CapImages,
		run: func(t *T) {
			t.refuseImage(backend.ErrUnavailable, "127.0.0.1:1/none:1", backend.PullAlways)
		},
	},
	{
		Name:     "image-env-below-ours",
		Sentence: "The image's ENV is kept below ours: what deep, the specification and the request set wins over it, and the rest stays.",
		Needs:    backend.CapImages, Trap: true,
		run: func(t *T) {
			sb := t.trap(func(s *backend.Spec) { s.Env = map[string]string{"OURS": "specification", "ASKED": "specification"} })
			r := t.execIn(t.ctx, sb, &backend.ExecRequest{Argv: []string{"env"}, Env: map[string]string{"ASKED": "request"}})
			t.wantExit("env", r, 0)
			env := variables(r.stdout, "\n")
			for k, want := range map[string]string{
				"KEPT": "image", "PATH": trapEnv["PATH"], "OURS": "specification", "ASKED": "request", "LANG": "C.UTF-8",
			} {
				if env[k] != want {
					t.Errorf("%s is %q, want %q", k, env[k], want)
				}
			}
		},
	},
	{
		Name:     "image-home-writable",
		Sentence: "HOME is a writable tmpfs, whatever the image says, in every sandbox afresh.",
		Needs:    backend.CapImages, Trap: true,
		run: func(t *T) {
			sb := t.trap(nil)
			r := t.execIn(t.ctx, sb, &backend.ExecRequest{Shell: `echo kept > "$HOME/.mine" && printf %s "$HOME"`})
			t.wantExit("write", r, 0)
			home := r.stdout
			if home == "" || home == trapEnv["HOME"] {
				t.Fatalf("HOME is %q", home)
			}
			t.wantIn(sb, home+"/.mine", "kept\n")
			if kind := t.fileSystem(sb, home); kind != "tmpfs" {
				t.Errorf("at %s is a file system %q", home, kind)
			}
			t.wantNoneIn(t.trap(nil), home+"/.mine")
		},
	},
	{
		Name:     "image-user-not-taken",
		Sentence: "Commands run as the sandbox's user, though the image says root.",
		Needs:    backend.CapImages, Trap: true,
		run: func(t *T) {
			sb := t.trap(nil)
			uid, gid, _ := strings.Cut(sb.Info().User, ":")
			for flag, want := range map[string]string{"-u": uid, "-g": gid} {
				r := t.execIn(t.ctx, sb, &backend.ExecRequest{Argv: []string{"id", flag}})
				if t.wantOutput("id "+flag, r, want+"\n"); want == "0" {
					t.Errorf("id %s: it is root's", flag)
				}
			}
		},
	},
	{
		Name:     "image-volumes-are-tmpfs",
		Sentence: "An image's VOLUMEs become sized tmpfs: writable, in memory, bounded, and gone with the sandbox.",
		Needs:    backend.CapImages, Trap: true,
		run: func(t *T) {
			small := func(s *backend.Spec) { s.Memory = smallMemory }
			sb := t.trap(small)
			for _, dir := range trapVolumes {
				t.must("write to "+dir, t.writeIn(sb, dir+"/mine", "mine"))
				if kind := t.fileSystem(sb, dir); kind != "tmpfs" {
					t.Errorf("at %s is a file system %q", dir, kind)
				}
				_, err := sb.WriteFile(t.ctx, &backend.WriteFileRequest{Path: dir + "/large", Content: io.LimitReader(zeroes{}, smallMemory)})
				t.wantKind("as much as there is memory, to "+dir, err, backend.ErrNoSpace)
				t.wantIn(sb, dir+"/mine", "mine")
			}
			t.must("destroy", t.kit.b.Destroy(t.ctx, &backend.DestroyRequest{ID: sb.Info().ID}))
			again := t.trap(small)
			for _, dir := range trapVolumes {
				t.wantNoneIn(again, dir+"/mine")
			}
		},
	},
	{
		Name:     "image-entrypoint-not-run",
		Sentence: "An image's ENTRYPOINT and CMD are not run.",
		Needs:    backend.CapImages, Trap: true,
		run: func(t *T) {
			sb := t.trap(nil)
			t.wantExit("a command", t.execIn(t.ctx, sb, &backend.ExecRequest{Argv: []string{"true"}}), 0)
			t.wantNoneIn(sb, entrypointMark)
			t.wantNoProcess(sb, "entrypoint")
		},
	},
	{
		Name:     "image-healthcheck-not-run",
		Sentence: "An image's HEALTHCHECK is not run.",
		Needs:    backend.CapImages, Trap: true,
		run: func(t *T) {
			sb := t.trap(nil)
			// It would be every 100 ms, where the engine runs any: Podman leaves that to
			// timers of systemd, and proves nothing here on a machine without. There it is
			// package enginetest that looks at what the engine was asked for.
			t.wantExit("a command", t.execIn(t.ctx, sb, &backend.ExecRequest{Argv: []string{"sleep", "1"}}), 0)
			t.wantNoneIn(sb, healthcheckMark)
		},
	},
}

// refuseImage notes a problem unless no sandbox can be made from that, for a reason
// of that kind which says what to do.
func (t *T) refuseImage(kind error, ref string, pull backend.PullPolicy) {
	id := backend.NewID()
	_, err := t.create(id, func(s *backend.Spec) { s.Image, s.Pull = ref, pull })
	t.wantKind("create from "+ref, err, kind)
	var e *backend.Error
	if errors.As(err, &e) && e.Hint == "" {
		t.Errorf("create from %s: the error has no hint: %v", ref, err)
	}
	t.wantNothing(id)
}
