// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type ReactNode, useEffect, useLayoutEffect, useRef, useState } from "react";
import type { Message } from "../../../../gen/ts/chat/v1/chat_pb.js";
import { Avatar, Icon, Linked, Mark } from "./parts.js";

/** A note that somebody came or went. */
export interface Note {
  readonly id: string;
  readonly text: string;
  readonly at: number;
}

/** A message of ours that is not in the room yet. */
export interface Outgoing {
  readonly id: string;
  readonly text: string;
  readonly at: number;
  /** Why it did not get there; undefined while it is on its way. */
  readonly failure: string | undefined;
}

interface Props {
  readonly messages: readonly Message[] | undefined;
  readonly notes: readonly Note[];
  readonly outgoing: readonly Outgoing[];
  readonly user: string;
  readonly connected: boolean;
  readonly onAgain: (message: Outgoing) => void;
  readonly onDiscard: (message: Outgoing) => void;
}

/** Messages of one author so close together show the author once. */
const groupMs = 5 * 60_000;

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

interface Line {
  readonly key: string;
  readonly at: number;
  readonly author?: string;
  readonly text: string;
  readonly outgoing?: Outgoing;
}

/** What was said and what happened, newest last. It stays at its end unless one scrolls away. */
export function Feed({ messages, notes, outgoing, user, connected, onAgain, onDiscard }: Props) {
  const feed = useRef<HTMLElement>(null);
  const following = useRef(true);
  const [behind, setBehind] = useState(false);
  const lines: Line[] = [
    ...(messages ?? []).map(({ id, author, text, sentAt }) => ({
      key: `message ${id}`,
      at: sentAt ? timestampMs(sentAt) : 0,
      author,
      text,
    })),
    ...notes.map(({ id, at, text }) => ({ key: id, at, text })),
  ].sort((a, b) => a.at - b.at);
  const latest = lines.at(-1)?.at ?? 0;
  for (const message of outgoing) {
    lines.push({
      key: message.id,
      at: Math.max(message.at, latest),
      author: user,
      text: message.text,
      outgoing: message,
    });
  }

  const toEnd = () => {
    following.current = true;
    setBehind(false);
    if (feed.current !== null) {
      feed.current.scrollTop = feed.current.scrollHeight;
    }
  };
  const newest = lines.at(-1)?.key;
  useLayoutEffect(() => {
    if (newest !== undefined && feed.current !== null) {
      if (following.current) {
        feed.current.scrollTop = feed.current.scrollHeight;
      } else {
        setBehind(true);
      }
    }
  }, [newest]);
  // A keyboard that slides in or a window made smaller hides no message.
  useEffect(() => {
    const element = feed.current;
    if (element === null) {
      return undefined;
    }
    const observer = new ResizeObserver(() => {
      if (following.current) {
        element.scrollTop = element.scrollHeight;
      }
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const scrolled = () => {
    const { scrollHeight = 0, scrollTop = 0, clientHeight = 0 } = feed.current ?? {};
    following.current = scrollHeight - scrollTop - clientHeight < 60;
    if (following.current) {
      setBehind(false);
    }
  };
  return (
    <>
      <section
        className="feed"
        data-testid="feed"
        ref={feed}
        onScroll={scrolled}
        aria-label="Feed"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard
        tabIndex={0}
      >
        {messages !== undefined && lines.length === 0 && (
          <div className="empty" data-testid="empty">
            <Mark />
            <p>
              <strong>The stage is yours.</strong>
            </p>
            <p>Nobody has said anything in this room yet.</p>
            <p>
              Try <code>/topic tea</code> or <code>/remind 10s the tea is ready</code>.
            </p>
          </div>
        )}
        <div role="log" aria-label="Messages" aria-live="polite" className="log">
          <ol className="messages" data-testid="messages">
            {render(lines, user, (message) => (
              <p className="fate" role="alert">
                <span>{message.failure}</span>{" "}
                <button type="button" className="quiet" disabled={!connected} onClick={() => onAgain(message)}>
                  Send again
                </button>{" "}
                <button type="button" className="quiet" onClick={() => onDiscard(message)}>
                  Discard
                </button>
              </p>
            ))}
          </ol>
        </div>
      </section>
      {behind && (
        <button type="button" className="jump" data-testid="jump" onClick={toEnd}>
          New messages <Icon path="M10 4v12M5 11l5 5 5-5" />
        </button>
      )}
    </>
  );
}

function render(lines: readonly Line[], user: string, fate: (message: Outgoing) => ReactNode): ReactNode[] {
  const items: ReactNode[] = [];
  let last: Line | undefined;
  let lastDay = "";
  for (const line of lines) {
    const today = new Date(line.at).toDateString();
    if (today !== lastDay) {
      lastDay = today;
      last = undefined;
      items.push(
        <li className="day" key={`day ${today}`}>
          {dayName(line.at)}
        </li>,
      );
    }
    const follows = line.author !== undefined && line.author === last?.author && line.at - last.at < groupMs;
    items.push(<Item key={line.key} line={line} mine={line.author === user} follows={follows} fate={fate} />);
    last = line;
  }
  return items;
}

interface ItemProps {
  readonly line: Line;
  readonly mine: boolean;
  readonly follows: boolean;
  readonly fate: (message: Outgoing) => ReactNode;
}

function Item({ line: { at, author, text, outgoing }, mine, follows, fate }: ItemProps) {
  if (author === undefined) {
    return (
      <li className="note" data-testid="note">
        {text}
      </li>
    );
  }
  const classes = ["message"];
  if (mine) classes.push("mine");
  if (follows) classes.push("follows");
  if (outgoing !== undefined) classes.push(outgoing.failure === undefined ? "pending" : "failed");
  return (
    <li className={classes.join(" ")} data-testid={outgoing ? "outgoing" : "message"} data-author={author}>
      <Avatar name={author} />
      <div className="body">
        <p className="meta">
          <strong className="author" data-testid="message-author">
            {author}
          </strong>{" "}
          <time dateTime={new Date(at).toISOString()} title={full.format(at)}>
            {clock.format(at)}
          </time>
        </p>
        <p className="text" data-testid="message-text">
          <Linked text={text} />
        </p>
        {outgoing?.failure !== undefined && fate(outgoing)}
      </div>
    </li>
  );
}

function dayName(at: number): string {
  const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(at).setHours(0, 0, 0, 0)) / 86_400_000);
  return days === 0 ? "Today" : days === 1 ? "Yesterday" : day.format(at);
}
