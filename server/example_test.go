// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server_test //nolint:testableexamples // it needs a database, and serves until it is told to stop

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/actors/placement/cluster"
	shards "github.com/troupe-dev/troupe/actors/placement/postgres"
	"github.com/troupe-dev/troupe/actors/store/postgres"
	"github.com/troupe-dev/troupe/server"
)

// serve is what [server.Main] does with a database, for a program that sets what has no
// flag: the store's options and services that are not actors.
func serve(ctx context.Context, registry *actors.Registry, services func(*connect.Server)) (err error) {
	store, err := postgres.Open(ctx, postgres.Options{
		URL: os.Getenv("DATABASE_URL"), ReadConns: 4, Patience: 20 * time.Second,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }() // store.Metrics is there until then

	secret, err := server.ClusterSecret(os.Getenv("CLUSTER_SECRET"))
	if err != nil {
		return err
	}
	nodes, err := new(net.ListenConfig).Listen(ctx, "tcp", os.Getenv("CLUSTER_LISTEN"))
	if err != nil {
		return err
	}
	terms := cluster.Config{Shards: store.Info().Shards}
	authority, err := shards.New(terms, store)
	if err != nil {
		return err
	}
	self := placement.Node{ID: rand.Text(), Address: nodes.Addr().String()}
	member, err := cluster.NewMember(terms, self, authority)
	if err != nil {
		return err
	}
	srv, err := server.New(server.Config{
		Registry: registry, Store: store, Services: services,
		Cluster: &server.Cluster{Placement: member, TLS: secret, LameDuck: 5 * time.Second},
	})
	if err != nil {
		return err
	}
	public, err := new(net.ListenConfig).Listen(ctx, "tcp", server.DefaultListen)
	if err != nil {
		return err
	}
	served := make(chan error, 2)
	go func() { served <- srv.ServeNodes(nodes) }()
	go func() { served <- srv.Serve(public) }()

	ends := 2
	select {
	case <-ctx.Done():
	case err = <-served:
		ends--
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	err = errors.Join(err, srv.Shutdown(grace))
	for range ends {
		err = errors.Join(err, <-served)
	}
	return err
}

// A node of a cluster without [server.Main].
func ExampleNew() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	registry := actors.NewRegistry() // and actors.Register for each type
	services := func(*connect.Server) { /* …connect.RegisterReportHandler(rpc, reports) */ }
	if err := serve(ctx, registry, services); err != nil {
		slog.Error("the server failed", "error", err)
	}
}
