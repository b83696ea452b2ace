// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, createRouterTransport, type HandlerContext } from "@connectrpc/connect";
import { createClient } from "@troupe/client";
import {
  ChatRoom,
  type ChatRoomEvent,
  ChatRoomEventSchema,
  type Message,
  MessageSchema,
} from "../../../gen/ts/chat/v1/chat_pb.js";

type Event = MessageInitShape<typeof ChatRoomEventSchema>["event"];

/** One subscription. */
export interface Stream {
  readonly user: string;
  readonly resumedFrom: string | null;
  readonly events: string | null;
  /** Breaks it. */
  cut(error?: unknown): void;
}

/**
 * A chat room with an event log, as far as subscriptions and cursors go the way
 * the server has it: a stream begins after its cursor, or is refused.
 */
export class Room {
  readonly streams: Stream[] = [];
  readonly calls: string[] = [];
  /** The connection of each message that was sent; null for none. */
  readonly conns: (string | null)[] = [];
  readonly messages: Message[] = [];
  private topic = "";
  private readonly log: Event[] = [];
  /** Cursors before this are refused. */
  private oldest = 0;
  private readonly wakes = new Set<() => void>();
  /** Each may hold up or fail the next call or subscription: the test decides. */
  onCall: (method: string) => void | Promise<void> = () => {};
  onSubscribe: () => void | Promise<void> = () => {};

  private readonly transport = createRouterTransport((router) => {
    router.service(ChatRoom, {
      send: async ({ text }, context) => {
        this.conns.push(context.requestHeader.get("actor-conn"));
        await this.called("send");
        const message = this.post("Ada", text);
        return this.reply(context, { message });
      },
      history: async (_, context) => {
        await this.called("history");
        const messages = [...this.messages];
        return this.reply(context, { messages });
      },
      topic: async (_, context) => {
        await this.called("topic");
        return this.reply(context, { topic: this.topic });
      },
      setTopic: async ({ topic }, context) => {
        await this.called("setTopic");
        this.topic = topic;
        this.publish({ case: "topicChanged", value: { topic } });
        return this.reply(context, {});
      },
      members: async (_, context) => {
        await this.called("members");
        return this.reply(context, { users: this.streams.map(({ user }) => user) });
      },
      subscribe: (request, context) => this.subscribe(request.user, context),
    });
  });

  readonly client = createClient({ transport: this.transport, retry: false });

  /** Posts a message as the actor does: state and event. */
  post(author: string, text: string): Message {
    const message = create(MessageSchema, { id: String(this.messages.length + 1), author, text });
    this.messages.push(message);
    this.publish({ case: "messagePosted", value: { message } });
    return message;
  }

  publish(event: Event): void {
    this.log.push(event);
    this.wake();
  }

  /** The log forgets what there is. */
  forget(): void {
    this.oldest = this.log.length;
  }

  private wake(): void {
    for (const wake of this.wakes) {
      wake();
    }
  }

  private async called(method: string): Promise<void> {
    this.calls.push(method);
    await this.onCall(method);
  }

  private reply<R>(context: HandlerContext, reply: R): R {
    context.responseHeader.set("actor-cursor", cursorOf(this.log.length));
    return reply;
  }

  private async *subscribe(user: string, context: HandlerContext): AsyncGenerator<ChatRoomEvent> {
    await this.onSubscribe();
    const resumedFrom = context.requestHeader.get("actor-resume");
    const filter = context.requestHeader.get("actor-events");
    let next = resumedFrom === null ? this.log.length : Number(resumedFrom.slice(1));
    if (next < this.oldest) {
      throw new ConnectError("the log has forgotten", Code.OutOfRange);
    }
    let failure: unknown;
    if (context.signal.aborted) {
      return;
    }
    let over = false;
    let wake = () => {};
    const woken = () => wake();
    const stream: Stream = {
      user,
      resumedFrom,
      events: filter,
      cut: (error = new ConnectError("cut", Code.Unavailable)) => {
        failure = error;
        over = true;
        wake();
      },
    };
    const leave = () => {
      this.wakes.delete(woken);
      this.streams.splice(0, this.streams.length, ...this.streams.filter((other) => other !== stream));
    };
    this.streams.push(stream);
    this.wakes.add(woken);
    context.signal.addEventListener("abort", () => {
      over = true;
      leave(); // nobody may ever ask for the next frame
      wake();
    });
    try {
      const id = `conn-${this.streams.length}`;
      const opened = { connectionId: id, connection: `${id}.secret`, actorId: "a1", resumed: resumedFrom !== null };
      yield create(ChatRoomEventSchema, {
        info: { cursor: cursorOf(next), control: { case: "opened", value: opened } },
      });
      while (!over) {
        const event = this.log[next];
        if (event !== undefined) {
          next++;
          if (filter === null || filter.split(",").includes(event.case ?? "")) {
            yield create(ChatRoomEventSchema, { info: { cursor: cursorOf(next), head: BigInt(next) }, event });
          }
          continue;
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      if (failure !== undefined) {
        throw failure;
      }
    } finally {
      leave();
    }
  }
}

function cursorOf(number: number): string {
  return `c${number}`;
}

/** Something that a test lets happen when it wants. */
export class Latch {
  private opened: () => void = () => {};
  readonly promise = new Promise<void>((resolve) => {
    this.opened = resolve;
  });

  open(): void {
    this.opened();
  }
}
