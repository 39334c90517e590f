package guest

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"testing"

	"github.com/deep-sandbox/deep/core/backend"
)

// benchmark runs a benchmark inside namespaces, and shows what it says there.
func benchmark(b *testing.B, mode string, run func(b *testing.B, f *fixture)) {
	if os.Getenv(envMode) == mode {
		f := newFixture(b)
		run(b, f)
		return
	}
	out, err := again(b, mode, []string{"-test.run=^$", "-test.bench=^" + b.Name() + "$", "-test.benchtime=2s", "-test.benchmem"})
	check(b, err)
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "Benchmark") {
			fmt.Print("inside ", line)
		}
	}
	b.SkipNow()
}

func BenchmarkExecTrueGroup(b *testing.B) { benchmark(b, modeGroup, execTrue) }
func BenchmarkExecTruePIDNS(b *testing.B) { benchmark(b, modePIDNS, execTrue) }

func execTrue(b *testing.B, f *fixture) {
	for b.Loop() {
		if _, err := f.Exec(b.Context(), &backend.ExecRequest{Argv: []string{"/bin/true"}, Stdout: io.Discard}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkExecTTYGroup(b *testing.B) { benchmark(b, modeGroup, execTTY) }
func BenchmarkExecTTYPIDNS(b *testing.B) { benchmark(b, modePIDNS, execTTY) }

func execTTY(b *testing.B, f *fixture) {
	for b.Loop() {
		if _, err := f.Exec(b.Context(), &backend.ExecRequest{Argv: []string{"/bin/true"}, TTY: windowSize}); err != nil {
			b.Fatal(err)
		}
	}
}

// The two pairs tell what keeping output costs: a closed spool keeps none.
func BenchmarkFloodKept(b *testing.B)   { benchmark(b, modeGroup, flood) }
func BenchmarkFloodUnkept(b *testing.B) { benchmark(b, modeGroup, unkept(flood)) }

// flood takes 1 GiB of output, and tells by how much the guest has grown.
func flood(b *testing.B, f *fixture) {
	const size = 1 << 30
	f.spool.blocks = backend.KeptOutput / spoolBlock
	debug.FreeOSMemory()
	before := ownMemory(b)
	b.SetBytes(size)
	for b.Loop() {
		res, err := f.Exec(b.Context(), &backend.ExecRequest{Shell: "head -c 1073741824 /dev/zero", Stdout: io.Discard})
		check(b, err)
		if res.StdoutBytes != size {
			b.Fatalf("%+v", res)
		}
	}
	b.ReportMetric(float64(ownMemory(b)-before)/(1<<20), "MiB-grown")
}

func BenchmarkSilent200Kept(b *testing.B)   { benchmark(b, modeGroup, silent) }
func BenchmarkSilent200Unkept(b *testing.B) { benchmark(b, modeGroup, unkept(silent)) }

// silent runs 200 commands at once that write nothing.
func silent(b *testing.B, f *fixture) {
	for b.Loop() {
		var all sync.WaitGroup
		for range 200 {
			all.Go(func() {
				_, err := f.Exec(b.Context(), &backend.ExecRequest{Argv: []string{"/bin/sleep", "0.1"}, Stdout: io.Discard})
				check(b, err)
			})
		}
		all.Wait()
	}
	debug.FreeOSMemory()
	b.ReportMetric(float64(ownMemory(b))/(1<<20), "MiB-resident")
}

func unkept(run func(*testing.B, *fixture)) func(*testing.B, *fixture) {
	return func(b *testing.B, f *fixture) {
		check(b, f.spool.close())
		run(b, f)
	}
}

// ownMemory is the memory of this process, in bytes.
func ownMemory(b *testing.B) int64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	check(b, err)
	n, err := resident(status)
	check(b, err)
	return n
}

func BenchmarkRead1K(b *testing.B) {
	benchmark(b, modeGroup, func(b *testing.B, f *fixture) {
		f.put("file", strings.Repeat("x", 1024))
		buf := make([]byte, 1025)
		for b.Loop() {
			r, err := f.ReadFile(b.Context(), &backend.ReadFileRequest{Path: "file"})
			check(b, err)
			if n, err := r.Read(buf); n != 1024 || err != io.EOF {
				b.Fatal(n, err)
			}
			check(b, r.Close())
		}
	})
}

func BenchmarkWrite1K(b *testing.B) {
	benchmark(b, modeGroup, func(b *testing.B, f *fixture) {
		content := strings.Repeat("x", 1024)
		for b.Loop() {
			check(b, f.write("file", content))
		}
	})
}

// tenThousand makes 10,000 files of 4 KiB in 100 directories.
func (f *fixture) tenThousand() {
	content := strings.Repeat("some words of a line that is as long as most\n", 91)
	for i := range 10_000 {
		f.put(fmt.Sprintf("d%d/f%d.txt", i%100, i), content)
	}
}

func BenchmarkGrepLiteral(b *testing.B) {
	benchmark(b, modeGroup, func(b *testing.B, f *fixture) { f.grepAll(b, backend.GrepRequest{Pattern: "needle", Literal: true}) })
}

func BenchmarkGrepExpression(b *testing.B) {
	benchmark(b, modeGroup, func(b *testing.B, f *fixture) { f.grepAll(b, backend.GrepRequest{Pattern: `n[e]+dle\w`}) })
}

func (f *fixture) grepAll(b *testing.B, req backend.GrepRequest) {
	f.tenThousand()
	for b.Loop() {
		r, err := f.Grep(b.Context(), &req)
		check(b, err)
		if r.Searched != 10_000 {
			b.Fatal(r.Searched)
		}
	}
}

func BenchmarkGlob(b *testing.B) {
	benchmark(b, modeGroup, func(b *testing.B, f *fixture) {
		f.tenThousand()
		for b.Loop() {
			r, err := f.Glob(b.Context(), &backend.GlobRequest{Pattern: "**/*.txt"})
			check(b, err)
			if r.Total != 10_000 {
				b.Fatal(r.Total)
			}
		}
	})
}
