// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net/http"
	"sync/atomic"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/troupe-dev/troupe/gen/go/chat/v1/chatv1connect"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// bareServer is the limit: the stock Connect handlers of the same services, without
// actors and without a store.
type bareServer struct {
	*httpServer

	room *bareRoom
}

// bareCounter does nothing but count.
type bareCounter struct {
	counterv1connect.UnimplementedCounterHandler

	count atomic.Int64
}

func newBareServer() (*bareServer, error) {
	rpc := connect.NewServer()
	room := newBareRoom()
	counterv1connect.RegisterCounterHandler(rpc, &bareCounter{})
	chatv1connect.RegisterChatRoomHandler(rpc, room)
	mux := http.NewServeMux()
	connecthttp.Mount(mux, rpc, connecthttp.WithCompressMinBytes(1024))
	mux.HandleFunc("POST "+chatv1connect.ChatRoomSubscribeProcedure, room.subscribe)
	server, err := listen(mux)
	return &bareServer{server, room}, err
}

// handle sets the size of the events' messages.
func (b *bareServer) handle(c command) (report, error) {
	if c.Do != "frame" {
		return report{}, errCommand
	}
	b.room.setFrame(c.N)
	return report{}, nil
}

// Increment adds to the count.
func (b *bareCounter) Increment(_ context.Context, request *counterv1.IncrementRequest) (*counterv1.IncrementResponse, error) {
	return &counterv1.IncrementResponse{Count: b.count.Add(request.Amount)}, nil
}

// Get reads the count.
func (b *bareCounter) Get(context.Context, *counterv1.GetRequest) (*counterv1.GetResponse, error) {
	return &counterv1.GetResponse{Count: b.count.Load()}, nil
}
