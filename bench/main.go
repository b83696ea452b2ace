// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Bench measures this tree: see README.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"
)

func main() {
	var err error
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		err = serve(os.Args[2:])
	} else {
		err = bench(os.Args[1:], os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// settings are the flags.
type settings struct {
	rounds   int
	duration time.Duration
	only     string
	callers  int
	actors   int
	streams  int
	profile  string
	json     string
	dir      string
	cluster  bool
	verbose  bool
}

// bench runs every group of rows and prints the table. Goals that are not met are
// no error.
func bench(args []string, out io.Writer) error {
	var (
		s     settings
		short bool
		flags = flag.NewFlagSet("bench", flag.ContinueOnError)
	)
	flags.IntVar(&s.rounds, "rounds", 7, "interleaved rounds of each row")
	flags.DurationVar(&s.duration, "duration", 700*time.Millisecond, "of one slice of a round")
	flags.StringVar(&s.only, "only", "", "groups of rows to run, such as a,b; empty is all of them")
	flags.IntVar(&s.callers, "callers", 64, "connections that call at once")
	flags.IntVar(&s.actors, "actors", 100_000, "idle actors whose memory is measured")
	flags.IntVar(&s.streams, "streams", 1_000, "most subscribers")
	flags.StringVar(&s.profile, "profile", "", "directory for CPU profiles of each server of each group, and of the generator")
	flags.StringVar(&s.json, "json", "", "file for every round of every row")
	flags.StringVar(&s.dir, "dir", "", "directory for the stores, on the disk to measure; empty is a temporary one")
	flags.BoolVar(&s.cluster, "cluster", false, "measure nodes over PostgreSQL, and nothing else")
	flags.BoolVar(&s.verbose, "v", false, "print further figures below the table")
	flags.BoolVar(&short, "short", false, "a quick look: 3 rounds of 200 ms, 10,000 actors")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if short {
		s.rounds, s.duration, s.actors = min(s.rounds, 3), min(s.duration, 200*time.Millisecond), min(s.actors, 10_000)
	}
	if s.rounds < 1 || s.duration <= 0 || s.callers < 1 || s.actors < 1 || s.streams < 1 {
		return errors.New("rounds, duration, callers, actors and streams must be positive")
	}
	if s.profile != "" {
		if err := os.MkdirAll(s.profile, 0o755); err != nil { //nolint:gosec // profiles are no secret
			return err
		}
	}
	dir, err := os.MkdirTemp(s.dir, "troupe-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupted)
	go func() {
		<-interrupted
		_ = os.RemoveAll(dir)
		os.Exit(1) // the children end with this process
	}()

	line := machine()
	_, _ = fmt.Fprintf(out, "%s\n%d rounds of %v a slice, %d callers\n\n", line, s.rounds, s.duration, s.callers)
	rows, err := profiled(s.profile, func() []*row { return measure(&s, dir) })
	if err != nil {
		return err
	}
	if err := printTable(out, rows, s.verbose); err != nil {
		return err
	}
	if s.json != "" {
		return writeJSON(s.json, line, rows)
	}
	return nil
}

// profiled runs measure, with a profile of the generator if there is a directory
// for it.
func profiled(dir string, measure func() []*row) ([]*row, error) {
	if dir == "" {
		return measure(), nil
	}
	f, err := os.Create(filepath.Join(dir, "generator.pprof")) //nolint:gosec // where the person who runs this wants it
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	rows := measure()
	pprof.StopCPUProfile()
	return rows, f.Close()
}

// measure runs the groups that were asked for, one after the other.
func measure(s *settings, dir string) []*row {
	var rows []*row
	for _, g := range groups {
		if g.cluster != s.cluster || s.only != "" && !contains(s.only, g.id) {
			continue
		}
		began := time.Now()
		b := &bed{settings: s, group: g.id, dir: dir}
		got, err := g.run(b)
		if closeErr := b.close(); err == nil {
			err = closeErr
		}
		if err != nil {
			got = []*row{{ID: g.id, Name: g.name, Err: err.Error()}}
		}
		for _, r := range got {
			r.ID = g.id
		}
		rows = append(rows, got...)
		fmt.Fprintf(os.Stderr, "%s %s: %v\n", g.id, g.name, time.Since(began).Round(time.Millisecond))
	}
	return rows
}

func contains(list, id string) bool {
	for part := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(part) == id {
			return true
		}
	}
	return false
}

// machine says what the figures were measured on.
func machine() string {
	gogc := os.Getenv("GOGC")
	if gogc == "" {
		gogc = "100"
	}
	return fmt.Sprintf("%d cores, %s %s/%s, %s, GOMAXPROCS=%d, GOGC=%s, CGO_ENABLED=%s, load average %s, %s",
		runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH, kernel(), runtime.GOMAXPROCS(0), gogc, cgo(),
		loadAverage(), time.Now().UTC().Format("2006-01-02 15:04 UTC"))
}

// cgo says how the program was built: without cgo, the storage engine keeps its
// caches on the Go heap.
func cgo() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "CGO_ENABLED" {
				return setting.Value
			}
		}
	}
	return "?"
}
