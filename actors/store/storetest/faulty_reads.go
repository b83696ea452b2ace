// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
)

// Load implements [store.Store].
func (f *Faulty) Load(ctx context.Context, addr store.Address) (store.Record, error) {
	if err := f.readFault(); err != nil {
		return store.Record{}, err
	}
	return f.Store.Load(ctx, addr)
}

// LoadID implements [store.Store].
func (f *Faulty) LoadID(ctx context.Context, id store.ID) (store.Record, error) {
	if err := f.readFault(); err != nil {
		return store.Record{}, err
	}
	return f.Store.LoadID(ctx, id)
}

// Salvage implements [store.Store].
func (f *Faulty) Salvage(ctx context.Context, addr store.Address, id store.ID) (store.Record, error) {
	if err := f.readFault(); err != nil {
		return store.Record{}, err
	}
	return f.Store.Salvage(ctx, addr, id)
}

// Scan implements [store.Store].
func (f *Faulty) Scan(ctx context.Context, id store.ID, kind store.Kind, r store.Range) ([]store.Row, error) {
	if err := f.readFault(); err != nil {
		return nil, err
	}
	return f.Store.Scan(ctx, id, kind, r)
}

// Due implements [store.Store].
func (f *Faulty) Due(ctx context.Context, shard uint16, kind store.Kind, until time.Time, after *store.DueRow, limit int) ([]store.DueRow, error) {
	if err := f.readFault(); err != nil {
		return nil, err
	}
	return f.Store.Due(ctx, shard, kind, until, after, limit)
}

// DueShards implements [store.Store].
func (f *Faulty) DueShards(ctx context.Context, kind store.Kind) ([]store.DueShard, error) {
	if err := f.readFault(); err != nil {
		return nil, err
	}
	return f.Store.DueShards(ctx, kind)
}

// List implements [store.Store].
func (f *Faulty) List(ctx context.Context, q store.ListQuery) ([]store.Record, error) {
	if err := f.readFault(); err != nil {
		return nil, err
	}
	return f.Store.List(ctx, q)
}
