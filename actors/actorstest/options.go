// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actorstest

import (
	"testing"

	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/embedded"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/server"
)

// Option is an option of [New].
type Option interface {
	apply(cfg *config)
}

type optionFunc func(cfg *config)

func (f optionFunc) apply(cfg *config) { f(cfg) }

type config struct {
	server   server.Config
	store    store.Store // unless nil, the caller's
	embedded bool
}

// Embedded keeps the actors in the embedded store, in a directory of the test,
// instead of in memory. It is slower, and what the server does in production.
func Embedded() Option {
	return optionFunc(func(cfg *config) { cfg.embedded = true })
}

// Store keeps the actors in a store of the caller's, who closes it after the server.
func Store(s store.Store) Option {
	return optionFunc(func(cfg *config) { cfg.store = s })
}

// Namespaces names the tenants that the server has. The default is "default" alone.
func Namespaces(names ...string) Option {
	return Configure(func(cfg *server.Config) { cfg.Namespaces = names })
}

// Configure changes how the server is configured, for example its limits. The store
// is not part of that.
func Configure(change func(cfg *server.Config)) Option {
	return optionFunc(func(cfg *config) { change(&cfg.server) })
}

// open opens the store.
func (cfg *config) open(tb testing.TB) (store.Store, error) {
	switch {
	case cfg.store != nil:
		return cfg.store, nil
	case cfg.embedded:
		return embedded.Open(tb.TempDir(), embedded.Options{CacheBytes: 1 << 20, MemtableBytes: 1 << 20})
	}
	return memory.New(memory.Options{}), nil
}

// close closes the store unless it is the caller's.
func (cfg *config) close(s store.Store) error {
	if cfg.store != nil {
		return nil
	}
	return s.Close()
}
