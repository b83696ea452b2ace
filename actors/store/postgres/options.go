// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
)

// Options are the settings of a store. URL is required; the zero value of the rest is
// right for a server that has a database of its own.
type Options struct {
	// URL says where the database is, in the form of a URL or of libpq's keywords.
	// It may name several hosts, of which the primary is used.
	URL string

	// Schema is the schema that the tables are in, made at the first start; empty
	// means "troupe". Lower-case letters, digits and _, 40 at most.
	Schema string

	// Shards is the number of shards of a new store; 0 means
	// [store.DefaultShards]. For a store that exists, it must be 0 or the number
	// that the store was created with.
	Shards uint16

	// Lanes is how many connections commit at the same time; 0 means 2, and 16 is
	// the most. All actors of a shard use the same one.
	Lanes int

	// ReadConns bounds the connections that read; 0 means 8. There are at most two
	// more, for what a placement asks: see [Store.Pool].
	ReadConns int

	// Patience is how long a commit or a read goes on trying while the database
	// does not answer, before it fails; 0 means 10 s.
	Patience time.Duration

	// UnsafeDurability accepts a server that may lose what it has acknowledged:
	// one with fsync, full_page_writes or synchronous_commit off.
	UnsafeDurability bool

	// Logger receives what the store has to say about its connections; nil
	// discards it.
	Logger *slog.Logger
}

const (
	defaultSchema = "troupe"
	maxLanes      = 16
)

var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,39}$`)

func (o Options) withDefaults() (Options, error) {
	if o.URL == "" {
		return o, errors.New("postgres store: Options.URL is empty")
	}
	if o.Schema == "" {
		o.Schema = defaultSchema
	}
	if !schemaName.MatchString(o.Schema) {
		return o, fmt.Errorf("postgres store: Options.Schema %q is not up to 40 lower-case letters, digits and _", o.Schema)
	}
	if o.Lanes == 0 {
		o.Lanes = 2
	}
	if o.Lanes < 0 || o.Lanes > maxLanes {
		return o, fmt.Errorf("postgres store: Options.Lanes is %d, which is not 1 to %d", o.Lanes, maxLanes)
	}
	if o.ReadConns == 0 {
		o.ReadConns = 8
	}
	if o.ReadConns < 0 {
		return o, fmt.Errorf("postgres store: Options.ReadConns is %d", o.ReadConns)
	}
	if o.Patience == 0 {
		o.Patience = 10 * time.Second
	}
	if o.Patience < 0 {
		return o, fmt.Errorf("postgres store: Options.Patience is %v", o.Patience)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// newShards is the number of shards that a new store gets.
func (o Options) newShards() uint16 {
	if o.Shards == 0 {
		return store.DefaultShards
	}
	return o.Shards
}
