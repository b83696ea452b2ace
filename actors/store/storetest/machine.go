// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/troupe-dev/troupe/actors/store"
	"pgregory.net/rapid"
)

// testModel does random things to a store and to a model of it, and compares.
func testModel(t *testing.T, target Target) {
	rapid.Check(t, func(rt *rapid.T) {
		s := target.Open(t)
		m := &machine{t: t, target: target, store: s, model: newModel()}
		defer func() { closeStore(t, m.store) }()
		for _, r := range together(s, 3) {
			m.addrs = append(m.addrs, r.Address)
		}
		m.addrs = append(m.addrs, address("elsewhere"), store.Address{Namespace: "acme", Type: "shop.v1.Cartel", Key: "0"})
		rt.Repeat(map[string]func(*rapid.T){
			"":         m.compare,
			"commit":   m.commit,
			"commit 2": m.commit, // twice as often
			"pipeline": m.pipeline,
			"scan":     m.scan,
			"due":      m.due,
			"due 2":    m.due,
			"list":     m.list,
			"reopen":   m.reopen,
			"crash":    m.crash,
		})
	})
}

// machine is a store under test, the model of it, and what may be done to them.
type machine struct {
	t      *testing.T
	target Target
	store  store.Store
	model  *model
	addrs  []store.Address
	former []store.ID // the last few that were destroyed or never came to be
}

func (m *machine) commit(t *rapid.T) {
	batch := m.batch(t)
	want := m.expect(batch)
	commit(m.store, batch...)
	m.verify(t, batch, want)
}

func (m *machine) pipeline(t *rapid.T) {
	n := rapid.IntRange(2, 5).Draw(t, "batches")
	var batches [][]*store.Write
	var want [][]error
	var pending []store.Pending
	for range n {
		batch := m.batch(t)
		want = append(want, m.expect(batch))
		batches = append(batches, batch)
		pending = append(pending, m.store.Commit(context.Background(), batch))
		if rapid.Bool().Draw(t, "look") {
			m.compare(t)
		}
	}
	for _, i := range rapid.Permutation(indexes(n)).Draw(t, "waits") {
		pending[i].Wait()
	}
	for i := range batches {
		m.verify(t, batches[i], want[i])
	}
}

func indexes(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// expect applies the batch to the model.
func (m *machine) expect(batch []*store.Write) []error {
	var want []error
	for _, w := range batch {
		before := m.model.actors[w.Record.Address]
		err := m.model.write(w)
		want = append(want, err)
		switch {
		case w.Op == store.OpCreate && err != nil:
			m.former = append(m.former, w.Record.ID)
		case w.Op == store.OpDestroy && err == nil:
			m.former = append(m.former, before.record.ID)
		}
	}
	m.former = m.former[max(0, len(m.former)-3):]
	return want
}

func (m *machine) verify(t *rapid.T, batch []*store.Write, want []error) {
	for i, w := range batch {
		if !errors.Is(w.Err, want[i]) {
			t.Fatalf("write of %q with op %d: %v, want %v", w.Record.Key, w.Op, w.Err, want[i])
		}
	}
}

// compare reads everything by every way there is, after every other step or so.
func (m *machine) compare(t *rapid.T) {
	if rapid.Bool().Draw(t, "not now") {
		return
	}
	ctx := context.Background()
	for _, addr := range m.addrs {
		a := m.model.actors[addr]
		got, err := m.store.Load(ctx, addr)
		if a == nil {
			if !errors.Is(err, store.ErrNotFound) {
				t.Fatalf("Load(%q): %v, want ErrNotFound", addr.Key, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("Load(%q): %v", addr.Key, err)
		}
		same(t, "Load", got, a.record)
		if got, err = m.store.LoadID(ctx, a.record.ID); err != nil {
			t.Fatalf("LoadID of %q: %v", addr.Key, err)
		}
		same(t, "LoadID", got, a.record)
		for _, kind := range modelKinds {
			same(t, "Scan", scan(t, m.store, a.record.ID, kind, store.Range{}), a.scan(kind, store.Range{}))
		}
	}
	for _, id := range m.former {
		if _, err := m.store.LoadID(ctx, id); !errors.Is(err, store.ErrNotFound) {
			t.Fatalf("LoadID of a former actor: %v", err)
		}
		for _, kind := range modelKinds {
			if rows := scan(t, m.store, id, kind, store.Range{}); len(rows) > 0 {
				t.Fatalf("a former actor has %d rows", len(rows))
			}
		}
	}
}

func (m *machine) scan(t *rapid.T) {
	addr := rapid.SampledFrom(m.addrs).Draw(t, "address")
	kind := rapid.SampledFrom(modelKinds).Draw(t, "kind")
	r := store.Range{
		Limit:   rapid.IntRange(0, 3).Draw(t, "limit"),
		Reverse: rapid.Bool().Draw(t, "reverse"),
	}
	if rapid.Bool().Draw(t, "has from") {
		r.From = []byte(drawRowKey(t))
	}
	if rapid.Bool().Draw(t, "has to") {
		r.To = []byte(drawRowKey(t))
	}
	if a := m.model.actors[addr]; a != nil {
		same(t, fmt.Sprintf("Scan %+v", r), scan(t, m.store, a.record.ID, kind, r), a.scan(kind, r))
	}
}

func (m *machine) due(t *rapid.T) {
	addr := rapid.SampledFrom(m.addrs).Draw(t, "address")
	shard := store.ShardOf(addr, m.store.Info().Shards)
	kind := rapid.SampledFrom(modelKinds).Draw(t, "kind")
	until := drawTime(t)
	limit := rapid.IntRange(1, 4).Draw(t, "limit")
	all := m.model.due(shard, kind, until)
	var got []store.DueRow
	var after *store.DueRow
	if len(all) > 0 && rapid.IntRange(0, 3).Draw(t, "begin in the middle") == 0 {
		i := rapid.IntRange(0, len(all)-1).Draw(t, "cursor")
		after = &all[i]
		all = all[i+1:]
	}
	for {
		page := due(t, m.store, shard, kind, until, after, limit)
		got = append(got, page...)
		if len(page) < limit {
			break
		}
		if rapid.Bool().Draw(t, "stop") {
			all = all[:min(len(all), len(got))]
			break
		}
		after = &page[len(page)-1]
	}
	same(t, fmt.Sprintf("Due until %v in pages of %d", until, limit), got, all)
}

func (m *machine) list(t *rapid.T) {
	q := store.ListQuery{Namespace: "acme", Limit: rapid.IntRange(1, 4).Draw(t, "limit")}
	if rapid.Bool().Draw(t, "typed") {
		q.Type = rapid.SampledFrom(m.addrs).Draw(t, "type of").Type
		q.KeyPrefix = rapid.SampledFrom([]string{"", "0", "e", "x"}).Draw(t, "prefix")
	}
	if rapid.Bool().Draw(t, "from the middle") {
		q.After = &m.addrs[rapid.IntRange(0, len(m.addrs)-1).Draw(t, "after")]
	}
	same(t, fmt.Sprintf("List %+v", q), list(t, m.store, q), m.model.list(q))
}

func (m *machine) reopen(t *rapid.T) {
	if m.target.Reopen == nil || rapid.IntRange(0, 7).Draw(t, "really") > 0 {
		t.Skip("not now")
	}
	info := m.store.Info()
	m.store = m.target.Reopen(m.t, m.store)
	same(t, "Info after reopening", m.store.Info(), info)
}

// crash cuts the power while nothing is under way, so that nothing may be lost.
func (m *machine) crash(t *rapid.T) {
	if m.target.Crash == nil || rapid.IntRange(0, 7).Draw(t, "really") > 0 {
		t.Skip("not now")
	}
	old, info := m.store, m.store.Info()
	m.store = m.target.Crash(m.t, old)
	closeStore(m.t, old)
	same(t, "Info after a crash", m.store.Info(), info)
}
