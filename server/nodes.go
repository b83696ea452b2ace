// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/placement"
	nodev1 "github.com/troupe-dev/troupe/gen/go/troupe/node/v1"
	"github.com/troupe-dev/troupe/gen/go/troupe/node/v1/nodev1connect"
)

// nodeServicePrefix begins the paths of what nodes ask each other.
const nodeServicePrefix = "/" + nodev1connect.NodeName + "/"

var _ actors.Forwarder = (*peers)(nil)

// Call implements [actors.Forwarder].
func (c *peers) Call(ctx context.Context, node placement.Node, call *actors.Call) (actors.Reply, error) {
	encoded, err := encodeCall(call)
	if err != nil {
		return actors.Reply{}, err
	}
	client := nodev1connect.NewNodeClient(c.client(node))
	sent, watch := c.watched(ctx, node, c.host.ShardOf(&call.Target))
	defer watch.stop()
	sent, _ = connect.NewClientContext(sent) // the caller's own is for the reply of the actor
	response, err := client.Call(sent, &nodev1.CallRequest{Call: encoded})
	if err != nil {
		return actors.Reply{}, c.callFailure(ctx, node, err)
	}
	reply, err := decodeAnswer(response.GetAnswer())
	reply.Body = response.GetBody()
	return reply, err
}

// callFailure passes on what a node has answered, and says what it means that it has
// answered nothing.
func (c *peers) callFailure(ctx context.Context, node placement.Node, err error) error {
	if wire, ok := errors.AsType[*connect.Error](err); ok && wire.IsRemote() {
		return wire
	}
	return c.failure(ctx, node, err)
}

// Follow implements [actors.Forwarder].
func (c *peers) Follow(ctx context.Context, node placement.Node, call *actors.Call, opened func(*actors.Reply) error, send func([]byte) error) error {
	encoded, err := encodeCall(call)
	if err != nil {
		return err
	}
	sent, watch := c.watched(ctx, node, c.host.ShardOf(&call.Target))
	defer watch.stop()
	sent, _ = connect.NewClientContext(sent)
	client := nodev1connect.NewNodeClient(c.client(node))
	stream, err := client.Follow(sent, &nodev1.FollowRequest{Call: encoded})
	if err != nil {
		return c.callFailure(ctx, node, err)
	}
	defer func() { _ = stream.Close() }() // what it says does not matter any more
	for {
		piece, err := stream.Receive()
		watch.answered.Store(true)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return c.callFailure(ctx, node, err)
		}
		if answer := piece.GetAnswer(); answer != nil {
			reply, err := decodeAnswer(answer)
			if err != nil {
				return err
			}
			if err := opened(&reply); err != nil {
				return err
			}
			continue
		}
		if err := send(piece.GetMessage()); err != nil {
			return err
		}
	}
}

// nodeService runs the calls that other nodes pass on.
type nodeService struct {
	host    *actors.Host
	methods map[string]*actors.Method // by procedure
	codec   actors.Codec
}

var _ nodev1connect.NodeHandler = (*nodeService)(nil)

// Call implements [nodev1connect.NodeHandler].
func (s *nodeService) Call(ctx context.Context, req *nodev1.CallRequest) (*nodev1.CallResponse, error) {
	call, err := s.decode(req.GetCall())
	if err != nil {
		return nil, err
	}
	reply, err := s.host.CallForwarded(ctx, call)
	if err != nil {
		return nil, err
	}
	return &nodev1.CallResponse{Answer: encodeAnswer(&reply), Body: reply.Body}, nil
}

// Follow implements [nodev1connect.NodeHandler].
func (s *nodeService) Follow(ctx context.Context, req *nodev1.FollowRequest, stream nodev1connect.NodeFollowServerStream) error {
	call, err := s.decode(req.GetCall())
	if err != nil {
		return err
	}
	return s.host.Follow(ctx, call, func(reply *actors.Reply) error {
		return stream.Send(&nodev1.FollowResponse{Piece: &nodev1.FollowResponse_Answer{Answer: encodeAnswer(reply)}})
	}, func(message []byte) error {
		return stream.Send(&nodev1.FollowResponse{Piece: &nodev1.FollowResponse_Message{Message: message}})
	})
}

// nodeHandler serves the listener of the nodes.
type nodeHandler struct {
	rpc    *http.ServeMux // nodev1connect.Node
	routes *router        // of requests that are passed on as they came
}

// newNodeHandler makes the handler of the nodes, beside the routes of everybody. What
// limits callers was counted where a request came in; the node itself is bounded
// again.
func newNodeHandler(host *actors.Host, public *router, codecs codecs, log *slog.Logger) *nodeHandler {
	routes := *public
	routes.auth, routes.forwarded = nil, true
	routes.calls, routes.subscriptions = newGate(public.limits.Calls), newGate(public.limits.Subscriptions)
	routes.principalCalls, routes.principalStreams = newShares(0), newShares(0)
	raw := *public.raw
	raw.router, routes.raw = &routes, &raw
	events := *public.events
	events.router, routes.events = &routes, &events

	service := &nodeService{host: host, methods: make(map[string]*actors.Method), codec: codecs.binary}
	for _, m := range host.Methods() {
		service.methods[m.Spec.Procedure] = m
	}
	server := connect.NewServer(guarded(log, nil))
	nodev1connect.RegisterNodeHandler(server, service)
	n := &nodeHandler{rpc: http.NewServeMux(), routes: &routes}
	connecthttp.Mount(n.rpc, server, connecthttp.WithReadMaxBytes(nodeMessageBytes), connecthttp.WithCompressors())
	return n
}

// ServeHTTP implements [http.Handler].
func (n *nodeHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, nodeServicePrefix) {
		n.rpc.ServeHTTP(w, r)
		return
	}
	moved, err := withCaller(r)
	if err != nil {
		n.routes.refuse(w, r, err)
		return
	}
	n.routes.ServeHTTP(w, moved)
}

// newNodeServer makes the server of the nodes' listener.
func (s *Server) newNodeServer(handler http.Handler) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	limits := s.cfg.Limits
	return &http.Server{
		Handler:           handler,
		Protocols:         protocols,
		ReadHeaderTimeout: limits.HeaderTimeout,
		IdleTimeout:       2 * nodeIdleTimeout,
		MaxHeaderBytes:    limits.HeaderBytes + 64<<10,
		ErrorLog:          slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
		ConnContext:       withSeat,
		ConnState:         noteState,
	}
}

// ServeNodes takes part in the cluster: it accepts the connections of other nodes,
// which find listener under the address that the placement's node is advertised with,
// and runs the actors that are placed here. It returns nil after [Server.Shutdown],
// and closes listener.
func (s *Server) ServeNodes(listener net.Listener) error {
	if s.nodes == nil {
		return errors.Join(errors.New("server: ServeNodes needs Config.Cluster"), listener.Close())
	}
	if err := s.cluster.start(); err != nil {
		return errors.Join(err, listener.Close())
	}
	if err := s.nodes.Serve(&nodeListener{listener, s.cfg.Cluster.TLS}); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("server: the listener of the nodes: %w", err)
	}
	return nil
}

// leave hands over what the node runs. Calls go on meanwhile, from here to the nodes
// that run their actors now.
func (s *Server) leave(ctx context.Context) error {
	if s.cfg.Cluster.LameDuck > 0 && !s.hurry.Load() {
		pause(ctx, s.cfg.Cluster.LameDuck)
	}
	if err := s.cluster.placement.Drain(ctx); err != nil {
		return fmt.Errorf("server: actors were not handed over in time: %w", err)
	}
	return nil
}

// part ends the node: nobody runs anything here any more.
func (s *Server) part(ctx context.Context) error {
	err := s.cluster.placement.Close()
	stopErr := s.nodes.Shutdown(ctx)
	if stopErr != nil {
		stopErr = errors.Join(fmt.Errorf("server: connections of nodes were cut: %w", stopErr), s.nodes.Close())
	}
	s.cluster.close()
	return errors.Join(err, stopErr)
}

// drainShare is which part of the time to stop is for handing over.
const drainShare = 2

// timeToDrain bounds the handing over, so that there is time for what comes after it.
func timeToDrain(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	left := time.Until(deadline)
	return context.WithDeadline(ctx, time.Now().Add(left-left/(drainShare+1)))
}
