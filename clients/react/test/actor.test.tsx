// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import assert from "node:assert/strict";
import { test } from "node:test";
import { useState, version } from "react";
import { ChatRoom } from "../../../gen/ts/chat/v1/chat_pb.js";
import { cacheOf } from "../src/cache.js";
import { type Actor, useActor, useEvent } from "../src/index.js";
import { eventually, happens, mount } from "./page.js";
import { Latch, Room } from "./room.js";

declare const REACT: string;

function Status({ user = "Ada", room = "general", enabled = true }) {
  const { status } = useActor(ChatRoom, ["acme", room], { params: { user }, enabled });
  return <b>{status} </b>;
}

test("the React under test is the one that is meant", () => {
  assert.equal(version.split(".")[0], REACT);
});

test("equal actors share one connection, in strict mode too, and the last to leave closes it", async (t) => {
  const room = new Room();
  const subscribed: string[] = [];
  room.onSubscribe = () => void subscribed.push("stream");
  const page = await mount(
    t,
    room,
    <>
      <Status />
      <Status />
    </>,
  );
  assert.equal(page.text(), "connected connected ");
  assert.equal(subscribed.length, 1);
  await page.render(<Status />);
  assert.equal(page.text(), "connected ");
  assert.equal(room.streams.length, 1);
  await page.render(<i />);
  await eventually(() => assert.equal(room.streams.length, 0));
  await page.render(<Status />);
  await eventually(() => assert.equal(page.text(), "connected "));
  assert.equal(subscribed.length, 2);
});

test("a component that is back at once finds the connection as it was", async (t) => {
  const room = new Room();
  const page = await mount(t, room, <Status />, { releaseAfterMs: 60_000 });
  const [stream] = room.streams;
  await page.render(<i />);
  await page.render(<Status />);
  assert.deepEqual(room.streams, [stream]);
  assert.equal(page.text(), "connected ");
  cacheOf(room.client).releaseAfterMs = 0; // for the end of the test
});

test("other parameters, another actor: another connection; a disabled one: none", async (t) => {
  const room = new Room();
  const page = await mount(
    t,
    room,
    <>
      <Status />
      <Status user="Bob" />
      <Status room="lobby" />
      <Status user="Carol" enabled={false} />
    </>,
  );
  assert.equal(page.text(), "connected connected connected idle ");
  assert.deepEqual(room.streams.map(({ user }) => user).sort(), ["Ada", "Ada", "Bob"]);
  await page.render(<Status user="Carol" enabled />);
  await eventually(() =>
    assert.deepEqual(
      room.streams.map(({ user }) => user),
      ["Carol"],
    ),
  );
  assert.equal(page.text(), "connected ");
});

function Named({ user }: { user: string }) {
  return <b>{useActor(ChatRoom, "x", { params: () => ({ user }) }).status}</b>;
}

test("parameters given as a function: the newest one is asked", async (t) => {
  const room = new Room();
  const page = await mount(t, room, <Named user="old" />);
  await page.render(<Named user="new" />);
  assert.deepEqual(
    room.streams.map(({ user }) => user),
    ["old"],
    "a render alone reconnects nothing",
  );
  await happens(() => room.streams[0]?.cut());
  await eventually(() =>
    assert.deepEqual(
      room.streams.map(({ user }) => user),
      ["new"],
    ),
  );
});

let shown: Actor<typeof ChatRoom> | undefined;

function Shown() {
  const actor = useActor(ChatRoom, "x", { params: { user: "Ada" } });
  shown = actor;
  return <b>{`${actor.status} ${actor.error?.rawMessage ?? "-"}`}</b>;
}

test("an error shows until the connection is back, and reconnect makes a closed one anew", async (t) => {
  const room = new Room();
  const page = await mount(t, room, <Shown />);
  assert.equal(page.text(), "connected -");
  await happens(() => room.streams[0]?.cut(new Error("broken")));
  await eventually(() => assert.equal(page.text(), "connected -"));
  await happens(() => shown?.connection?.dispose());
  assert.equal(page.text(), "closed -");
  await happens(() => shown?.reconnect());
  await eventually(() => assert.equal(page.text(), "connected -"));
});

function Ear({ heard }: { heard: string[] }) {
  const [n, setN] = useState(0);
  const actor = useActor(ChatRoom, "x", { params: { user: "Ada" } });
  useEvent(actor, "messagePosted", ({ message }) => {
    heard.push(`${n}:${message?.text}`);
    setN(n + 1);
  });
  return <b>{n}</b>;
}

test("useEvent calls the newest closure, in order, also for what was missed", async (t) => {
  const room = new Room();
  const heard: string[] = [];
  const page = await mount(t, room, <Ear heard={heard} />);
  await happens(() => room.post("Bob", "a"));
  await happens(() => room.post("Bob", "b"));
  const back = new Latch();
  room.onSubscribe = () => back.promise;
  await happens(() => {
    room.streams[0]?.cut();
    room.post("Bob", "c");
  });
  back.open();
  await eventually(() => assert.equal(page.text(), "3"));
  assert.deepEqual(heard, ["0:a", "1:b", "2:c"]);
});

function Child({ actor, heard }: { actor: Actor<typeof ChatRoom>; heard: string[] }) {
  useEvent(actor, "messagePosted", ({ message }) => void heard.push(message?.text ?? ""));
  return null;
}

function Parent({ heard }: { heard: string[] }) {
  return <Child actor={useActor(ChatRoom, "x", { params: { user: "Ada" } })} heard={heard} />;
}

test("a child that listens needs no help from its parent's order", async (t) => {
  const room = new Room();
  const heard: string[] = [];
  await mount(t, room, <Parent heard={heard} />);
  await happens(() => room.post("Bob", "hello"));
  assert.deepEqual(heard, ["hello"]);
});
