// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"connectrpc.com/connect/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/actorstest"
	troupe "github.com/troupe-dev/troupe/clients/go"
	whiteboardv1 "github.com/troupe-dev/troupe/gen/go/whiteboard/v1"
	"github.com/troupe-dev/troupe/gen/go/whiteboard/v1/whiteboardv1connect"
)

func setup(t *testing.T) (*actorstest.Server, whiteboardv1connect.WhiteboardClient) {
	t.Helper()
	registry := actors.NewRegistry()
	register(registry)
	srv := actorstest.New(t, registry)
	return srv, whiteboardv1connect.NewWhiteboardClient(srv.GetOrCreate("plans"))
}

func note(id, text string, x, y int32) *whiteboardv1.Note {
	return &whiteboardv1.Note{Id: id, Text: text, Color: whiteboardv1.Color_COLOR_YELLOW, Place: &whiteboardv1.Place{X: x, Y: y}}
}

func put(t *testing.T, board whiteboardv1connect.WhiteboardClient, note *whiteboardv1.Note) {
	t.Helper()
	if _, err := board.PutNote(t.Context(), &whiteboardv1.PutNoteRequest{Note: note}); err != nil {
		t.Fatalf("PutNote: %v", err)
	}
}

func wantNotes(t *testing.T, board whiteboardv1connect.WhiteboardClient, want ...string) {
	t.Helper()
	reply, err := board.Notes(t.Context(), new(whiteboardv1.NotesRequest))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range reply.GetNotes() {
		got = append(got, fmt.Sprintf("%s:%s@%d,%d", n.GetId(), n.GetText(), n.GetPlace().GetX(), n.GetPlace().GetY()))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the notes (-want +got):\n%s", diff)
	}
}

func TestNotes(t *testing.T) {
	t.Parallel()
	srv, board := setup(t)
	put(t, board, note("a", "one", 10, 20))
	put(t, board, note("b", "two", 30, 40))
	put(t, board, note("b", "two", 30, 40))
	put(t, board, note("a", "uno", 10, 20))
	wantNotes(t, board, "a:uno@10,20", "b:two@30,40")
	move := &whiteboardv1.MoveNoteRequest{Id: "a", Place: &whiteboardv1.Place{X: 500, Y: 600}}
	for range 2 {
		if _, err := board.MoveNote(t.Context(), move); err != nil {
			t.Fatal(err)
		}
	}
	wantNotes(t, board, "b:two@30,40", "a:uno@500,600") // what was moved lies on top
	srv.Restart()
	wantNotes(t, board, "b:two@30,40", "a:uno@500,600")
	for range 2 {
		if _, err := board.RemoveNote(t.Context(), &whiteboardv1.RemoveNoteRequest{Id: "b"}); err != nil {
			t.Fatal(err)
		}
	}
	wantNotes(t, board, "a:uno@500,600")
	_, err := board.MoveNote(t.Context(), &whiteboardv1.MoveNoteRequest{Id: "b", Place: move.GetPlace()})
	if connect.CodeOf(err) != connect.CodeNotFound || troupe.Reason(err) != "no_note" {
		t.Errorf("a note that is gone is moved: %v", err)
	}
}

func TestBadNotes(t *testing.T) {
	t.Parallel()
	_, board := setup(t)
	colorless := note("a", "", 0, 0)
	colorless.Color = whiteboardv1.Color_COLOR_UNSPECIFIED
	nowhere := note("a", "", 0, 0)
	nowhere.Place = nil
	for name, bad := range map[string]*whiteboardv1.Note{
		"none": nil, "without an id": note("", "", 0, 0), "off the board": note("a", "", 1001, 0), "left of it": note("a", "", -1, 0),
		"too long": note("a", strings.Repeat("x", 281), 0, 0), "without a colour": colorless, "without a place": nowhere,
	} {
		if _, err := board.PutNote(t.Context(), &whiteboardv1.PutNoteRequest{Note: bad}); connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("a note %s is answered with %v", name, err)
		}
	}
	for n := range mostNotes {
		put(t, board, note(fmt.Sprint(n), "", 0, 0))
	}
	_, err := board.PutNote(t.Context(), &whiteboardv1.PutNoteRequest{Note: note("one more", "", 0, 0)})
	if connect.CodeOf(err) != connect.CodeResourceExhausted || troupe.Reason(err) != "board_full" {
		t.Errorf("a full board takes a note: %v", err)
	}
	put(t, board, note("7", "changed", 0, 0))
}

// watch looks at the board as somebody and returns how to read the next event, as
// text.
func watch(t *testing.T, board whiteboardv1connect.WhiteboardClient, name string) (next func() string, leave func()) {
	t.Helper()
	stream, err := board.Watch(t.Context(), &whiteboardv1.WatchRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	if opened, err := stream.Receive(); err != nil || opened.GetInfo().GetOpened() == nil {
		t.Fatalf("the first frame is %v, %v", opened, err)
	}
	next = func() string {
		for {
			event, err := stream.Receive()
			if err != nil {
				t.Fatal(err)
			}
			switch event := event.GetEvent().(type) {
			case *whiteboardv1.WhiteboardEvent_NotePut:
				return "put " + event.NotePut.GetNote().GetId()
			case *whiteboardv1.WhiteboardEvent_PersonCame:
				return event.PersonCame.GetName() + " came"
			case *whiteboardv1.WhiteboardEvent_PersonLeft:
				return event.PersonLeft.GetName() + " left"
			case *whiteboardv1.WhiteboardEvent_PersonPointed:
				if place := event.PersonPointed.GetPlace(); place != nil {
					return fmt.Sprintf("%s points at %d,%d", event.PersonPointed.GetName(), place.GetX(), place.GetY())
				}
				return event.PersonPointed.GetName() + " points no more"
			}
		}
	}
	return next, func() { _ = stream.Close() }
}

func wantPeople(t *testing.T, board whiteboardv1connect.WhiteboardClient, want ...string) {
	t.Helper()
	reply, err := board.People(t.Context(), new(whiteboardv1.PeopleRequest))
	if err != nil || !slices.Equal(reply.GetNames(), want) {
		t.Errorf("the people are %q, %v, want %q", reply.GetNames(), err, want)
	}
}

func TestPeopleAndEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, board := setup(t)
		wantPeople(t, board)
		ada, leaveAda := watch(t, board, "Ada")
		defer leaveAda()
		_, leaveBob := watch(t, board, "Bob")
		_, leaveSecond := watch(t, board, "Bob") // in a second tab
		wantPeople(t, board, "Ada", "Bob")
		put(t, board, note("a", "one", 0, 0))
		leaveSecond()
		synctest.Wait()
		leaveBob()
		var heard []string
		for len(heard) < 6 {
			heard = append(heard, ada())
		}
		want := []string{"Ada came", "Bob came", "put a", "Bob points no more", "Bob points no more", "Bob left"}
		if diff := cmp.Diff(want, heard); diff != "" {
			t.Errorf("Ada hears (-want +got):\n%s", diff)
		}
		wantPeople(t, board, "Ada")
		srv.Restart() // kill -9: no disconnect hook runs, and nobody is left behind
		wantPeople(t, board)
		wantNotes(t, board, "a:one@0,0")
	})
}

func TestPointing(t *testing.T) {
	t.Parallel()
	srv, board := setup(t)
	ada, leave := watch(t, board, "Ada")
	defer leave()
	if got := ada(); got != "Ada came" {
		t.Errorf("Ada hears %q", got)
	}
	bob := troupe.Connect(t.Context(), srv.GetOrCreate("plans"),
		whiteboardv1connect.NewWhiteboardClient, whiteboardv1connect.WhiteboardClient.Watch, &whiteboardv1.WatchRequest{Name: "Bob"})
	defer func() { _ = bob.Close() }()
	if _, err := bob.Actor().Point(t.Context(), &whiteboardv1.PointRequest{Place: &whiteboardv1.Place{X: 1, Y: 2}}); err != nil {
		t.Fatal(err)
	}
	if got := []string{ada(), ada()}; !slices.Equal(got, []string{"Bob came", "Bob points at 1,2"}) {
		t.Errorf("Ada hears %q", got)
	}
	_, err := board.Point(t.Context(), new(whiteboardv1.PointRequest))
	if connect.CodeOf(err) != connect.CodeFailedPrecondition || troupe.Reason(err) != "no_connection" {
		t.Errorf("somebody points without a connection: %v", err)
	}
}
