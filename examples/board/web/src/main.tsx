// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { createClient, decodeKey, encodeKey } from "@troupe/client";
import { ActorProvider } from "@troupe/react";
import { type FormEvent, StrictMode, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { Board } from "./board.js";

const actors = createClient({ baseUrl: location.origin });

/** The board that a URL hash names: its key has one segment. */
function boardOf(hash: string): string {
  try {
    const [board, ...rest] = decodeKey(hash.replace(/^#\/?/, ""));
    return board && rest.length === 0 ? board : "plans";
  } catch {
    return "plans";
  }
}

function App() {
  const [board, setBoard] = useState(() => boardOf(location.hash));
  // A name belongs to its tab, so that two tabs can be two people.
  const [name, setName] = useState(() => sessionStorage.getItem("troupe.name") ?? "");
  const [problem, setProblem] = useState("");

  useEffect(() => {
    const route = () => setBoard(boardOf(location.hash));
    addEventListener("hashchange", route);
    return () => removeEventListener("hashchange", route);
  }, []);

  if (name !== "") {
    return <Board key={board} board={board} name={name} />;
  }
  const join = (submission: FormEvent<HTMLFormElement>) => {
    submission.preventDefault();
    const form = new FormData(submission.currentTarget);
    const [as, to] = ["name", "board"].map((field) => String(form.get(field) ?? "").trim());
    try {
      if (!as || !to) {
        throw new Error("Fill in a name and a board.");
      }
      location.hash = `#/${encodeKey(to)}`;
      sessionStorage.setItem("troupe.name", as);
      setBoard(to);
      setName(as);
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <main className="welcome">
      <form className="card" data-testid="join-form" autoComplete="off" noValidate onSubmit={join}>
        <h1>Pin it to the board</h1>
        <p className="lead">
          A board is a durable actor: everybody who has it open sees the same notes, and they survive the loss of its
          server.
        </p>
        <label>
          Your name
          <input name="name" data-testid="name-input" maxLength={40} required placeholder="Ada" spellCheck={false} />
        </label>
        <label>
          Board
          <input
            name="board"
            data-testid="board-input"
            maxLength={40}
            required
            defaultValue={board}
            spellCheck={false}
          />
        </label>
        {problem && (
          <p className="problem" role="alert">
            {problem}
          </p>
        )}
        <button type="submit" className="primary" data-testid="join-button">
          Open the board
        </button>
      </form>
    </main>
  );
}

const root = document.getElementById("root");
if (root !== null) {
  createRoot(root).render(
    <StrictMode>
      <ActorProvider client={actors}>
        <App />
      </ActorProvider>
    </StrictMode>,
  );
}
