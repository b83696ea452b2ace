// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Board is a board of notes with a page: one actor is one board.
package main

import (
	"embed"
	"io/fs"
	"net/http"

	"github.com/troupe-dev/troupe/actors"
	whiteboardv1 "github.com/troupe-dev/troupe/gen/go/whiteboard/v1"
	"github.com/troupe-dev/troupe/gen/go/whiteboard/v1/whiteboardv1connect"
	"github.com/troupe-dev/troupe/server"
)

//go:embed dist
var dist embed.FS

// Whiteboard implements whiteboard.v1.Whiteboard. Its key is [board].
type Whiteboard struct {
	whiteboardv1connect.UnimplementedWhiteboardHandler
	actors.Actor[*whiteboardv1.WhiteboardState, *whiteboardv1.WhiteboardEvent]
}

// register adds the board with its hooks.
func register(registry *actors.Registry) {
	actors.Register(registry, whiteboardv1connect.RegisterWhiteboardHandler, func() *Whiteboard { return new(Whiteboard) },
		actors.CreateConnState((*Whiteboard).createConnState),
		actors.OnConnect((*Whiteboard).onConnect),
		actors.OnDisconnect((*Whiteboard).onDisconnect))
}

func main() {
	registry := actors.NewRegistry()
	register(registry)
	page, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) //nolint:forbidigo // the page is part of the program
	}
	server.Main(registry, server.WithHandler("/", http.FileServerFS(page)))
}
