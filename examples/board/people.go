// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	whiteboardv1 "github.com/troupe-dev/troupe/gen/go/whiteboard/v1"
)

// People returns who is connected, each once. It is read from the connections and
// never kept in the state: after a crash nobody is there who is not.
func (w *Whiteboard) People(context.Context, *whiteboardv1.PeopleRequest) (*whiteboardv1.PeopleResponse, error) {
	var names []string
	for _, conn := range w.Conns() {
		names = append(names, nameOf(conn))
	}
	slices.Sort(names)
	return &whiteboardv1.PeopleResponse{Names: slices.Compact(names)}, nil
}

// Point tells the others where the connection's person points.
func (w *Whiteboard) Point(ctx context.Context, req *whiteboardv1.PointRequest) (*whiteboardv1.PointResponse, error) {
	conn := actors.ConnOf(ctx)
	if conn == nil {
		return nil, actors.Errorf(connect.CodeFailedPrecondition, "no_connection", "only a connection can point")
	}
	w.pointed(conn, req.GetPlace())
	return new(whiteboardv1.PointResponse), nil
}

func (w *Whiteboard) createConnState(_ context.Context, params *whiteboardv1.WatchRequest) (*whiteboardv1.Person, error) {
	return &whiteboardv1.Person{Name: params.GetName()}, nil
}

func (w *Whiteboard) onConnect(_ context.Context, conn *actors.Conn) error {
	if w.connections(nameOf(conn)) == 1 {
		w.Broadcast(&whiteboardv1.WhiteboardEvent{Event: &whiteboardv1.WhiteboardEvent_PersonCame{
			PersonCame: &whiteboardv1.PersonCame{Name: nameOf(conn)},
		}})
	}
	return nil
}

func (w *Whiteboard) onDisconnect(_ context.Context, conn *actors.Conn) error {
	w.pointed(conn, nil)
	if w.connections(nameOf(conn)) == 0 {
		w.Broadcast(&whiteboardv1.WhiteboardEvent{Event: &whiteboardv1.WhiteboardEvent_PersonLeft{
			PersonLeft: &whiteboardv1.PersonLeft{Name: nameOf(conn)},
		}})
	}
	return nil
}

// pointed tells everybody else where a connection's person points.
func (w *Whiteboard) pointed(conn *actors.Conn, place *whiteboardv1.Place) {
	w.BroadcastExcept(conn, &whiteboardv1.WhiteboardEvent{Event: &whiteboardv1.WhiteboardEvent_PersonPointed{
		PersonPointed: &whiteboardv1.PersonPointed{ConnectionId: conn.ID(), Name: nameOf(conn), Place: place},
	}})
}

// connections returns how many connections a person has open: one for each tab.
func (w *Whiteboard) connections(name string) int {
	n := 0
	for _, conn := range w.Conns() {
		if nameOf(conn) == name {
			n++
		}
	}
	return n
}

func nameOf(conn *actors.Conn) string { return actors.StateOf[*whiteboardv1.Person](conn).GetName() }
