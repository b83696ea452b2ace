// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Conformance serves Connect's ConformanceService behind Troupe's own listener,
// routes, middleware, codecs and limits, as connectconformance asks for it: it reads
// one ServerCompatRequest from standard input, answers with where it listens, and
// serves until it is told to stop.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store/memory"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"github.com/troupe-dev/troupe/server"
	conformancev1 "github.com/troupe-dev/troupe/test/conformance/gen/connectrpc/conformance/v1"
	"github.com/troupe-dev/troupe/test/conformance/gen/connectrpc/conformance/v1/conformancev1connect"
	"google.golang.org/protobuf/proto"
)

// grace is how long calls may take once the suite has seen enough.
const grace = 5 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, in io.Reader, out io.Writer) error {
	var want conformancev1.ServerCompatRequest
	if err := read(in, &want); err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	s, err := newServer(&want)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, s.Shutdown(ctx))
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	address, _ := listener.Addr().(*net.TCPAddr) // of a TCP listener
	err = write(out, &conformancev1.ServerCompatResponse{
		Host: address.IP.String(), Port: uint32(address.Port), PemCert: want.GetServerCreds().GetCert(),
	})
	if err == nil {
		select {
		case err = <-served:
		case <-ctx.Done():
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	_ = s.Shutdown(ctx) // the suite leaves some calls open on purpose
	return err
}

// newServer makes a server with every limit switched on that is off by default, high
// enough for one machine that runs a thousand cases at once.
func newServer(want *conformancev1.ServerCompatRequest) (*server.Server, error) {
	registry := actors.NewRegistry()
	actors.Register(registry, counterv1connect.RegisterCounterHandler, func() *counter { return new(counter) })
	limits := server.Limits{
		ConnectionsPerIP:          5_000,
		CallsPerPrincipal:         4_000,
		CallsPerIPAndActor:        4_000,
		RatePerIPAndActor:         1_000_000,
		SubscriptionsPerPrincipal: 4_000,
		AuthFailuresPerIP:         1_000,
		RequestBytes:              int(want.GetMessageReceiveLimit()),
	}
	cfg := server.Config{
		Registry: registry, Store: memory.New(memory.Options{}), Limits: limits,
		Logger:   slog.New(slog.DiscardHandler),
		Services: func(rpc *connect.Server) { conformancev1connect.RegisterConformanceServiceHandler(rpc, service{}) },
	}
	if want.GetUseTls() {
		certificate, err := tls.X509KeyPair(want.GetServerCreds().GetCert(), want.GetServerCreds().GetKey())
		if err != nil {
			return nil, fmt.Errorf("read the certificate: %w", err)
		}
		cfg.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
		if client := want.GetClientTlsCert(); len(client) > 0 {
			cfg.TLS.ClientCAs, cfg.TLS.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
			if !cfg.TLS.ClientCAs.AppendCertsFromPEM(client) {
				return nil, errors.New("the client's certificate is no PEM")
			}
		}
	}
	return server.New(cfg)
}

// counter stands for the actors that a server must have; the suite calls none.
type counter struct {
	actors.Actor[*counterv1.CounterState, *counterv1.CounterEvent]
	counterv1connect.UnimplementedCounterHandler
}

// read reads one message with its length in front.
func read(in io.Reader, message proto.Message) error {
	var length [4]byte
	if _, err := io.ReadFull(in, length[:]); err != nil {
		return err
	}
	encoded := make([]byte, binary.BigEndian.Uint32(length[:]))
	if _, err := io.ReadFull(in, encoded); err != nil {
		return err
	}
	return proto.Unmarshal(encoded, message)
}

// write is the inverse of read.
func write(out io.Writer, message proto.Message) error {
	encoded, err := proto.Marshal(message)
	if err != nil {
		return err
	}
	_, err = out.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(encoded))), encoded...))
	return err
}
