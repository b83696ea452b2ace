// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { create } from "@bufbuild/protobuf";
import { type Actor, useAction, useEvent } from "@troupe/react";
import { type CSSProperties, type PointerEvent, useEffect, useRef, useState } from "react";
import { type Place, PlaceSchema, type Whiteboard } from "../../../../gen/ts/whiteboard/v1/whiteboard_pb.js";

interface Pointer {
  readonly connectionId: string;
  readonly name: string;
  readonly place: Place;
}

/** Others are told where one points at most so often. */
const pointEveryMs = 60;
/** A pointer that is still so long is taken away. */
const forgetMs = 20_000;

/** A place of the board under a pointer, in thousandths. */
export function placeOf(board: Element, { clientX, clientY }: { clientX: number; clientY: number }): Place {
  const { left, top, width, height } = board.getBoundingClientRect();
  const within = (at: number, size: number) => Math.round(Math.min(1, Math.max(0, at / size)) * 1000);
  return create(PlaceSchema, { x: within(clientX - left, width), y: within(clientY - top, height) });
}

/** Tells the others where one points, one call at a time: only the latest place matters. */
export function usePointing(actor: Actor<typeof Whiteboard>) {
  const { call } = useAction(actor, "point");
  const connected = actor.status === "connected";
  const next = useRef<Place | undefined | null>(null); // null: nothing to tell
  const busy = useRef(false);

  const tell = async (place: Place | undefined) => {
    next.current = place;
    if (busy.current || !connected) {
      return;
    }
    busy.current = true;
    while (next.current !== null) {
      const told = next.current;
      next.current = null;
      // Nothing hangs on it: a failure is not worth a word.
      await call(told === undefined ? {} : { place: told }, { timeoutMs: 3000 }).catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, pointEveryMs));
    }
    busy.current = false;
  };
  return {
    onPointerMove: (event: PointerEvent) => void tell(placeOf(event.currentTarget, event)),
    onPointerLeave: () => void tell(undefined),
  };
}

/** Where the others point. For eyes only: it says nothing that the notes do not. */
export function Pointers({ actor }: { actor: Actor<typeof Whiteboard> }) {
  const [pointers, setPointers] = useState<readonly Pointer[]>([]);
  const timers = useRef(new Map<string, ReturnType<typeof setTimeout>>());
  const forget = (id: string) => setPointers((all) => all.filter(({ connectionId }) => connectionId !== id));

  useEvent(actor, "personPointed", ({ connectionId, name, place }) => {
    clearTimeout(timers.current.get(connectionId));
    if (place === undefined) {
      forget(connectionId);
    } else {
      timers.current.set(
        connectionId,
        setTimeout(() => forget(connectionId), forgetMs),
      );
      setPointers((all) => [
        ...all.filter((other) => other.connectionId !== connectionId),
        { connectionId, name, place },
      ]);
    }
  });
  useEffect(() => {
    const all = timers.current;
    return () => {
      for (const timer of all.values()) {
        clearTimeout(timer);
      }
    };
  }, []);
  if (actor.status !== "connected") {
    return null;
  }
  const sorted = [...pointers].sort((a, b) => a.connectionId.localeCompare(b.connectionId));
  return sorted.map(({ connectionId, name, place }) => (
    <div
      key={connectionId}
      className="pointer"
      data-testid="pointer"
      data-name={name}
      aria-hidden="true"
      style={{ "--x": place.x / 1000, "--y": place.y / 1000, "--hue": hueOf(name) } as CSSProperties}
    >
      <svg viewBox="0 0 20 20" aria-hidden="true">
        <path d="M3 2l6 15 2-6 6-2z" />
      </svg>
      <span>{name}</span>
    </div>
  ));
}

/** A colour for a name. */
export function hueOf(name: string): number {
  let hash = 0;
  for (const c of name) {
    hash = (hash * 31 + (c.codePointAt(0) ?? 0)) >>> 0;
  }
  return (hash % 24) * 15;
}
