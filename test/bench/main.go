// Command bench measures deep against the engines it stands on, in one run, and
// prints a table and writes bench.json. The figures of one run belong together;
// those of two do not.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/deep-sandbox/deep/core/backend"
	"github.com/deep-sandbox/deep/test/require"
)

func main() {
	backends := flag.String("backends", "docker,podman,local", "which, separated by `commas`")
	only := flag.String("only", "", "`pattern` of the measures to take, as of go test -run; all without")
	bin := flag.String("bin", "bin", "`directory` that make build filled")
	out := flag.String("o", "bench.json", "`file` to write")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	pattern, err := regexp.Compile(*only)
	if err == nil {
		err = bench(ctx, strings.Split(*backends, ","), pattern, *bin, *out)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, names []string, only *regexp.Regexp, bin, out string) error {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	// The plugins and the guest are found as an embedding program finds them.
	for key, dir := range map[string]string{"DEEP_PLUGIN_PATH": "plugins", "DEEP_GUEST_DIR": "guest"} {
		if err := os.Setenv(key, filepath.Join(bin, dir)); err != nil {
			return err
		}
	}
	state, err := os.MkdirTemp("", "deep-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(state)

	var rows []Row
	for _, name := range names {
		if socket, ok := sockets[name]; ok {
			conn, err := net.Dial("unix", strings.TrimPrefix(socket, "unix://"))
			if err != nil {
				fmt.Fprintf(os.Stderr, "bench: %s is left out, no engine answers: %v\n", name, err)
				continue
			}
			_ = conn.Close()
		}
		fmt.Fprintf(os.Stderr, "bench: %s …\n", name)
		more, err := one(ctx, name, only, bin, state)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		rows = append(rows, more...)
	}
	slices.SortStableFunc(rows, func(a, b Row) int { return strings.Compare(a.Name, b.Name) })
	print(rows)
	data, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(data, '\n'), 0o644)
}

// one measures a backend: what only matches.
func one(ctx context.Context, name string, only *regexp.Regexp, bin, state string) (rows []Row, err error) {
	var e *engine
	if _, ok := sockets[name]; ok {
		e, err = newEngine(ctx, name, require.Python)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, e.close()) }()
	}
	p, err := launch(ctx, name, state)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Close(context.WithoutCancel(ctx))) }()
	before := pids("deep-guest")
	sb, err := p.Create(ctx, &backend.CreateRequest{ID: backend.NewID(), Spec: specification(require.Python)})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sb.Close()) }()
	guest := newGuest(before)
	for _, measure := range []struct {
		name string
		take func() ([]Row, error)
	}{
		{"start", func() ([]Row, error) { return alone(start(ctx, name, state)) }},
		{"create", func() ([]Row, error) { return alone(create(ctx, p, name, require.Python, e)) }},
		{"warm", func() ([]Row, error) { return warm(ctx, name, sb, e) }},
		{"many", func() ([]Row, error) { return alone(many(ctx, name, sb)) }},
		{"terminal", func() ([]Row, error) { return alone(terminal(ctx, name, sb)) }},
		{"tree", func() ([]Row, error) { return tree(ctx, name, sb) }},
		{"flood", func() ([]Row, error) { return flood(ctx, name, sb, guest) }},
		{"stream", func() ([]Row, error) { return stream(ctx, name, sb, e) }},
		{"memory", func() ([]Row, error) { return memory(ctx, bin, name, require.Python, state) }},
	} {
		if !only.MatchString(measure.name) {
			continue
		}
		more, err := measure.take()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", measure.name, err)
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

func alone(r Row, err error) ([]Row, error) { return []Row{r}, err }

func print(rows []Row) {
	fmt.Printf("%d processors, %s %s/%s\n", runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "name\tbackend\tunit\tp50\tp99\tengine p50\tratio\t")
	for _, r := range rows {
		baseline, ratio := "–", "–"
		if r.BaselineP50 > 0 {
			baseline, ratio = fmt.Sprintf("%.2f", r.BaselineP50), fmt.Sprintf("%.1f", r.Ratio)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.2f\t%.2f\t%s\t%s\t\n", r.Name, r.Backend, r.Unit, r.P50, r.P99, baseline, ratio)
	}
	_ = w.Flush()
}
