// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/actors/placement/cluster"
	shards "github.com/troupe-dev/troupe/actors/placement/postgres"
	"github.com/troupe-dev/troupe/actors/store/postgres"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"github.com/troupe-dev/troupe/server"
)

// nodeSecret is known by all nodes of a benchmark.
const nodeSecret = "the nodes of a benchmark know each other by this" //nolint:gosec // it guards nothing

// nodeServer is one node of a cluster over PostgreSQL: the whole product, with the
// default settings.
type nodeServer struct {
	store  *postgres.Store
	server *server.Server
	public net.Listener
	done   chan error // of both listeners
}

func newNodeServer(args []string) (*nodeServer, error) {
	flags := flag.NewFlagSet("node", flag.ContinueOnError)
	var (
		url        = flags.String("url", "", "of the database")
		noEventLog = flags.Bool("no-event-log", false, "keep no durable events")
	)
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	var options []actors.Option
	if *noEventLog {
		options = append(options, actors.NoEventLog())
	}
	registry := actors.NewRegistry()
	actors.Register(registry, counterv1connect.RegisterCounterHandler, func() *counter { return new(counter) }, options...)
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	secure, err := server.ClusterSecret(nodeSecret)
	if err != nil {
		return nil, err
	}
	st, err := postgres.Open(context.Background(), postgres.Options{URL: *url, Logger: logger})
	if err != nil {
		return nil, err
	}
	n := &nodeServer{store: st, done: make(chan error, 2)}
	private, err := n.listen()
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	cfg := cluster.Config{Shards: st.Info().Shards}
	authority, err := shards.New(cfg, st)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	member, err := cluster.NewMember(cfg, placement.Node{ID: rand.Text(), Address: private.Addr().String()}, authority)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	n.server, err = server.New(server.Config{
		Registry: registry, Store: st, Logger: logger, Listen: n.public.Addr().String(),
		Cluster: &server.Cluster{Placement: member, TLS: secure},
	})
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	go func() { n.done <- n.server.ServeNodes(private) }()
	go func() { n.done <- n.server.Serve(n.public) }()
	return n, nil
}

// listen opens the listener of the clients, and that of the nodes.
func (n *nodeServer) listen() (private net.Listener, err error) {
	if n.public, err = loopback(); err != nil {
		return nil, err
	}
	return loopback()
}

func (n *nodeServer) addr() string { return n.public.Addr().String() }

// handle answers "commits": how many turns the store was given so far, in how many
// statements.
func (n *nodeServer) handle(c command) (report, error) {
	if c.Do != "commits" {
		return report{}, errCommand
	}
	m := n.store.Metrics().Commit
	return report{Ops: int64(m.Writes), Batches: int64(m.Statements)}, nil
}

func (n *nodeServer) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := n.server.Shutdown(ctx); err != nil {
		// Connections that are still open are the benchmark's own.
		fmt.Fprintln(os.Stderr, "node:", err)
	}
	return errors.Join(<-n.done, <-n.done, n.store.Close())
}
