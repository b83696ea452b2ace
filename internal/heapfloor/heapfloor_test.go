// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package heapfloor

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// eventually collects until something is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 500 {
		runtime.GC()
		if is() {
			return
		}
		<-time.After(5 * time.Millisecond) // cleanups run beside
	}
	t.Fatalf("not %s: %d %%, %d bytes live, a goal of %d", what, percent(), read(liveBytes), read("/gc/heap/goal:bytes"))
}

// TestHold holds that a small heap is collected when it has the size of the floor, that a
// large one is collected when it has doubled, and that a percentage of someone else's is
// left as it is.
func TestHold(t *testing.T) {
	before := debug.SetGCPercent(byDefault)
	defer debug.SetGCPercent(before)
	t.Setenv("GOGC", "100")
	Hold(Floor)
	eventually(t, "left to the environment", func() bool { return percent() == byDefault })
	t.Setenv("GOGC", "")
	goal := func() uint64 { return read("/gc/heap/goal:bytes") }
	Hold(Floor)
	eventually(t, "held", func() bool { return goal() > Floor*3/4 && goal() < Floor*3/2 })

	held := make([][]byte, 3*Floor>>20)
	for i := range held {
		held[i] = make([]byte, 1<<20)
	}
	eventually(t, "as ever for a large heap", func() bool { return percent() == byDefault && goal() > 2*3*Floor })
	runtime.KeepAlive(held)
	eventually(t, "held again", func() bool { return goal() > Floor*3/4 && goal() < Floor*3/2 })

	debug.SetGCPercent(250)
	for range 5 {
		eventually(t, "left alone", func() bool { return percent() == 250 })
		<-time.After(5 * time.Millisecond)
	}
	Hold(Floor)
	eventually(t, "left alone from the beginning", func() bool { return percent() == 250 })
}

func TestWant(t *testing.T) {
	t.Parallel()
	k := &keeper{floor: 64 << 20}
	for _, c := range []struct{ live, roots, want uint64 }{
		{live: 0, want: 1600},
		{live: 4 << 20, want: 1500},
		{live: 4 << 20, roots: 4 << 20, want: 750},
		{live: 32 << 20, want: 100},
		{live: 32 << 20, roots: 8 << 20, want: 100},
		{live: 64 << 20, want: 100},
		{live: 1 << 40, want: 100},
	} {
		if got := k.want(c.live, c.roots); got != c.want {
			t.Errorf("want(%d, %d) = %d, want %d", c.live, c.roots, got, c.want)
		}
	}
}
