// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/embedded"
	"github.com/troupe-dev/troupe/actors/store/memory"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// BenchmarkCall measures what the runtime costs, without a network: 64 callers at a
// time, one actor or a thousand, in memory and on disk.
func BenchmarkCall(b *testing.B) {
	for name, open := range map[string]func(*testing.B) store.Store{
		"memory": func(*testing.B) store.Store { return memory.New(memory.Options{}) },
		"embedded": func(b *testing.B) store.Store {
			s, err := embedded.Open(b.TempDir(), embedded.Options{})
			if err != nil {
				b.Fatal(err)
			}
			return s
		},
	} {
		for _, keys := range []int64{1, 1000} {
			for _, write := range []bool{false, true} {
				kind := "read"
				if write {
					kind = "write"
				}
				b.Run(name+"/"+kind+"/"+strconv.FormatInt(keys, 10), func(b *testing.B) {
					s := open(b)
					b.Cleanup(func() { _ = s.Close() })
					k := newKit(b, s)
					for n := range keys {
						k.mustAdd(strconv.FormatInt(n, 10), 1)
					}
					var next atomic.Int64
					b.SetParallelism(32)
					b.ReportAllocs()
					b.ResetTimer()
					b.RunParallel(func(pb *testing.PB) {
						for pb.Next() {
							key := strconv.FormatInt(next.Add(1)%keys, 10)
							call := k.to(counterv1connect.CounterGetProcedure, key, new(counterv1.GetRequest))
							if write {
								call = k.to(counterv1connect.CounterIncrementProcedure, key, &counterv1.IncrementRequest{Amount: 1})
							}
							if _, err := k.Call(b.Context(), call); err != nil {
								b.Fatal(err)
							}
						}
					})
				})
			}
		}
	}
}
