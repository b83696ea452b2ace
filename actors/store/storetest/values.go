// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
)

func testValues(t *testing.T, target Target) {
	s := open(t, target)
	for _, size := range []int{0, 1, 1023, 1024, 1025, 70_000, 4 << 20} {
		t.Run(fmt.Sprintf("%d bytes", size), func(t *testing.T) {
			t.Parallel()
			random := rand.NewChaCha8([32]byte{byte(size)})
			value := make([]byte, size)
			_, _ = random.Read(value) // never fails
			r := record(s, address(fmt.Sprint(size)), string(value))
			rows := []store.RowWrite{
				putDue(store.KindOutbox, "due", string(value), day),
				put(store.KindKV, "plain", string(value)),
			}
			must(t, s, create(r, rows...))
			if got := load(t, s, r.Address); !bytes.Equal(got.State, value) {
				t.Errorf("state of %d bytes came back with %d", size, len(got.State))
			}
			for _, kind := range []store.Kind{store.KindOutbox, store.KindKV} {
				got := scan(t, s, r.ID, kind, store.Range{})
				if len(got) != 1 || !bytes.Equal(got[0].Value, value) {
					t.Errorf("row of kind %d and %d bytes came back differently", kind, size)
				}
			}
			got := due(t, s, r.ID.Shard(), store.KindOutbox, day, nil, 9)
			if len(got) != 1 || !bytes.Equal(got[0].Value, value) {
				t.Errorf("due row of %d bytes came back differently", size)
			}
			listed := list(t, s, store.ListQuery{Namespace: r.Namespace, Type: r.Type, KeyPrefix: r.Key, Limit: 1})
			r.State = nil
			same(t, "listed", listed, []store.Record{r})
			if len(listed) == 1 && listed[0].State != nil {
				t.Errorf("listed with a state")
			}
		})
	}

	t.Run("all byte values in keys", func(t *testing.T) {
		t.Parallel()
		var all [256]byte
		for i := range all {
			all[i] = byte(i)
		}
		key := string(all[:])
		r := record(s, store.Address{Namespace: key, Type: key, Key: key}, key)
		must(t, s, create(r, putDue(store.KindKV, key, key, day)))
		same(t, "record", load(t, s, r.Address), r)
		same(t, "row", scan(t, s, r.ID, store.KindKV, store.Range{}), []store.Row{{Key: all[:], Value: all[:], Due: day}})
		r.State = nil
		same(t, "listed", list(t, s, store.ListQuery{Namespace: key, Limit: 9}), []store.Record{r})
	})

	t.Run("times", func(t *testing.T) {
		t.Parallel()
		for i, at := range []time.Time{{}, time.Unix(0, 0), time.Unix(-1, 999e6), day.In(time.FixedZone("east", 3600))} {
			r := record(s, address(fmt.Sprintf("time %d", i)), "")
			r.CreatedAt = at
			must(t, s, create(r))
			if got := load(t, s, r.Address).CreatedAt; !got.Equal(at) || got.Location() != time.UTC {
				t.Errorf("created at %v came back as %v", at, got)
			}
		}
	})
}
