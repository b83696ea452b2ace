// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/troupe-dev/troupe/actors/store/memory"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// BenchmarkFirstCall measures the first call to an actor, which creates it or wakes
// it, without a network or a disk: 64 callers at a time.
func BenchmarkFirstCall(b *testing.B) {
	first := func(b *testing.B, k *kit) {
		b.Helper()
		var next atomic.Int64
		b.SetParallelism(32)
		b.ReportAllocs()
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				key := strconv.FormatInt(next.Add(1), 10)
				if _, err := k.Call(b.Context(), k.to(counterv1connect.CounterGetProcedure, key, new(counterv1.GetRequest))); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.StopTimer()
	}
	b.Run("create", func(b *testing.B) {
		first(b, newKit(b, memory.New(memory.Options{})))
	})
	b.Run("wake", func(b *testing.B) {
		s := memory.New(memory.Options{})
		k := newKit(b, s)
		for n := range b.N {
			k.mustAdd(strconv.Itoa(n+1), 1)
		}
		first(b, newKit(b, s))
	})
}
