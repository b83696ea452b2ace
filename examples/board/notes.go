// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	whiteboardv1 "github.com/troupe-dev/troupe/gen/go/whiteboard/v1"
	"google.golang.org/protobuf/proto"
)

// mostNotes bounds a board: with texts at their longest it has some 150 KiB.
const mostNotes = 200

// Notes returns the notes, the top one last.
func (w *Whiteboard) Notes(context.Context, *whiteboardv1.NotesRequest) (*whiteboardv1.NotesResponse, error) {
	return &whiteboardv1.NotesResponse{Notes: w.State().GetNotes()}, nil
}

// PutNote adds a note or changes the one with its id, whose author stays.
func (w *Whiteboard) PutNote(ctx context.Context, req *whiteboardv1.PutNoteRequest) (*whiteboardv1.PutNoteResponse, error) {
	state := w.State()
	note := proto.CloneOf(req.GetNote())
	if at := w.find(note.GetId()); at >= 0 {
		note.Author = state.GetNotes()[at].GetAuthor()
		if proto.Equal(note, state.GetNotes()[at]) {
			return &whiteboardv1.PutNoteResponse{Note: note}, nil
		}
		state.Notes[at] = note
	} else {
		if len(state.GetNotes()) >= mostNotes {
			return nil, actors.Errorf(connect.CodeResourceExhausted, "board_full", "a board has at most %d notes: take one off first", mostNotes)
		}
		note.Author = actors.ConnState[*whiteboardv1.Person](ctx).GetName()
		state.Notes = append(state.Notes, note)
	}
	w.Broadcast(&whiteboardv1.WhiteboardEvent{Event: &whiteboardv1.WhiteboardEvent_NotePut{NotePut: &whiteboardv1.NotePut{Note: note}}})
	return &whiteboardv1.PutNoteResponse{Note: note}, nil
}

// MoveNote moves a note and lays it on top.
func (w *Whiteboard) MoveNote(_ context.Context, req *whiteboardv1.MoveNoteRequest) (*whiteboardv1.MoveNoteResponse, error) {
	state := w.State()
	at := w.find(req.GetId())
	if at < 0 {
		return nil, actors.Errorf(connect.CodeNotFound, "no_note", "the note is gone")
	}
	note := state.GetNotes()[at]
	if at == len(state.GetNotes())-1 && proto.Equal(note.GetPlace(), req.GetPlace()) {
		return new(whiteboardv1.MoveNoteResponse), nil
	}
	note.Place = req.GetPlace()
	state.Notes = append(slices.Delete(state.GetNotes(), at, at+1), note)
	w.Broadcast(&whiteboardv1.WhiteboardEvent{Event: &whiteboardv1.WhiteboardEvent_NoteMoved{
		NoteMoved: &whiteboardv1.NoteMoved{Id: req.GetId(), Place: req.GetPlace()},
	}})
	return new(whiteboardv1.MoveNoteResponse), nil
}

// RemoveNote takes a note off, if it is there.
func (w *Whiteboard) RemoveNote(_ context.Context, req *whiteboardv1.RemoveNoteRequest) (*whiteboardv1.RemoveNoteResponse, error) {
	if at := w.find(req.GetId()); at >= 0 {
		w.State().Notes = slices.Delete(w.State().GetNotes(), at, at+1)
		w.Broadcast(&whiteboardv1.WhiteboardEvent{Event: &whiteboardv1.WhiteboardEvent_NoteRemoved{
			NoteRemoved: &whiteboardv1.NoteRemoved{Id: req.GetId()},
		}})
	}
	return new(whiteboardv1.RemoveNoteResponse), nil
}

// find returns where the note with an id is, or -1.
func (w *Whiteboard) find(id string) int {
	return slices.IndexFunc(w.State().GetNotes(), func(note *whiteboardv1.Note) bool { return note.GetId() == id })
}
