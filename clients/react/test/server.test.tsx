// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// On a server nothing is mounted: rendering reads at most and opens nothing.

import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { Suspense } from "react";
import { renderToPipeableStream, renderToString } from "react-dom/server";
import { ChatRoom } from "../../../gen/ts/chat/v1/chat_pb.js";
import {
  ActorProvider,
  defineSnapshot,
  readSnapshot,
  type SnapshotStart,
  useAction,
  useActor,
  useEvent,
  useSnapshot,
  useSuspenseSnapshot,
} from "../src/index.js";
import { Room } from "./room.js";
import { settle } from "./settle.js";

const history = defineSnapshot(ChatRoom, "history", { messagePosted: "reread" });
type Start = SnapshotStart<Awaited<ReturnType<typeof readSnapshot<typeof ChatRoom, "history">>>["reply"]>;

function Page({ start }: { start?: Start }) {
  const actor = useActor(ChatRoom, "general", { params: { user: "Ada" } });
  const { data, pending } = useSnapshot(actor, history, {}, { start });
  const { pending: sending } = useAction(actor, "send");
  useEvent(actor, "memberTyping", () => {});
  return <b>{`${actor.status} ${pending} ${sending} ${data?.messages.length ?? "none"}`}</b>;
}

function Waiting() {
  const actor = useActor(ChatRoom, "general", { params: { user: "Ada" } });
  const { data } = useSuspenseSnapshot(actor, history, {});
  return <b>{data.messages.map(({ text }) => text)}</b>;
}

test("renderToString calls nothing and opens nothing", async () => {
  const room = new Room();
  const subscribed: string[] = [];
  room.onSubscribe = () => void subscribed.push("stream");
  const markup = renderToString(
    <ActorProvider client={room.client}>
      <Page />
    </ActorProvider>,
  );
  assert.equal(markup, "<b>connecting true false none</b>");
  await settle();
  assert.deepEqual([subscribed, room.calls], [[], []]);
});

test("what was read before is in the page", async () => {
  const room = new Room();
  room.post("Bob", "hello");
  const start = await readSnapshot(room.client.getOrCreate(ChatRoom, "general"), history, {});
  const markup = renderToString(
    <ActorProvider client={room.client}>
      <Page start={start} />
    </ActorProvider>,
  );
  assert.equal(markup, "<b>connecting false false 1</b>");
  assert.deepEqual(room.calls, ["history"]);
});

test("a suspended component is streamed when it was read, by a call and no stream", async () => {
  const room = new Room();
  const subscribed: string[] = [];
  room.onSubscribe = () => void subscribed.push("stream");
  room.post("Bob", "hello");
  const out = new PassThrough();
  const { pipe } = renderToPipeableStream(
    <ActorProvider client={room.client}>
      <Suspense fallback="waiting">
        <Waiting />
      </Suspense>
    </ActorProvider>,
    { onAllReady: () => void pipe(out) },
  );
  assert.match(await text(out), /<b>hello<\/b>/);
  await settle();
  assert.deepEqual([subscribed, room.calls], [[], ["history"]]);
});
