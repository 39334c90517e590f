// Package host finds, starts, supervises and stops the plugins that backends
// live in.
//
// [Launch] starts a plugin and returns a [Plugin], which is a [backend.Backend]:
//
//	p, err := host.Launch(ctx, host.Options{Name: "docker"})
//	if err != nil {
//		return err
//	}
//	defer p.Close(ctx)
//	sb, err := p.Create(ctx, &backend.CreateRequest{ID: backend.NewID()})
//
// A plugin that crashes, or freezes, fails the calls in flight with a
// [*backend.CrashError] that holds its last lines, and is started again, at most
// three times in a minute. A Sandbox from before goes on working as long as the
// sandbox lives; a command that was running is never run a second time, ask
// Outcome what became of it.
//
// When the process that called Launch ends, however it ends, the plugin destroys
// the ephemeral sandboxes it made and exits.
package host
