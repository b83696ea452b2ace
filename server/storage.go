// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"crypto/rand"
	"errors"
	"net"

	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/actors/placement/cluster"
	shards "github.com/troupe-dev/troupe/actors/placement/postgres"
	"github.com/troupe-dev/troupe/actors/store/embedded"
	"github.com/troupe-dev/troupe/actors/store/postgres"
)

// storage is what the flags choose to keep the actors in.
type storage struct {
	nodes net.Listener // for other nodes; nil with the embedded store
	close func() error
}

// closeNodes closes the listener of a server that does not come to serve it.
func (s *storage) closeNodes() error {
	if s.nodes == nil {
		return nil
	}
	return s.nodes.Close()
}

// closeWithin closes the store, or gives that up when ctx ends: a database that does
// not answer would have it wait. The process ends then, which every store survives.
func (s *storage) closeWithin(ctx context.Context) error {
	closed := make(chan error, 1)
	go func() { closed <- s.close() }() // it ends with the process
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
		return errors.New("the store was not closed within the grace period")
	}
}

// open opens the store of the settings, and takes its place in them. With a database
// the server is a node of a cluster.
func (s *settings) open(ctx context.Context) (storage, error) {
	if s.databaseURL == "" {
		store, err := embedded.Open(s.dataDir, embedded.Options{MinFreeBytes: s.minFree, Logger: s.Logger})
		if err != nil {
			return storage{}, err
		}
		s.Store = store
		return storage{close: store.Close}, nil
	}
	secure, err := s.tls()
	if err != nil {
		return storage{}, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.listenAddress())
	if err != nil {
		return storage{}, err
	}
	store, err := s.join(ctx, listener, func(node placement.Placement) {
		s.Cluster = &Cluster{Placement: node, TLS: secure, LameDuck: s.lameDuck}
	})
	if err != nil {
		return storage{}, errors.Join(err, listener.Close())
	}
	s.Store = store
	return storage{nodes: listener, close: store.Close}, nil
}

// join opens the database and makes the node that takes part in its cluster.
func (s *settings) join(ctx context.Context, listener net.Listener, made func(placement.Placement)) (*postgres.Store, error) {
	address, err := s.advertised(listener.Addr())
	if err != nil {
		return nil, err
	}
	labels, err := s.labelMap()
	if err != nil {
		return nil, err
	}
	store, err := postgres.Open(ctx, postgres.Options{
		URL: s.databaseURL, Schema: s.databaseSchema, UnsafeDurability: s.unsafeDurability, Logger: s.Logger,
	})
	if err != nil {
		return nil, err
	}
	cfg := cluster.Config{Shards: store.Info().Shards}
	authority, err := shards.New(cfg, store)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	self := placement.Node{ID: rand.Text(), Address: address, Version: s.version, Labels: labels}
	node, err := cluster.NewMember(cfg, self, authority)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	made(node)
	return store, nil
}
