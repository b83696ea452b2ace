// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/troupe-dev/troupe/internal/heapfloor"
	"github.com/troupe-dev/troupe/server"
)

// serve is the hidden subcommand: it becomes one of the servers that are measured
// and obeys the benchmark's commands until its standard input ends.
func serve(args []string) error {
	if len(args) == 0 {
		return errors.New("serve: which server?")
	}
	heapfloor.Hold(heapfloor.Floor) // as server.Main does, and for the limits too
	var (
		r   role
		err error
	)
	switch args[0] {
	case "bare":
		r, err = newBareServer()
	case "store":
		r, err = newStoreServer(args[1:])
	case "troupe":
		r, err = newTroupeServer(args[1:])
	case "node":
		r, err = newNodeServer(args[1:])
	case "pgx":
		r, err = newPgxServer(args[1:])
	default:
		err = fmt.Errorf("serve: no server %q", args[0])
	}
	if err != nil {
		return err
	}
	return errors.Join(obey(r, os.Stdin, os.Stdout), r.close())
}

// loopback opens a free port of the loopback interface.
func loopback() (net.Listener, error) {
	var config net.ListenConfig
	return config.Listen(context.Background(), "tcp", "127.0.0.1:0")
}

// httpServer listens on a free port of the loopback interface.
type httpServer struct {
	server   *http.Server
	listener net.Listener
	done     chan error
}

// listen serves handler as a Troupe server does: the same protocols, and the same
// time-outs, without which no server should be.
func listen(handler http.Handler) (*httpServer, error) {
	listener, err := loopback()
	if err != nil {
		return nil, err
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	limits := server.DefaultLimits()
	h := &httpServer{
		server: &http.Server{
			Handler:           handler,
			Protocols:         protocols,
			ReadHeaderTimeout: limits.HeaderTimeout,
			IdleTimeout:       limits.IdleTimeout,
			MaxHeaderBytes:    limits.HeaderBytes,
		},
		listener: listener,
		done:     make(chan error, 1),
	}
	go func() { h.done <- h.server.Serve(listener) }()
	return h, nil
}

func (h *httpServer) addr() string { return h.listener.Addr().String() }

func (h *httpServer) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if h.server.Shutdown(ctx) != nil { // streams are still open
		_ = h.server.Close()
	}
	if err := <-h.done; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
