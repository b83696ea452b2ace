// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package memory keeps actors in maps, for tests: it does what every store does,
// in the plainest way, and forgets all of it with the process.
package memory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
)

// Options are the settings of a store.
type Options struct {
	// Shards is the number of shards; 0 means [store.DefaultShards].
	Shards uint16
	// Generation is what Info reports; 0 means 1.
	Generation uint64
}

var errClosed = errors.New("memory store: closed")

// Store is a store in memory. Its methods may be called concurrently. A Write is
// durable, as far as that goes here, when Commit returns.
type Store struct {
	info   store.Info
	mu     sync.Mutex // guards the fields below and all that they lead to
	actors map[store.Address]*actor
	ids    map[store.ID]*actor
	order  []store.Address // the keys of actors, in order
	due    dueIndex
	closed bool
}

var _ store.Store = (*Store)(nil)

// New returns an empty store.
func New(opts Options) *Store {
	if opts.Shards == 0 {
		opts.Shards = store.DefaultShards
	}
	if opts.Generation == 0 {
		opts.Generation = 1
	}
	return &Store{
		info:   store.Info{Format: 1, Generation: opts.Generation, Shards: opts.Shards},
		actors: make(map[store.Address]*actor),
		ids:    make(map[store.ID]*actor),
		due:    make(dueIndex),
	}
}

// Reopen closes s and returns a store that goes on with what s held, as a server
// that starts again finds its store.
func (s *Store) Reopen() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return &Store{info: s.info, actors: s.actors, ids: s.ids, order: s.order, due: s.due}
}

// lock begins what reads, or fails without the lock.
func (s *Store) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errClosed
	}
	return nil
}

// Load implements [store.Store].
func (s *Store) Load(ctx context.Context, addr store.Address) (store.Record, error) {
	if err := s.lock(ctx); err != nil {
		return store.Record{}, err
	}
	defer s.mu.Unlock()
	return load(s.actors[addr])
}

// LoadID implements [store.Store].
func (s *Store) LoadID(ctx context.Context, id store.ID) (store.Record, error) {
	if err := s.lock(ctx); err != nil {
		return store.Record{}, err
	}
	defer s.mu.Unlock()
	return load(s.ids[id])
}

func load(a *actor) (store.Record, error) {
	r, err := salvage(a)
	if err != nil {
		return store.Record{}, err
	}
	return r, nil
}

// Salvage implements [store.Store].
func (s *Store) Salvage(ctx context.Context, addr store.Address, id store.ID) (store.Record, error) {
	if err := s.lock(ctx); err != nil {
		return store.Record{}, err
	}
	defer s.mu.Unlock()
	if id.IsZero() {
		return salvage(s.actors[addr])
	}
	return salvage(s.ids[id])
}

func salvage(a *actor) (store.Record, error) {
	if a == nil {
		return store.Record{}, store.ErrNotFound
	}
	r := a.record
	r.State = slices.Clone(r.State)
	if r.Damaged {
		return r, fmt.Errorf("%w: the record of actor %s was damaged", store.ErrCorrupt, r.ID)
	}
	return r, nil
}

// Damage has change do to the record at addr, which must be there, what a failing disk
// might. The record is damaged, whatever it does.
func (s *Store) Damage(addr store.Address, change func(r *store.Record)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &s.actors[addr].record
	change(r)
	r.Damaged = true
}

// Scan implements [store.Store].
func (s *Store) Scan(ctx context.Context, id store.ID, kind store.Kind, r store.Range) ([]store.Row, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	a := s.ids[id]
	if a == nil {
		return nil, nil
	}
	rows := a.rows[kind]
	from, to := rows.between(r.From, r.To)
	var found []store.Row
	for i := range to - from {
		if r.Limit > 0 && i == r.Limit {
			break
		}
		at := from + i
		if r.Reverse {
			at = to - 1 - i
		}
		row := cloneRow(rows[at])
		if r.KeysOnly {
			row = store.Row{Key: row.Key}
		}
		found = append(found, row)
	}
	return found, nil
}

// Due implements [store.Store].
func (s *Store) Due(ctx context.Context, shard uint16, kind store.Kind, until time.Time, after *store.DueRow, limit int) ([]store.DueRow, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	places := s.due[dueList{shard, kind}]
	if after != nil {
		cursor := place{due: after.Due.UnixMicro(), id: after.ID, key: string(after.Key)}
		i, found := slices.BinarySearchFunc(places, cursor, comparePlaces)
		if found {
			i++
		}
		places = places[i:]
	}
	var found []store.DueRow
	for _, p := range places {
		if p.due > until.UnixMicro() || len(found) >= limit {
			break
		}
		rows := s.ids[p.id].rows[kind]
		i, _ := rows.find([]byte(p.key))
		found = append(found, store.DueRow{ID: p.id, Row: cloneRow(rows[i])})
	}
	return found, nil
}

// DueShards implements [store.Store].
func (s *Store) DueShards(ctx context.Context, kind store.Kind) ([]store.DueShard, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var found []store.DueShard
	for list, places := range s.due {
		if list.kind == kind && len(places) > 0 {
			found = append(found, store.DueShard{Shard: list.shard, From: time.UnixMicro(places[0].due)})
		}
	}
	slices.SortFunc(found, func(a, b store.DueShard) int { return cmp.Compare(a.Shard, b.Shard) })
	return found, nil
}

// Expire implements [store.Store].
func (s *Store) Expire(ctx context.Context, shard uint16, kind store.Kind, until time.Time, limit int) (int, error) {
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	places := s.due[dueList{shard, kind}]
	n := 0
	for n < len(places) && n < limit && places[n].due <= until.UnixMicro() {
		n++
	}
	for _, p := range slices.Clone(places[:n]) {
		s.writeRowLocked(s.ids[p.id], store.RowWrite{Kind: kind, Op: store.RowDelete, Row: store.Row{Key: []byte(p.key)}})
	}
	return n, nil
}

// List implements [store.Store].
func (s *Store) List(ctx context.Context, q store.ListQuery) ([]store.Record, error) {
	switch {
	case q.Namespace == "":
		return nil, errors.New("memory store: a list needs a namespace")
	case q.KeyPrefix != "" && q.Type == "":
		return nil, errors.New("memory store: a list by key prefix needs a type")
	case q.Limit < 1:
		return nil, errors.New("memory store: a list needs a limit of 1 at least")
	}
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var found []store.Record
	for _, addr := range s.order {
		if len(found) == q.Limit {
			break
		}
		if addr.Namespace != q.Namespace ||
			q.Type != "" && addr.Type != q.Type ||
			!strings.HasPrefix(addr.Key, q.KeyPrefix) ||
			q.After != nil && compareAddresses(addr, *q.After) <= 0 {
			continue
		}
		r := s.actors[addr].record
		r.State = nil
		found = append(found, r)
	}
	return found, nil
}

// Info implements [store.Store].
func (s *Store) Info() store.Info { return s.info }

// Close implements [store.Store].
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	s.closed = true
	return nil
}
