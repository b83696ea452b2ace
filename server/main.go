// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/internal/heapfloor"
)

// Option is an option of [Main].
type Option interface {
	apply(p *program)
}

type optionFunc func(p *program)

func (f optionFunc) apply(p *program) { f(p) }

// WithHandler serves other content beside the actors, such as the page of an
// application. The pattern is one of [http.ServeMux].
func WithHandler(pattern string, handler http.Handler) Option {
	return optionFunc(func(p *program) { p.handlers[pattern] = handler })
}

// program is one run of [Main].
type program struct {
	registry *actors.Registry
	handlers map[string]http.Handler
	environ  []string // every variable, as of os.Environ
	// authenticate says who calls; nil lets everybody in.
	authenticate func(context.Context, http.Header) (Principal, error)
	// listening, unless nil, is called with the address once connections are
	// accepted.
	listening func(net.Addr)
}

// Exit codes of [Main].
const (
	exitFailure = 1 // it could not start, or it failed while it ran or stopped
	exitUsage   = 2 // the flags are wrong
)

// Main is a whole server program: it reads the flags, the environment and the
// configuration file, serves the actors of registry out of the embedded store or, as
// one node of a cluster, out of PostgreSQL, and stops in good order on SIGINT or
// SIGTERM; a second signal ends it at once, which loses nothing that anybody was told.
// With "cluster" as its first argument the program shows the cluster instead, or tells
// a node to hand over what it runs: see docs/cluster.md. It does not return.
func Main(registry *actors.Registry, options ...Option) {
	p := &program{registry: registry, handlers: make(map[string]http.Handler), environ: os.Environ()}
	for _, option := range options {
		option.apply(p)
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	ctx, stop := context.WithCancelCause(context.Background())
	go func() { // it ends with the process
		if sent := <-signals; sent == syscall.SIGINT {
			stop(errInterrupted)
		} else {
			stop(nil)
		}
		<-signals
		os.Exit(exitFailure)
	}()
	if len(os.Args) > 1 && os.Args[1] == clusterCommandName {
		os.Exit(exitCode(runClusterCommand(ctx, os.Args[2:], os.Getenv, os.Stdout, os.Stderr), os.Stderr))
	}
	os.Exit(exitCode(p.run(ctx, os.Args[1:], os.Getenv, os.Stderr), os.Stderr))
}

// exitCode reports err and returns the code that it ends the process with.
func exitCode(err error, stderr io.Writer) int {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		_, _ = fmt.Fprintln(stderr, "troupe:", err) // nobody listens
		return exitUsage
	}
	_, _ = fmt.Fprintln(stderr, "troupe:", err)
	return exitFailure
}

// heapFloor is up to where the heap of a program may grow before it is collected: where
// load is shed by its size, which a limit of GOMEMLIMIT has too, that is below the first
// mark of it.
func heapFloor(memoryLimit int64) uint64 {
	limit := cmp.Or(memoryLimit, debug.SetMemoryLimit(-1))
	return min(heapfloor.Floor, uint64(limit)/2)
}

// closeReserve is what a stop leaves of the grace period for the store to close, of a
// period of 20 s or more.
const closeReserve = 2 * time.Second

// errInterrupted says that somebody at a keyboard wants the program to stop.
var errInterrupted = errors.New("interrupted")

// errUsage marks an error about the flags.
var errUsage = errors.New("see -help")

// run is the program. It returns when ctx ends and the server has stopped.
func (p *program) run(ctx context.Context, args []string, env func(string) string, stderr io.Writer) error {
	settings, err := parse(args, env, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w (%w)", err, errUsage)
	}
	settings.Registry, settings.Handlers, settings.Logger = p.registry, p.handlers, settings.logger(stderr)
	settings.Authenticate = p.authenticate
	if err := checkListen(settings.Listen, settings.allowsExposure()); err != nil {
		return fmt.Errorf("-listen %s: %w (%w)", settings.Listen, err, errUsage)
	}
	if unknown := unknownVariables(p.environ); len(unknown) > 0 {
		settings.Logger.Warn("environment variables that begin with "+envPrefix+" are no settings: see -help", "names", unknown)
	}
	heapfloor.Hold(heapFloor(settings.MemoryLimit))

	storage, err := settings.open(ctx)
	if err != nil {
		return err
	}
	server, err := New(settings.Config)
	if err != nil {
		return errors.Join(err, storage.closeNodes(), storage.close())
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", settings.Listen)
	if err != nil {
		return errors.Join(err, server.Shutdown(context.Background()), storage.closeNodes(), storage.close())
	}
	return p.serve(ctx, server, listener, storage, settings)
}

// serve runs server until ctx ends or serving fails, and stops it and closes its store
// within the grace period.
func (p *program) serve(ctx context.Context, server *Server, listener net.Listener, storage storage, settings *settings) error {
	log := settings.Logger
	scheme := "http"
	if settings.TLS != nil {
		scheme = "https"
	}
	listeners := 1
	served := make(chan error, 2)
	where := []any{"url", scheme + "://" + listener.Addr().String()}
	if storage.nodes != nil {
		listeners++
		go func() { served <- server.ServeNodes(storage.nodes) }()
		where = append(where, "cluster_address", settings.Cluster.Placement.Self().Address)
	} else {
		where = append(where, "data_dir", settings.dataDir)
	}
	go func() { served <- server.Serve(listener) }()
	log.Info("listening", where...)
	if p.listening != nil {
		p.listening(listener.Addr())
	}

	var serveErr error
	select {
	case <-ctx.Done():
	case serveErr = <-served:
		listeners--
	}
	if errors.Is(context.Cause(ctx), errInterrupted) {
		server.hurry.Store(true)
	}
	log.Info("stopping", "grace_period", settings.grace)
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), settings.grace)
	defer cancel()
	most, cancel := context.WithTimeout(grace, settings.grace-min(closeReserve, settings.grace/10))
	defer cancel()
	err := server.Shutdown(most)
	for range listeners {
		serveErr = errors.Join(serveErr, <-served)
	}
	if err = errors.Join(serveErr, err, storage.closeWithin(grace)); err == nil {
		log.Info("stopped")
	}
	return err
}
