// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"time"
)

// command is what the benchmark asks a child to do.
type command struct {
	// Do names the command.
	Do string
	// Path is a file.
	Path string
	// N is how many, and Keys on how many actors.
	N, Keys int
	// For is how long.
	For time.Duration
}

// report is a child's answer.
type report struct {
	// Error says why the command failed.
	Error string
	// Addr is where the child serves.
	Addr string
	// CPU is the user and system time the child has used so far.
	CPU time.Duration
	// Heap and Stack are bytes in use after a collection, Engine the part of
	// Heap that the storage engine holds, RSS what is in RAM.
	Heap, Stack, Engine, RSS uint64
	// Goroutines is how many there are.
	Goroutines int
	// Ops were done in Elapsed; P50 and P99 are their latencies. Batches is how many
	// commits they were, where that is known.
	Ops, Batches      int64
	Elapsed, P50, P99 time.Duration
}

// role is what a child is.
type role interface {
	// addr is where it serves; may be empty.
	addr() string
	// handle runs a command that only this role knows.
	handle(c command) (report, error)
	// close ends it.
	close() error
}

var errCommand = errors.New("no such command")

// obey runs commands until in ends.
func obey(r role, in io.Reader, out io.Writer) error {
	encoder, decoder := gob.NewEncoder(out), gob.NewDecoder(in)
	if err := encoder.Encode(report{Addr: r.addr()}); err != nil {
		return err
	}
	var profile *os.File
	for {
		var c command
		if err := decoder.Decode(&c); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		answer, err := run(r, c, &profile)
		if err != nil {
			answer.Error = err.Error()
		}
		if err := encoder.Encode(answer); err != nil {
			return err
		}
	}
}

func run(r role, c command, profile **os.File) (report, error) {
	switch c.Do {
	case "cpu":
		return report{CPU: cpuTime()}, nil
	case "memory":
		return memory(), nil
	case "profile":
		if *profile != nil {
			pprof.StopCPUProfile()
			err := (*profile).Close()
			*profile = nil
			return report{}, err
		}
		f, err := os.Create(c.Path)
		if err != nil {
			return report{}, err
		}
		*profile = f
		return report{}, pprof.StartCPUProfile(f)
	case "heap":
		f, err := os.Create(c.Path)
		if err != nil {
			return report{}, err
		}
		return report{}, errors.Join(pprof.WriteHeapProfile(f), f.Close())
	default:
		answer, err := r.handle(c)
		if errors.Is(err, errCommand) {
			err = fmt.Errorf("%w: %s", err, c.Do)
		}
		return answer, err
	}
}

// memory collects garbage and says what is left.
func memory() report {
	for range 3 { // pools let go of what they hold at the second collection
		runtime.GC()
	}
	debug.FreeOSMemory()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return report{
		Heap:       stats.HeapAlloc,
		Stack:      stats.StackInuse,
		Engine:     engineHeap(),
		RSS:        resident(),
		Goroutines: runtime.NumGoroutine(),
	}
}

// engineHeap is the part of the heap that the storage engine allocated: its
// caches and memtables grow with what is written, whoever is awake.
func engineHeap() uint64 {
	records := make([]runtime.MemProfileRecord, 4096)
	for {
		n, ok := runtime.MemProfile(records, true)
		if ok {
			records = records[:n]
			break
		}
		records = make([]runtime.MemProfileRecord, n+256)
	}
	var sum float64
	for i := range records {
		r := &records[i]
		if r.InUseObjects() <= 0 || !fromEngine(r.Stack()) {
			continue
		}
		// What was sampled stands for what was not: the chance of an
		// allocation to be sampled grows with its size.
		size := float64(r.InUseBytes()) / float64(r.InUseObjects())
		sum += float64(r.InUseBytes()) / (1 - math.Exp(-size/float64(runtime.MemProfileRate)))
	}
	return uint64(sum)
}

// fromEngine reports whether the innermost of our callers' frames is the storage
// engine.
func fromEngine(stack []uintptr) bool {
	frames := runtime.CallersFrames(stack)
	for {
		frame, more := frames.Next()
		switch {
		case strings.Contains(frame.Function, "cockroachdb/"):
			return true
		case strings.Contains(frame.Function, "troupe-dev/"):
			return false
		case !more:
			return false
		}
	}
}
