// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { create } from "@bufbuild/protobuf";
import type { ActorError } from "@troupe/client";
import { useAction, useActor, useEvent, useSnapshot } from "@troupe/react";
import { type CSSProperties, useEffect, useRef, useState } from "react";
import { type Note, NoteSchema, PlaceSchema, Whiteboard } from "../../../../gen/ts/whiteboard/v1/whiteboard_pb.js";
import { colors, NoteCard } from "./note.js";
import { hueOf, Pointers, usePointing } from "./pointers.js";
import { notes, people, withMove, withNote, withoutNote } from "./snapshots.js";

const soon = { timeoutMs: 15_000 };

/** One board, as one person sees it. */
export function Board({ board, name }: { board: string; name: string }) {
  const actor = useActor(Whiteboard, board, { params: { name } });
  const pinned = useSnapshot(actor, notes, {});
  const here = useSnapshot(actor, people, {});
  const put = useAction(actor, "putNote", {
    snapshot: pinned,
    optimistic: (state, { note }) => withNote(state, note),
  });
  const move = useAction(actor, "moveNote", {
    snapshot: pinned,
    optimistic: (state, { id, place }) => withMove(state, id, place),
  });
  const remove = useAction(actor, "removeNote", {
    snapshot: pinned,
    optimistic: (state, { id }) => withoutNote(state, id),
  });
  const pointing = usePointing(actor);
  const [fresh, setFresh] = useState("");
  const [wasOpen, setWasOpen] = useState(false);
  const [news, setNews] = useState("");
  const count = useRef(0);
  const { status } = actor;
  const connected = status === "connected";
  const all = pinned.data?.notes ?? [];

  useEffect(() => {
    document.title = `${board} · Troupe board`;
  }, [board]);
  useEffect(() => {
    if (connected) {
      setWasOpen(true);
    }
  }, [connected]);
  useEvent(actor, "personCame", ({ name: who }) => who !== name && setNews(`${who} is here`));
  useEvent(actor, "personLeft", ({ name: who }) => setNews(`${who} has left`));
  useEvent(actor, "notePut", ({ note }) => {
    if (note !== undefined && note.author !== name && !all.some(({ id }) => id === note.id)) {
      setNews(`${note.author || "Somebody"} adds a note`);
    }
  });

  const add = () => {
    const n = count.current++;
    const [color] = colors[(all.length + n) % colors.length] ?? colors[0] ?? [1];
    // The id is made here, so that a repeated call adds one note.
    const id = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join(
      "",
    );
    const place = create(PlaceSchema, { x: 120 + ((all.length * 137) % 640), y: 90 + ((all.length * 211) % 620) });
    put.run({ note: create(NoteSchema, { id, color, place, author: name }) }, soon);
    setFresh(id);
  };
  const error =
    put.error ?? move.error ?? remove.error ?? (status === "closed" ? actor.error : undefined) ?? pinned.error;
  const label = connected
    ? "Connected"
    : status === "closed"
      ? "Disconnected"
      : wasOpen
        ? "Reconnecting…"
        : "Connecting…";
  // In the order of their ids, so that none moves in the document when it comes to
  // lie on top: what has the focus or the pointer keeps it.
  const inOrder = all.map((note, level) => ({ note, level })).sort((a, b) => a.note.id.localeCompare(b.note.id));
  return (
    <div className={connected ? "page" : "page offline"}>
      <header className="bar">
        <h1>
          <span className="kind">Board</span> <span data-testid="board-title">{board}</span>
        </h1>
        <ul className="people" aria-label="Here now" data-testid="people">
          {(here.data?.names ?? []).map((who) => (
            <li key={who} data-testid="person" data-name={who} style={{ "--hue": hueOf(who) } as CSSProperties}>
              <span className="initial" aria-hidden="true">
                {[...who][0]?.toUpperCase()}
              </span>
              <span className="who">{who === name ? `${who} (you)` : who}</span>
            </li>
          ))}
        </ul>
        <div className="pill" data-testid="status" data-status={status} role="status">
          <span className="dot" aria-hidden="true" />
          <span>{label}</span>
        </div>
        {!connected && wasOpen && (
          <button type="button" className="quiet" onClick={actor.reconnect}>
            Retry now
          </button>
        )}
        <button type="button" className="primary" data-testid="add-button" disabled={!connected} onClick={add}>
          Add a note
        </button>
      </header>
      {error !== undefined && (
        <p className="problem" role="alert" data-testid="error">
          {describe(error)}
        </p>
      )}
      <main className="stage">
        <h2 className="hidden" id="notes-title">
          Notes
        </h2>
        <p className="hidden" id="keys">
          Arrow keys move it, with Shift further; Enter goes to its text, Delete removes it.
        </p>
        <ul className="board" data-testid="board" aria-labelledby="notes-title" {...pointing}>
          {inOrder.map(({ note, level }) => (
            <NoteCard
              key={note.id}
              note={note}
              level={level}
              fresh={note.id === fresh}
              disabled={!connected}
              onMove={(place) => move.run({ id: note.id, place }, soon)}
              onChange={(changed: Note) => put.run({ note: changed }, soon)}
              onRemove={() => remove.run({ id: note.id }, soon)}
            />
          ))}
        </ul>
        {pinned.data !== undefined && all.length === 0 && (
          <p className="empty" data-testid="empty">
            Nothing is pinned here yet. Add the first note.
          </p>
        )}
        <Pointers actor={actor} />
      </main>
      <p className="hidden" aria-live="polite" data-testid="news">
        {news}
      </p>
    </div>
  );
}

function describe(error: ActorError): string {
  const violations = error.violations.map(({ field, message }) => `${field}: ${message}`);
  return violations.length > 0 ? violations.join("; ") : `${error.rawMessage.replace(/\.$/, "")}.`;
}
