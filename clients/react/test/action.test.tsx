// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import * as React from "react";
import { ChatRoom, type HistoryResponse, type Message, MessageSchema } from "../../../gen/ts/chat/v1/chat_pb.js";
import { type ActionState, type Actor, defineSnapshot, useAction, useActor, useSnapshot } from "../src/index.js";
import { eventually, happens, mount } from "./page.js";
import { Latch, Room } from "./room.js";

function add(state: HistoryResponse, message: Message | undefined): HistoryResponse {
  return message === undefined || state.messages.some(({ id }) => id === message.id)
    ? state
    : { ...state, messages: [...state.messages, message] };
}

const history = defineSnapshot(ChatRoom, "history", { messagePosted: (state, { message }) => add(state, message) });

let send: ActionState<typeof ChatRoom, "send">;

function Chat() {
  const actor = useActor(ChatRoom, "general", { params: { user: "Ada" } });
  const shown = useSnapshot(actor, history, {});
  send = useAction(actor, "send", {
    snapshot: shown,
    optimistic: (state, { text }) => add(state, create(MessageSchema, { id: "new", author: "Ada", text: `(${text})` })),
    confirmed: (state, { message }) => add(state, message),
  });
  const words = shown.data?.messages.map(({ text }) => text).join(" ");
  return <b>{`${words}|${send.pending ? "…" : ""}${send.error?.rawMessage ?? ""}${send.data?.message?.text ?? ""}`}</b>;
}

test("an action shows what it will do, and then what it did, whichever of reply and event is first", async (t) => {
  const room = new Room();
  const page = await mount(t, room, <Chat />);
  const reply = new Latch();
  room.onCall = () => reply.promise;
  await happens(() => send.run({ text: "a" }));
  assert.equal(page.text(), "(a)|…");
  await happens(() => room.post("Bob", "b"));
  assert.equal(page.text(), "b (a)|…", "events come below what is expected");
  await happens(() => reply.open());
  await eventually(() => assert.equal(page.text(), "b a|a"));
});

const topic = defineSnapshot(ChatRoom, "topic", { topicChanged: (state, event) => ({ ...state, topic: event.topic }) });
let rename: ActionState<typeof ChatRoom, "setTopic">;

function Topic() {
  const actor = useActor(ChatRoom, "general", { params: { user: "Ada" } });
  const shown = useSnapshot(actor, topic, {});
  rename = useAction(actor, "setTopic", {
    snapshot: shown,
    optimistic: (state, request) => ({ ...state, topic: `(${request.topic})` }),
  });
  return <b>{shown.data?.topic}</b>;
}

test("a change that is left to its event is shown until the event is here", async (t) => {
  const room = new Room();
  const page = await mount(t, room, <Topic />);
  const reply = new Latch();
  room.onCall = () => reply.promise;
  await happens(() => rename.run({ topic: "tea" }));
  assert.equal(page.text(), "(tea)");
  await happens(() => reply.open());
  await eventually(() => assert.equal(page.text(), "tea"));
  await happens(() => room.publish({ case: "topicChanged", value: { topic: "milk" } }));
  assert.equal(page.text(), "milk", "nothing of the change is left");
});

test("an action that fails is rolled back and tells why", async (t) => {
  const room = new Room();
  const page = await mount(t, room, <Chat />);
  const reply = new Latch();
  room.onCall = async () => {
    await reply.promise;
    throw new ConnectError("the room is full", Code.ResourceExhausted);
  };
  await happens(() => send.run({ text: "a" }));
  assert.equal(page.text(), "(a)|…");
  await happens(() => reply.open());
  await eventually(() => assert.equal(page.text(), "|the room is full"));
  await happens(() => assert.rejects(send.call({ text: "b" }), { name: "ActorError", code: Code.ResourceExhausted }));
  await happens(() => send.reset());
  assert.equal(page.text(), "|");
});

test("of calls that overlap the newest one's result stays, and each has its own change", async (t) => {
  const room = new Room();
  const page = await mount(t, room, <Chat />);
  const latches = [new Latch(), new Latch()];
  let n = 0;
  room.onCall = () => latches[n++]?.promise;
  await happens(() => {
    send.run({ text: "a" });
    send.run({ text: "b" });
  });
  assert.equal(page.text(), "(a)|…", "both changes have the same id here");
  await happens(() => latches[1]?.open());
  await happens(() => latches[0]?.open());
  await eventually(() => assert.match(page.text(), /^(a b|b a)\|b$/));
});

test("an action whose component is gone still ends well", async (t) => {
  const room = new Room();
  const page = await mount(t, room, <Chat />);
  const reply = new Latch();
  room.onCall = () => reply.promise;
  await happens(() => send.run({ text: "a" }));
  await page.render(<i />);
  await happens(() => reply.open());
  assert.deepEqual(
    room.messages.map(({ text }) => text),
    ["a"],
  );
});

test("an action is called as the connection also while that waits for what is read first", async (t) => {
  const room = new Room();
  const read = new Latch();
  room.onCall = (method) => (method === "history" ? read.promise : undefined);
  await mount(t, room, <Chat />);
  assert.deepEqual([room.calls, room.streams.length], [["history"], 0]);
  await happens(() => send.call({ text: "a" }));
  assert.deepEqual(room.conns, ["conn-1.secret"]);
  await happens(() => read.open());
});

function Greeter({ actor }: { actor: Actor<typeof ChatRoom> }) {
  const { run } = useAction(actor, "send");
  React.useEffect(() => run({ text: "hello" }), [run]);
  return null;
}

function Host() {
  return <Greeter actor={useActor(ChatRoom, "general", { params: { user: "Ada" } })} />;
}

test("an action that a child runs as it is mounted is called as the connection", async (t) => {
  const room = new Room();
  await mount(t, room, <Host />);
  await eventually(() => assert.ok(room.conns.length > 0));
  assert.ok(!room.conns.includes(null), "none is called outside of it");
});

const Activity = (React as { Activity?: React.ComponentType<{ mode: string; children: React.ReactNode }> }).Activity;

test("an action that ends while its component is hidden has ended when it is shown", {
  skip: Activity === undefined && "this React hides nothing",
}, async (t) => {
  const Part = Activity ?? React.Fragment;
  const room = new Room();
  const shown = (mode: string) => (
    <Part mode={mode}>
      <Chat />
    </Part>
  );
  const page = await mount(t, room, shown("visible"));
  const reply = new Latch();
  room.onCall = (method) => (method === "send" ? reply.promise : undefined);
  await happens(() => send.run({ text: "a" }));
  assert.equal(page.text(), "(a)|…");
  await page.render(shown("hidden"));
  await happens(() => reply.open());
  await page.render(shown("visible"));
  await eventually(() => assert.equal(page.text(), "a|a"));
});

let faulty: ActionState<typeof ChatRoom, "send">;

function Faulty({ confirmed }: { confirmed: boolean }) {
  const actor = useActor(ChatRoom, "general", { params: { user: "Ada" } });
  const shown = useSnapshot(actor, history, {});
  const fail = (): HistoryResponse => {
    throw new TypeError("no such note");
  };
  faulty = useAction(actor, "send", {
    snapshot: shown,
    optimistic: (state) => (confirmed ? state : fail()),
    confirmed: fail,
  });
  const words = shown.data?.messages.map(({ text }) => text).join(" ");
  return (
    <b>{`${words}|${faulty.pending ? "…" : ""}${faulty.error?.reason ?? ""}${faulty.data?.message?.text ?? ""}`}</b>
  );
}

test("an action whose expectation fails says so and is not sent", async (t) => {
  const room = new Room();
  const page = await mount(t, room, <Faulty confirmed={false} />);
  await happens(() => faulty.run({ text: "a" }));
  assert.equal(page.text(), "|optimistic_failed");
  await happens(() =>
    assert.rejects(faulty.call({ text: "b" }), { name: "ActorError", code: Code.Unknown, outcome: "not_executed" }),
  );
  assert.ok(!room.calls.includes("send"));
});

test("an action that took effect has not failed because its reply cannot be put in", async (t) => {
  const room = new Room();
  const page = await mount(t, room, <Faulty confirmed />);
  const posted = new Latch();
  room.onCall = (method) => (method === "history" ? posted.promise : undefined);
  await happens(() => assert.rejects(faulty.call({ text: "a" }), TypeError));
  assert.equal(faulty.error, undefined);
  assert.equal(faulty.data?.message?.text, "a");
  await happens(() => posted.open());
  await eventually(() => assert.equal(page.text(), "a|a"));
  assert.deepEqual(room.calls, ["history", "send", "history"], "the state is read anew");
});
