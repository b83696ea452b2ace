// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { create } from "@bufbuild/protobuf";
import { type CSSProperties, type KeyboardEvent, type PointerEvent, useEffect, useRef, useState } from "react";
import { Color, type Note, type Place, PlaceSchema } from "../../../../gen/ts/whiteboard/v1/whiteboard_pb.js";

interface Props {
  readonly note: Note;
  /** How far up it lies. */
  readonly level: number;
  readonly fresh: boolean;
  readonly disabled: boolean;
  readonly onMove: (place: Place) => void;
  readonly onChange: (note: Note) => void;
  readonly onRemove: () => void;
}

export const colors: readonly (readonly [Color, string])[] = [
  [Color.YELLOW, "yellow"],
  [Color.PINK, "pink"],
  [Color.GREEN, "green"],
  [Color.BLUE, "blue"],
];

/** A typed text is sent after a pause, and when one leaves the note. */
const typedMs = 500;
/** A dragged note is moved for the others at most so often. */
const dragMs = 90;
const steps: Readonly<Record<string, readonly [number, number]>> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

const bounded = (at: number) => Math.round(Math.min(1000, Math.max(0, at)));

/** One note: dragged by its bar, or moved by the arrow keys when the bar has the focus. */
export function NoteCard({ note, level, fresh, disabled, onMove, onChange, onRemove }: Props) {
  const item = useRef<HTMLLIElement>(null);
  const text = useRef<HTMLTextAreaElement>(null);
  const [draft, setDraft] = useState<string>();
  const typed = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const drag = useRef<{ x: number; y: number; from: Place; sentAt: number } | undefined>(undefined);
  const [dragged, setDragged] = useState<Place>();
  const place = dragged ?? note.place ?? create(PlaceSchema);
  const color = colors.find(([value]) => value === note.color)?.[1] ?? "yellow";
  const label = note.text.trim() === "" ? "empty note" : `note “${note.text.trim().slice(0, 40)}”`;

  useEffect(() => {
    if (fresh) {
      text.current?.focus();
    }
  }, [fresh]);
  useEffect(() => () => clearTimeout(typed.current), []);

  const send = (value: string) => {
    clearTimeout(typed.current);
    if (value !== note.text) {
      onChange({ ...note, text: value });
    }
  };
  const type = (value: string) => {
    setDraft(value);
    clearTimeout(typed.current);
    typed.current = setTimeout(() => send(value), typedMs);
  };
  const leave = () => {
    if (draft !== undefined) {
      send(draft);
      setDraft(undefined);
    }
  };

  const down = (event: PointerEvent) => {
    if (event.button === 0 && !disabled) {
      event.currentTarget.setPointerCapture(event.pointerId);
      drag.current = { x: event.clientX, y: event.clientY, from: place, sentAt: 0 };
      setDragged(place);
    }
  };
  const move = (event: PointerEvent) => {
    const board = item.current?.parentElement;
    const begun = drag.current;
    if (begun === undefined || !board || !item.current) {
      return;
    }
    // A note at 1000 touches the board's far edge: the way is what is left beside it.
    const across = Math.max(1, board.clientWidth - item.current.offsetWidth);
    const along = Math.max(1, board.clientHeight - item.current.offsetHeight);
    const to = create(PlaceSchema, {
      x: bounded(begun.from.x + ((event.clientX - begun.x) / across) * 1000),
      y: bounded(begun.from.y + ((event.clientY - begun.y) / along) * 1000),
    });
    setDragged(to);
    if (event.timeStamp - begun.sentAt > dragMs) {
      begun.sentAt = event.timeStamp;
      onMove(to);
    }
  };
  const up = () => {
    if (drag.current !== undefined) {
      const { from } = drag.current;
      drag.current = undefined;
      if (dragged !== undefined && (dragged.x !== from.x || dragged.y !== from.y)) {
        onMove(dragged);
      }
      setDragged(undefined);
    }
  };
  const pressed = (event: KeyboardEvent) => {
    const step = steps[event.key];
    if (disabled) {
      return;
    }
    if (step !== undefined) {
      event.preventDefault();
      const far = event.shiftKey ? 100 : 20;
      onMove(create(PlaceSchema, { x: bounded(place.x + step[0] * far), y: bounded(place.y + step[1] * far) }));
    } else if (event.key === "Delete" || event.key === "Backspace") {
      onRemove();
    } else if (event.key === "Enter") {
      event.preventDefault();
      text.current?.focus();
    }
  };
  return (
    <li
      className={`note ${color}${dragged ? " dragged" : ""}`}
      data-testid="note"
      data-id={note.id}
      ref={item}
      style={{ "--x": place.x / 1000, "--y": place.y / 1000, zIndex: level + 1 } as CSSProperties}
    >
      <div className="handle">
        <button
          type="button"
          className="grip"
          data-testid="note-grip"
          aria-label={`Move ${label}`}
          aria-describedby="keys"
          disabled={disabled}
          onPointerDown={down}
          onPointerMove={move}
          onPointerUp={up}
          onPointerCancel={up}
          onKeyDown={pressed}
        >
          <span className="dots" aria-hidden="true" />
        </button>
        <button
          type="button"
          className="tool"
          aria-label={`Next colour of ${label}: it is ${color}`}
          disabled={disabled}
          onClick={() => onChange({ ...note, color: (note.color % colors.length) + 1 })}
        >
          <svg viewBox="0 0 20 20" aria-hidden="true">
            <path d="M10 3c4 5 5 7 5 9a5 5 0 0 1-10 0c0-2 1-4 5-9z" />
          </svg>
        </button>
        <button type="button" className="tool" aria-label={`Remove ${label}`} disabled={disabled} onClick={onRemove}>
          <svg viewBox="0 0 20 20" aria-hidden="true">
            <path d="M5 5l10 10M15 5L5 15" />
          </svg>
        </button>
      </div>
      <textarea
        data-testid="note-text"
        ref={text}
        aria-label={`Text of ${label}`}
        maxLength={280}
        readOnly={disabled}
        value={draft ?? note.text}
        onChange={(change) => type(change.target.value)}
        onBlur={leave}
        placeholder="Write…"
      />
      <p className="author">{note.author}</p>
    </li>
  );
}
