// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// What the compiler must accept and refuse. Nothing here is called; a line that
// is expected to fail and compiles fails the type check.

import type { GenService } from "@bufbuild/protobuf/codegenv2";
import {
  ChatRoom,
  type ChatRoomEventSchema,
  type HistoryResponse,
  type Message,
  type SendRequestSchema,
  type SendResponseSchema,
  type SubscribeRequestSchema,
} from "../../../gen/ts/chat/v1/chat_pb.js";
import { Counter } from "../../../gen/ts/counter/v1/counter_pb.js";
import {
  type ActorClient,
  ActorService,
  type CloseInfo,
  type CloseReason,
  type SubscriptionName,
} from "../src/index.js";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function is<T extends true>(_?: T): void {}

is<Equal<SubscriptionName<typeof ChatRoom>, "subscribe">>();
is<Equal<SubscriptionName<typeof ActorService>, never>>();
is<Equal<CloseInfo["reason"], "disposed" | "error" | Lowercase<keyof typeof CloseReason>>>();

export async function calls(actors: ActorClient) {
  const room = actors.getOrCreate(ChatRoom, ["acme", "general"], { params: { user: "ada" } });
  const sent = await room.send({ text: "hi" }, { timeoutMs: 1000 });
  is<Equal<typeof sent.message, Message | undefined>>();
  const history = await room.rpc.history({ limit: 3 });
  is<Equal<typeof history, HistoryResponse>>();
  actors.get(ChatRoom, "one");
  actors.forId(ChatRoom, "id");
  const created = await actors.create(ChatRoom, []);
  await created.members({});

  // @ts-expect-error a field that is not there
  room.send({ words: "hi" });
  // @ts-expect-error a value of the wrong type
  room.send({ text: 1 });
  // @ts-expect-error a method that is not there
  room.shout({});
  // @ts-expect-error the subscription is no action
  room.subscribe({ user: "ada" });
  // @ts-expect-error nor by its own name
  room.rpc.subscribe({ user: "ada" });
  // @ts-expect-error a key of numbers
  actors.getOrCreate(ChatRoom, [1]);
  // @ts-expect-error the parameters of another type
  actors.getOrCreate(ChatRoom, [], { params: { name: "ada" } });
  // @ts-expect-error get creates nothing
  actors.get(ChatRoom, [], { input: {} });
}

export async function connections(actors: ActorClient, signal: AbortSignal) {
  const room = actors.getOrCreate(ChatRoom, "general");
  const connection = room.connect({ user: "ada" }, { signal });
  room.connect(() => ({ user: "ada" }));
  room.connect(async () => ({ user: "ada" }));
  actors.getOrCreate(Counter, "c").connect();
  connection.on("messagePosted", ({ message }, info) => {
    is<Equal<typeof message, Message | undefined>>();
    is<Equal<typeof info.head, bigint>>();
  });
  const off: () => void = connection.once("memberTyping", ({ user, typing }) => `${user} ${typing}`);
  off();
  for await (const event of connection) {
    if (event.case === "memberLeft") {
      is<Equal<typeof event.value.user, string>>();
    }
    // @ts-expect-error an event that is not there
    if (event.case === "memberShouted") break;
  }
  await connection.actor.send({ text: "hi" });

  // @ts-expect-error an event that is not there
  connection.on("memberShouted", () => {});
  // @ts-expect-error the payload of another event
  connection.on("memberLeft", ({ typing }) => typing);
  // @ts-expect-error parameters of the wrong type
  room.connect({ user: 1 });
  // @ts-expect-error a connection has no connections
  connection.actor.connect({});
  // @ts-expect-error a service without a subscription has none
  actors.getOrCreate(ActorService, "x").connect();
}

/** An actor type whose RPCs are named like what a handle has. */
type Colliding = GenService<{
  connect: { methodKind: "unary"; input: typeof SendRequestSchema; output: typeof SendResponseSchema };
  then: { methodKind: "unary"; input: typeof SendRequestSchema; output: typeof SendResponseSchema };
  follow: {
    methodKind: "server_streaming";
    input: typeof SubscribeRequestSchema;
    output: typeof ChatRoomEventSchema;
  };
  tokens: { methodKind: "server_streaming"; input: typeof SendRequestSchema; output: typeof SendResponseSchema };
}>;

export async function collisions(actors: ActorClient, service: Colliding) {
  const handle = actors.getOrCreate(service, "x");
  handle.connect({ user: "ada" }).dispose();
  await handle.rpc.connect({ text: "hi" });
  await handle.rpc.then({ text: "hi" });
  for await (const { message } of handle.tokens({ text: "hi" })) {
    is<Equal<typeof message, Message | undefined>>();
  }
  // @ts-expect-error hidden by the handle's own
  handle.connect({ text: "hi" });
  // @ts-expect-error would make the handle a promise
  handle.then({ text: "hi" });
}
