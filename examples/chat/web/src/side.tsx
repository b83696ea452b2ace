// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { type FormEvent, useEffect, useRef, useState } from "react";
import { rememberRoom } from "./identity.js";
import { Avatar, Icon, Mark } from "./parts.js";
import { hashOf, type Place } from "./place.js";

interface Props {
  readonly place: Place;
  readonly user: string;
  readonly users: readonly string[];
  /** Whether it is shown where the screen is narrow. */
  readonly open: boolean;
  readonly onClose: () => void;
  readonly onGo: (place: Place) => void;
  readonly onLeave: () => void;
}

/** The rooms, and who is here. */
export function Side({ place, user, users, open, onClose, onGo, onLeave }: Props) {
  const [rooms] = useState(() => rememberRoom(place));
  const close = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (open) {
      close.current?.focus();
    }
  }, [open]);

  const go = (submission: FormEvent<HTMLFormElement>) => {
    submission.preventDefault();
    const typed = String(new FormData(submission.currentTarget).get("room") ?? "");
    const [first = "", ...rest] = typed.split("/").map((part) => part.trim());
    const to = rest.length === 0 ? { org: place.org, room: first } : { org: first, room: rest.join("/") };
    try {
      if (to.org !== "" && to.room !== "") {
        onGo(to);
      }
    } catch {
      // What is typed stays, to be corrected.
    }
  };
  return (
    <>
      <aside
        className="side"
        id="side"
        aria-label="Rooms and members"
        onKeyDown={(key) => key.key === "Escape" && open && onClose()}
      >
        <div className="brand">
          <Mark />
          <span>Troupe</span>
          <button
            type="button"
            className="icon close-side"
            aria-label="Close the side bar"
            ref={close}
            onClick={onClose}
          >
            <Icon path="M5 5l10 10M15 5L5 15" />
          </button>
        </div>
        <nav aria-labelledby="rooms-title">
          <h2 id="rooms-title">Rooms</h2>
          <ul className="rooms" data-testid="rooms">
            {rooms.map((room) => (
              <li key={hashOf(room)}>
                <a href={hashOf(room)} aria-current={hashOf(room) === hashOf(place) ? "page" : undefined}>
                  <span className="org">{room.org} / </span>
                  {room.room}
                </a>
              </li>
            ))}
          </ul>
          <form className="go" autoComplete="off" onSubmit={go}>
            <input
              name="room"
              data-testid="go-input"
              aria-label="Go to another room"
              placeholder="org/room"
              maxLength={129}
              autoCapitalize="none"
              spellCheck={false}
            />
            <button type="submit" className="icon" aria-label="Go">
              <Icon path="M4 10h12M11 5l5 5-5 5" />
            </button>
          </form>
        </nav>
        <section className="people" aria-labelledby="members-title">
          <h2 id="members-title">
            Here now{" "}
            <span className="count" data-testid="member-count">
              {users.length || ""}
            </span>
          </h2>
          <ul className="members" data-testid="members">
            {users.map((name) => (
              <li key={name} data-testid="member" data-user={name}>
                <Avatar name={name} />
                <span className="name">{name}</span>
                {name === user && <span className="you">you</span>}
              </li>
            ))}
          </ul>
        </section>
        <footer className="me">
          <Avatar name={user} />
          <span className="who">
            <strong data-testid="my-name">{user}</strong>
            <small>that’s you</small>
          </span>
          <button type="button" className="quiet" data-testid="leave-button" onClick={onLeave}>
            Leave
          </button>
        </footer>
      </aside>
      {/* A click beside the bar closes it; the keyboard has Escape and the button. */}
      <div className="veil" aria-hidden="true" onClick={onClose} />
    </>
  );
}
