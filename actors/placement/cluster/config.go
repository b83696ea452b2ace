// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"time"
)

// Instant is a moment by both clocks of a node, each counted from wherever it likes.
type Instant struct {
	// Mono never jumps, but stands still while the machine is suspended.
	Mono time.Duration
	// Wall goes on while the machine is suspended, but may be set.
	Wall time.Duration
}

// Config holds the settings of a [Machine]. All nodes of a cluster and the authority
// use the same.
type Config struct {
	// Shards is the number of shards of the store. Required.
	Shards uint16
	// TTL is how long a lease lasts after the authority has heard of a node; 0 means
	// 10 s. All other times are fractions of it.
	TTL time.Duration
}

// DefaultTTL is how long a lease lasts unless told otherwise.
const DefaultTTL = 10 * time.Second

// WithDefaults returns the settings with every zero value filled in.
func (c Config) WithDefaults() Config {
	if c.TTL == 0 {
		c.TTL = DefaultTTL
	}
	return c
}

// Heard is how long ago a node was heard of, by what is left of its lease in ms.
func (c Config) Heard(leaseMillis int64) time.Duration {
	return c.TTL - time.Duration(leaseMillis)*time.Millisecond
}

// Validate says what is wrong with the settings.
func (c Config) Validate() error {
	switch {
	case c.Shards == 0:
		return errors.New("Shards: a store has at least one")
	case c.TTL < 100*time.Millisecond:
		return errors.New("TTL: at least 100ms")
	}
	return nil
}

// The times of the protocol. What a node asks the authority for by itself grows with
// the number of nodes, so that what all of them ask for together does not.
func (c Config) keep() time.Duration          { return c.TTL * 8 / 10 } // how long a node trusts its lease
func (c Config) beatEvery() time.Duration     { return c.TTL * 3 / 10 }
func (c Config) retryEvery() time.Duration    { return c.TTL / 20 }
func (c Config) askWithin() time.Duration     { return c.TTL / 5 } // a request without an answer has failed
func (c Config) releaseWithin() time.Duration { return c.TTL }     // a tenant that has not let go keeps its shards
func (c Config) tickEvery() time.Duration     { return c.TTL / 40 }

func (c Config) listEvery(nodes int) time.Duration {
	return max(c.TTL/10, time.Duration(nodes)*2*time.Millisecond)
}

func (c Config) viewEvery(nodes int) time.Duration {
	return max(c.TTL*3/10, time.Duration(nodes)*8*time.Millisecond)
}

const (
	chunk        = 64 // shards that are handed over together
	hurryChunks  = 8  // chunks on their way at once from a node that is to be empty, or when somebody asks for it
	steadyChunks = 1  // and otherwise
)
