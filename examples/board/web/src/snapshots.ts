// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { defineSnapshot } from "@troupe/react";
import {
  type Note,
  type NotesResponse,
  type Place,
  Whiteboard,
} from "../../../../gen/ts/whiteboard/v1/whiteboard_pb.js";

// Each of these may be done twice without harm: an event may come after the reply
// that says the same.

export function withNote(state: NotesResponse, note: Note | undefined): NotesResponse {
  if (note === undefined) {
    return state;
  }
  const known = state.notes.some(({ id }) => id === note.id);
  const notes = known ? state.notes.map((other) => (other.id === note.id ? note : other)) : [...state.notes, note];
  return { ...state, notes };
}

/** What is moved comes to lie on top. */
export function withMove(state: NotesResponse, id: string, place: Place | undefined): NotesResponse {
  const moved = state.notes.find((note) => note.id === id);
  if (moved === undefined || place === undefined) {
    return state;
  }
  return { ...state, notes: [...state.notes.filter((note) => note !== moved), { ...moved, place }] };
}

export function withoutNote(state: NotesResponse, id: string): NotesResponse {
  return { ...state, notes: state.notes.filter((note) => note.id !== id) };
}

/** The notes of a board. */
export const notes = defineSnapshot(Whiteboard, "notes", {
  notePut: (state, { note }) => withNote(state, note),
  noteMoved: (state, { id, place }) => withMove(state, id, place),
  noteRemoved: (state, { id }) => withoutNote(state, id),
});

/** Who is there: read again when the connection was lost, for it hangs on connections. */
export const people = defineSnapshot(
  Whiteboard,
  "people",
  {
    personCame: (state, { name }) => ({ ...state, names: [...new Set([...state.names, name])].sort() }),
    personLeft: "reread",
  },
  { rereadOnReconnect: true },
);
