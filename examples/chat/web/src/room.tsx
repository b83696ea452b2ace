// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type EventInfo, wasNotExecuted } from "@troupe/client";
import { useAction, useActor, useEvent, useSnapshot } from "@troupe/react";
import { useEffect, useRef, useState } from "react";
import { ChatRoom } from "../../../../gen/ts/chat/v1/chat_pb.js";
import { Composer } from "./composer.js";
import { Feed, type Note, type Outgoing } from "./feed.js";
import { describe, Icon } from "./parts.js";
import type { Place } from "./place.js";
import { Side } from "./side.js";
import { addMessage, history, members, topic } from "./snapshots.js";
import { typingSentence, useTyping, useTypists } from "./typing.js";

interface Props {
  readonly place: Place;
  readonly user: string;
  readonly onGo: (place: Place) => void;
  readonly onLeave: () => void;
}

const historyLimit = 200;
const keptNotes = 40;
let counter = 0;

/** One visit to one room. */
export function Room({ place, user, onGo, onLeave }: Props) {
  const actor = useActor(ChatRoom, [place.org, place.room], { params: { user } });
  const said = useSnapshot(actor, history, { limit: historyLimit });
  const here = useSnapshot(actor, members, {});
  const about = useSnapshot(actor, topic, {});
  const { call: send } = useAction(actor, "send", {
    snapshot: said,
    optimistic: (state) => state, // what is on its way is shown apart: it can fail and be sent again
    confirmed: (state, { message }) => addMessage(state, message),
  });
  const { call: setTopic } = useAction(actor, "setTopic", {
    snapshot: about,
    optimistic: (state, request) => ({ ...state, topic: request.topic }),
  });
  const typists = useTypists(actor, user);
  const { typed, stopped } = useTyping(actor);
  const [outgoing, setOutgoing] = useState<readonly Outgoing[]>([]);
  const [notes, setNotes] = useState<readonly Note[]>([]);
  const [failure, setFailure] = useState("");
  const [sideOpen, setSideOpen] = useState(false);
  const [wasOpen, setWasOpen] = useState(false);
  const input = useRef<HTMLTextAreaElement>(null);
  const { status } = actor;
  const connected = status === "connected";

  useEffect(() => {
    document.title = `${place.room} · Troupe chat`;
    input.current?.focus();
  }, [place.room]);
  useEffect(() => {
    if (connected) {
      setWasOpen(true);
    }
  }, [connected]);
  useGoodbye(actor);

  const note = (name: string, what: string, { time }: EventInfo) => {
    if (name !== user) {
      const made = { id: `note ${++counter}`, text: `${name} ${what}`, at: time ? timestampMs(time) : Date.now() };
      setNotes((all) => [...all, made].slice(-keptNotes));
    }
  };
  useEvent(actor, "memberJoined", ({ user: name }, info) => note(name, "joined", info));
  useEvent(actor, "memberLeft", ({ user: name }, info) => note(name, "left", info));

  const deliver = async (message: Outgoing) => {
    setOutgoing((all) => [...all.filter(({ id }) => id !== message.id), { ...message, failure: undefined }]);
    try {
      await send({ text: message.text }, { timeoutMs: 15_000 });
      discard(message);
    } catch (thrown) {
      const why = wasNotExecuted(thrown) ? "Not sent" : "Nobody knows whether this was sent";
      const failed = { ...message, failure: `${why}: ${describe(thrown)}.` };
      setOutgoing((all) => all.map((other) => (other.id === message.id ? failed : other)));
    }
  };
  const discard = (message: Outgoing) => setOutgoing((all) => all.filter(({ id }) => id !== message.id));
  const say = (text: string) => {
    stopped();
    const command = /^\/topic(?:\s+(.*))?$/.exec(text);
    if (command === null) {
      void deliver({ id: `out ${++counter}`, text, at: Date.now(), failure: undefined });
    } else {
      setTopic({ topic: command[1] ?? "" }, { timeoutMs: 15_000 }).catch((thrown: unknown) =>
        setFailure(`The topic is as it was: ${describe(thrown)}.`),
      );
    }
  };

  const problem =
    failure ||
    (status === "closed" && actor.error ? `The connection is over: ${describe(actor.error)}.` : "") ||
    (connected && said.error ? `The room could not be read: ${describe(said.error)}.` : "");
  const label = connected
    ? "Connected"
    : status === "closed"
      ? "Disconnected"
      : wasOpen
        ? "Reconnecting…"
        : "Connecting…";
  const closeSide = () => {
    setSideOpen(false);
    input.current?.focus();
  };
  return (
    <div className={`shell${sideOpen ? " open" : ""}${connected ? "" : " offline"}`} data-testid="shell">
      <Side
        place={place}
        user={user}
        users={here.data?.users ?? []}
        open={sideOpen}
        onClose={closeSide}
        onGo={onGo}
        onLeave={onLeave}
      />
      <main className="room">
        <header className="bar">
          <button
            type="button"
            className="icon open-side"
            aria-label="Rooms and members"
            aria-controls="side"
            aria-expanded={sideOpen}
            onClick={() => setSideOpen(true)}
          >
            <Icon path="M3 6h14M3 10h14M3 14h9" />
          </button>
          <div className="heading">
            <h1 className="title">
              <span className="org">{place.org}</span>
              <span className="sep" aria-hidden="true">
                /
              </span>
              <span data-testid="room-title">{place.room}</span>
            </h1>
            {about.data?.topic && (
              <p className="topic" data-testid="topic">
                {about.data.topic}
              </p>
            )}
          </div>
          <div className="pill" data-testid="status" data-status={status} role="status">
            <span className="dot" aria-hidden="true" />
            <span>{label}</span>
          </div>
          {!connected && wasOpen && (
            <button type="button" className="quiet" data-testid="retry-button" onClick={actor.reconnect}>
              Retry now
            </button>
          )}
        </header>
        {problem && (
          <p className="alert" data-testid="error" role="alert">
            <span>{problem}</span>
            {failure && (
              <button type="button" className="quiet" onClick={() => setFailure("")}>
                Dismiss
              </button>
            )}
          </p>
        )}
        <Feed
          messages={said.data?.messages}
          notes={notes}
          outgoing={outgoing}
          user={user}
          connected={connected}
          onAgain={(message) => void deliver(message)}
          onDiscard={discard}
        />
        <p className="typing" data-testid="typing" aria-live="polite">
          {typingSentence(typists)}
        </p>
        <Composer room={place.room} connected={connected} input={input} onSend={say} onTyped={typed} />
      </main>
    </div>
  );
}

/** The others see at once that a tab is gone, even one that the browser keeps for later. */
function useGoodbye({ connection, reconnect }: ReturnType<typeof useActor<typeof ChatRoom>>): void {
  useEffect(() => {
    const hide = () => connection?.dispose();
    const show = (shown: PageTransitionEvent) => shown.persisted && reconnect();
    addEventListener("pagehide", hide);
    addEventListener("pageshow", show);
    return () => {
      removeEventListener("pagehide", hide);
      removeEventListener("pageshow", show);
    };
  }, [connection, reconnect]);
}
