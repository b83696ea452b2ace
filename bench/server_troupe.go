// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"time"

	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/embedded"
	"github.com/troupe-dev/troupe/gen/go/chat/v1/chatv1connect"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"github.com/troupe-dev/troupe/server"
)

// troupeServer is what is measured: the whole product, with the default settings
// and its store on the real disk.
type troupeServer struct {
	store    store.Store
	server   *server.Server
	listener net.Listener
	done     chan error
}

func newTroupeServer(args []string) (*troupeServer, error) {
	flags := flag.NewFlagSet("troupe", flag.ContinueOnError)
	var (
		dir        = flags.String("dir", "", "directory of the store")
		weigh      = flags.Bool("weigh", false, "sample allocations finely")
		noEventLog = flags.Bool("no-event-log", false, "keep no durable events")
		sleepAfter = flags.Duration("sleep-after", 0, "how long an idle actor stays awake; 0 is the default")
	)
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if *weigh {
		runtime.MemProfileRate = 4096
	}
	var options []actors.Option
	if *sleepAfter > 0 {
		options = append(options, actors.SleepAfter(*sleepAfter))
	}
	if *noEventLog {
		options = append(options, actors.NoEventLog())
	}
	registry := actors.NewRegistry()
	actors.Register(registry, counterv1connect.RegisterCounterHandler, func() *counter { return new(counter) }, options...)
	actors.Register(registry, chatv1connect.RegisterChatRoomHandler, func() *room { return new(room) }, options...)
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	listener, err := loopback()
	if err != nil {
		return nil, err
	}
	st, err := embedded.Open(*dir, embedded.Options{Logger: logger})
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	t := &troupeServer{store: st, listener: listener, done: make(chan error, 1)}
	t.server, err = server.New(server.Config{
		Registry: registry,
		Store:    st,
		Logger:   logger,
		Listen:   listener.Addr().String(),
	})
	if err != nil {
		return nil, errors.Join(err, st.Close(), listener.Close())
	}
	go func() { t.done <- t.server.Serve(listener) }()
	return t, nil
}

func (t *troupeServer) addr() string { return t.listener.Addr().String() }

func (t *troupeServer) handle(command) (report, error) { return report{}, errCommand }

func (t *troupeServer) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := t.server.Shutdown(ctx); err != nil {
		// Connections that are still open are the benchmark's own.
		fmt.Fprintln(os.Stderr, "troupe server:", err)
	}
	return errors.Join(<-t.done, t.store.Close())
}
