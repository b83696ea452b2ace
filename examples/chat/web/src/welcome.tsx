// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { type FormEvent, useEffect, useRef, useState } from "react";
import { suggestedName } from "./identity.js";
import { Mark } from "./parts.js";
import type { Place } from "./place.js";

interface Props {
  readonly place: Place | undefined;
  /** Goes there as somebody; it throws for a place that cannot be. */
  readonly onJoin: (name: string, place: Place) => void;
}

/** Asks who one is and where to go. */
export function Welcome({ place, onJoin }: Props) {
  const [problem, setProblem] = useState("");
  const name = useRef<HTMLInputElement>(null);

  useEffect(() => {
    document.title = "Troupe chat";
    name.current?.select();
  }, []);

  const submit = (submission: FormEvent<HTMLFormElement>) => {
    submission.preventDefault();
    const form = new FormData(submission.currentTarget);
    const read = (field: string) => String(form.get(field) ?? "").trim();
    const [user, org, room] = [read("name"), read("org"), read("room")];
    if (user === "" || org === "" || room === "") {
      setProblem("Fill in a name, an organisation and a room.");
      return;
    }
    try {
      onJoin(user, { org, room });
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
  };

  const field = (id: string, label: string, value: string, placeholder: string) => (
    <label className="field">
      <span>{label}</span>
      <input
        name={id}
        data-testid={`${id}-input`}
        ref={id === "name" ? name : undefined}
        defaultValue={value}
        placeholder={placeholder}
        maxLength={64}
        required
        autoCapitalize={id === "name" ? "words" : "none"}
        spellCheck={false}
      />
    </label>
  );
  return (
    <main className="welcome" data-testid="welcome">
      <form className="card" data-testid="join-form" autoComplete="off" noValidate onSubmit={submit}>
        <Mark />
        <h1>Step on stage</h1>
        <p className="lead">
          Every room is a durable actor: it remembers what was said, sleeps when nobody is there, and survives the loss
          of its server.
        </p>
        {field("name", "Your name", suggestedName(), "Ada")}
        <div className="pair">
          {field("org", "Organisation", place?.org ?? "acme", "acme")}
          <span className="slash" aria-hidden="true">
            /
          </span>
          {field("room", "Room", place?.room ?? "general", "general")}
        </div>
        {problem && (
          <p className="form-error" data-testid="join-error" role="alert">
            {problem}
          </p>
        )}
        <button type="submit" className="primary" data-testid="join-button">
          Join the room
        </button>
        <p className="hint">No account, no password: this is an example. Open a second tab to talk to yourself.</p>
      </form>
    </main>
  );
}
