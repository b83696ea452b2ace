// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { arrange, element, inside, linkify, make, paintAvatar } from "./dom.js";
import type { Line, Outgoing, Session } from "./session.js";

const feed = element("feed", "div");
const list = element("messages", "ol");
const empty = element("empty", "div");
const jump = element("jump", "button");
const template = element("message-template", "template");

/** Messages of one author so close together show the author once. */
const groupMs = 5 * 60_000;

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/** The elements of the lines shown, by their keys, so that none is made twice. */
let shown = new Map<string, HTMLElement>();
let followsEnd = true;

feed.addEventListener("scroll", () => {
  followsEnd = feed.scrollHeight - feed.scrollTop - feed.clientHeight < 60;
  if (followsEnd) {
    jump.hidden = true;
  }
});
jump.addEventListener("click", scrollToEnd);
// A keyboard that slides in or a window made smaller hides no message.
new ResizeObserver(() => {
  if (followsEnd) {
    scrollToEnd();
  }
}).observe(feed);

/** Shows the end of the feed, and follows it from now on. */
export function scrollToEnd(): void {
  followsEnd = true;
  jump.hidden = true;
  feed.scrollTop = feed.scrollHeight;
}

/** Forgets what is shown: another room comes. */
export function resetFeed(): void {
  shown = new Map();
  list.replaceChildren();
  followsEnd = true;
  jump.hidden = true;
}

/** Shows the lines of a session. */
export function renderFeed(session: Session): void {
  const next = new Map<string, HTMLElement>();
  const keep = (key: string, create: () => HTMLElement) => {
    const kept = shown.get(key) ?? create();
    next.set(key, kept);
    return kept;
  };
  let lastDay = "";
  let last: Line | undefined;
  for (const line of session.lines) {
    const today = new Date(line.at).toDateString();
    if (today !== lastDay) {
      lastDay = today;
      last = undefined;
      keep(`day ${today}`, () => make("li", "day", dayName(line.at)));
    }
    const shownLine = keep(`${line.kind} ${line.id}`, () => createLine(line, session.user));
    shownLine.classList.toggle("follows", follows(line, last));
    last = line;
  }
  for (const message of session.outgoing) {
    const at = Math.max(message.at, last?.at ?? 0);
    const line: Line = { kind: "message", id: message.id, author: session.user, text: message.text, at };
    const sent = keep(message.id, () => createOutgoing(line, message, session));
    sent.classList.toggle("follows", follows(line, last));
    updateOutgoing(sent, message, session.status === "connected");
    last = line;
  }
  const grown = [...next.keys()].some((key) => !shown.has(key));
  shown = next;
  arrange(list, [...next.values()]);
  empty.hidden = !session.loaded || next.size > 0;
  if (followsEnd) {
    scrollToEnd();
  } else if (grown) {
    jump.hidden = false;
  }
}

function follows(line: Line, last: Line | undefined): boolean {
  return (
    line.kind === "message" && last?.kind === "message" && last.author === line.author && line.at - last.at < groupMs
  );
}

function createLine(line: Line, user: string): HTMLElement {
  if (line.kind === "note") {
    const note = make("li", "note", line.text);
    note.dataset.testid = "note";
    return note;
  }
  const item = inside<HTMLLIElement>(template.content.cloneNode(true) as DocumentFragment, "li");
  item.dataset.id = line.id;
  item.dataset.author = line.author;
  item.classList.toggle("mine", line.author === user);
  paintAvatar(inside(item, ".avatar"), line.author);
  inside(item, ".author").textContent = line.author;
  inside(item, ".text").append(...linkify(line.text));
  const time = inside<HTMLTimeElement>(item, "time");
  time.dateTime = new Date(line.at).toISOString();
  time.textContent = clock.format(line.at);
  time.title = full.format(line.at);
  return item;
}

function createOutgoing(line: Line, message: Outgoing, session: Session): HTMLElement {
  const item = createLine(line, session.user);
  item.dataset.testid = "outgoing";
  inside(item, ".retry").addEventListener("click", () => void session.sendAgain(message));
  inside(item, ".discard").addEventListener("click", () => session.discard(message));
  return item;
}

function updateOutgoing(item: HTMLElement, { failure }: Outgoing, connected: boolean): void {
  item.classList.toggle("pending", failure === undefined);
  item.classList.toggle("failed", failure !== undefined);
  const fate = inside(item, ".fate");
  fate.hidden = failure === undefined;
  inside(fate, "span").textContent = failure ?? "";
  inside<HTMLButtonElement>(fate, ".retry").disabled = !connected;
}

function dayName(at: number): string {
  const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(at).setHours(0, 0, 0, 0)) / 86_400_000);
  return days === 0 ? "Today" : days === 1 ? "Yesterday" : day.format(at);
}
