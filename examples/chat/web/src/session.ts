// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type ActorClient,
  type ActorConnection,
  ActorError,
  type ConnectionStatus,
  wasNotExecuted,
} from "@troupe/client";
import { ChatRoom, type Message } from "../../../../gen/ts/chat/v1/chat_pb.js";
import type { Place } from "./place.js";

/** One line of the room: what somebody said, or a note that somebody came or went. */
export type Line =
  | {
      readonly kind: "message";
      readonly id: string;
      readonly author: string;
      readonly text: string;
      readonly at: number;
    }
  | { readonly kind: "note"; readonly id: string; readonly text: string; readonly at: number };

/** A message of ours that is not in the room yet. */
export interface Outgoing {
  readonly id: string;
  readonly text: string;
  readonly at: number;
  /** Why it did not get there; undefined while it is on its way. */
  failure: string | undefined;
}

const historyLimit = 200;
const keptNotes = 40;
/** A member who stops typing without saying so stops after this. */
const typingMs = 6000;
/** While one types the others are told again after this. */
const typingEveryMs = 2500;

/**
 * One visit to one room: its connection, and the room's content as far as it is
 * known here. onChange is called after every change.
 */
export class Session {
  readonly connection: ActorConnection<typeof ChatRoom>;
  members: string[] = [];
  outgoing: Outgoing[] = [];
  /** What went wrong last, for people. */
  error: string | undefined;
  /** Whether the history was read, and nothing was missed since. */
  loaded = false;

  private messages = new Map<string, Line>();
  private notes: Line[] = [];
  private typists = new Map<string, ReturnType<typeof setTimeout>>();
  /** What happened since the connection opened, to be put on top of what is read. */
  private sinceOpen: { joined: boolean; user: string }[] = [];
  private opens = 0;
  private counter = 0;
  private typingSince: number | undefined;
  private typingEnd: ReturnType<typeof setTimeout> | undefined;

  constructor(
    actors: ActorClient,
    readonly place: Place,
    readonly user: string,
    private readonly onChange: () => void,
  ) {
    const room = actors.getOrCreate(ChatRoom, [place.org, place.room]);
    const connection = room.connect({ user });
    this.connection = connection;
    connection.onStatusChange(() => this.statusChanged());
    connection.onOpen(({ resumed }) => void this.load(resumed && this.loaded));
    connection.on("messagePosted", ({ message }) => {
      if (message !== undefined) {
        this.addMessage(message);
        this.stopTypist(message.author);
        this.onChange();
      }
    });
    connection.on("memberJoined", ({ user: joined }, { time }) => this.memberChanged(joined, true, time));
    connection.on("memberLeft", ({ user: left }, { time }) => this.memberChanged(left, false, time));
    connection.on("memberTyping", ({ user: typist, typing }) => this.memberTyping(typist, typing));
  }

  get status(): ConnectionStatus {
    return this.connection.status;
  }

  /** Whether the connection was open before. */
  get wasOpen(): boolean {
    return this.opens > 0;
  }

  /** What the room shows, oldest first. */
  get lines(): Line[] {
    return [...this.messages.values(), ...this.notes].sort((a, b) => a.at - b.at || Number(a.id) - Number(b.id) || 0);
  }

  /** Who else is typing. */
  get typing(): string[] {
    return [...this.typists.keys()];
  }

  async send(text: string): Promise<void> {
    this.setTyping(false);
    const message: Outgoing = { id: `out-${++this.counter}`, text, at: Date.now(), failure: undefined };
    this.outgoing.push(message);
    this.onChange();
    await this.deliver(message);
  }

  async sendAgain(message: Outgoing): Promise<void> {
    message.failure = undefined;
    this.onChange();
    await this.deliver(message);
  }

  discard(message: Outgoing): void {
    this.outgoing = this.outgoing.filter((other) => other !== message);
    this.onChange();
  }

  /** Tells the others, now and then, that the user types. */
  typed(): void {
    if (this.status !== "connected") {
      return;
    }
    const now = Date.now();
    if (this.typingSince === undefined || now - this.typingSince > typingEveryMs) {
      this.setTyping(true);
      this.typingSince = now;
    }
    clearTimeout(this.typingEnd);
    this.typingEnd = setTimeout(() => this.setTyping(false), typingMs / 2);
  }

  dispose(): void {
    clearTimeout(this.typingEnd);
    for (const timer of this.typists.values()) {
      clearTimeout(timer);
    }
    this.typists.clear();
    this.connection.dispose();
  }

  private async deliver(message: Outgoing): Promise<void> {
    try {
      const { message: posted } = await this.connection.actor.send({ text: message.text }, { timeoutMs: 15_000 });
      if (posted !== undefined) {
        this.addMessage(posted);
      }
      this.discard(message);
    } catch (thrown) {
      message.failure = wasNotExecuted(thrown)
        ? `Not sent: ${describe(thrown)}.`
        : `Nobody knows whether this was sent: ${describe(thrown)}.`;
      this.onChange();
    }
  }

  /**
   * Reads the content. Called whenever the connection opens, so that nothing is
   * missing. A connection that resumed gets the messages that it missed as events;
   * who is there is read all the same: nobody says goodbye to a server that died.
   */
  private async load(resumed: boolean): Promise<void> {
    const open = ++this.opens;
    this.sinceOpen = [];
    this.loaded = resumed;
    const known = new Set(this.messages.keys());
    try {
      const { actor } = this.connection;
      const [history, members] = await Promise.all([
        resumed ? undefined : actor.history({ limit: historyLimit }),
        actor.members({}),
      ]);
      if (open !== this.opens) {
        return; // it opened again meanwhile, and reads again
      }
      if (history !== undefined) {
        // What came live meanwhile is newer than what was read.
        const live = [...this.messages].filter(([id]) => !known.has(id));
        this.messages = new Map();
        for (const message of history.messages) {
          this.addMessage(message);
        }
        for (const [id, line] of live) {
          this.messages.set(id, line);
        }
      }
      this.members = members.users;
      for (const { joined, user } of this.sinceOpen) {
        this.setMember(user, joined);
      }
      this.loaded = true;
      this.error = undefined;
    } catch (thrown) {
      if (open === this.opens && this.status === "connected") {
        this.error = `The room could not be read: ${describe(thrown)}.`;
      }
    }
    this.onChange();
  }

  private addMessage({ id, author, text, sentAt }: Message): void {
    const at = sentAt ? timestampMs(sentAt) : Date.now();
    this.messages.set(id, { kind: "message", id, author, text, at });
    // Ours, whose reply was lost, got there after all.
    const lost = this.outgoing.find(
      (mine) => mine.failure !== undefined && author === this.user && text === mine.text && at > mine.at - 5000,
    );
    if (lost !== undefined) {
      this.outgoing = this.outgoing.filter((other) => other !== lost);
    }
  }

  private memberChanged(user: string, joined: boolean, time: Timestamp | undefined): void {
    if (user === this.user && !joined) {
      return; // of a connection before this one, told by its replay
    }
    this.sinceOpen.push({ joined, user });
    this.setMember(user, joined);
    if (!joined) {
      this.stopTypist(user);
    }
    if (user !== this.user) {
      const at = time ? timestampMs(time) : Date.now();
      this.notes.push({
        kind: "note",
        id: `note-${++this.counter}`,
        text: `${user} ${joined ? "joined" : "left"}`,
        at,
      });
      this.notes.splice(0, this.notes.length - keptNotes);
    }
    this.onChange();
  }

  private setMember(user: string, present: boolean): void {
    const others = this.members.filter((member) => member !== user);
    this.members = present ? [...others, user].sort((a, b) => a.localeCompare(b)) : others;
  }

  private memberTyping(user: string, typing: boolean): void {
    this.stopTypist(user);
    if (typing && user !== this.user) {
      this.typists.set(
        user,
        setTimeout(() => this.memberTyping(user, false), typingMs),
      );
    }
    this.onChange();
  }

  private stopTypist(user: string): void {
    clearTimeout(this.typists.get(user));
    this.typists.delete(user);
  }

  private setTyping(typing: boolean): void {
    if (typing === (this.typingSince !== undefined) && !typing) {
      return;
    }
    clearTimeout(this.typingEnd);
    this.typingSince = undefined;
    if (this.status === "connected") {
      // Nothing hangs on it: a failure is not worth a word.
      this.connection.actor.setTyping({ typing }).catch(() => {});
    }
  }

  private statusChanged(): void {
    const { closed } = this.connection;
    if (this.status !== "connected") {
      for (const user of this.typing) {
        this.stopTypist(user);
      }
    }
    if (closed?.error !== undefined) {
      this.error = `The connection is over: ${describe(closed.error)}.`;
    }
    this.onChange();
  }
}

function describe(thrown: unknown): string {
  if (!(thrown instanceof ActorError)) {
    return String(thrown);
  }
  const violations = thrown.violations.map(({ field, message }) => `${field}: ${message}`);
  return violations.length > 0 ? violations.join("; ") : thrown.rawMessage.replace(/\.$/, "") || "no reason was given";
}
