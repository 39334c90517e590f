package main

import (
	"slices"
	"time"
)

// A Row is one line of the table and one object of bench.json.
type Row struct {
	Name    string  `json:"name"`
	Backend string  `json:"backend"`
	Unit    string  `json:"unit"`
	P50     float64 `json:"p50"`
	P99     float64 `json:"p99"`
	// BaselineP50 is the engine's own way of doing the same, in the same run; 0
	// where there is none.
	BaselineP50 float64 `json:"baseline_p50"`
	// Ratio is BaselineP50 / P50: how many times faster than the engine.
	Ratio float64 `json:"ratio"`
}

// Sample collects durations of one thing.
type sample []time.Duration

// time adds how long fn takes.
func (s *sample) time(fn func() error) error {
	start := time.Now()
	err := fn()
	*s = append(*s, time.Since(start))
	return err
}

// percentile returns the p-th percentile by nearest rank, in milliseconds.
func (s sample) percentile(p float64) float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	i := min(int(float64(len(sorted))*p/100), len(sorted)-1)
	return float64(sorted[i].Microseconds()) / 1000
}

// compare makes a row in milliseconds of ours and, if there is one, the baseline.
func compare(name, backend string, ours, baseline sample) Row {
	r := Row{
		Name: name, Backend: backend, Unit: "ms",
		P50: ours.percentile(50), P99: ours.percentile(99), BaselineP50: baseline.percentile(50),
	}
	if r.BaselineP50 > 0 && r.P50 > 0 {
		r.Ratio = r.BaselineP50 / r.P50
	}
	return r
}
