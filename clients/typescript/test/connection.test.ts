// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, ConnectError } from "@connectrpc/connect";
import { CloseReason } from "../../../gen/ts/troupe/v1/events_pb.js";
import { settle } from "./clock.js";
import { setup } from "./connected.js";
import { Outcome_Outcome, wireError } from "./room.js";

test("a connection opens, tells its events in order and is disposed of", async () => {
  const { room, connection, statuses, closes } = setup();
  const seen: string[] = [];
  connection.onOpen((info) => assert.deepEqual(connection.info, info));
  connection.on("memberJoined", ({ user }, info) => seen.push(`${user}@${info.cursor}`));
  connection.once("memberJoined", ({ user }) => seen.push(`once ${user}`));
  const off = connection.on("memberLeft", () => seen.push("left"));
  off();
  await settle();
  assert.equal(room.stream.request.user, "ada");
  assert.equal(room.stream.headers.get("actor-key"), "acme/general");
  assert.equal(room.stream.headers.get("actor-resume"), null);
  room.stream.open().joined("bob", "c2").joined("eve", "c3");
  room.stream.send({ info: {}, event: { case: "memberLeft", value: { user: "bob" } } });
  assert.deepEqual(await connection.ready(), {
    connectionId: "conn-1",
    actorId: "actor-1",
    resumed: false,
    reconnected: false,
  });
  await settle();
  assert.deepEqual(seen, ["bob@c2", "once bob", "eve@c3"]);
  connection.dispose();
  connection.dispose();
  await settle();
  assert.ok(room.stream.cancelled);
  assert.deepEqual(statuses, ["connecting", "connected", "closed"]);
  assert.deepEqual(closes, [{ reason: "disposed", message: "" }]);
  assert.equal(room.streams.length, 1);
});

test("unknown events and events that no listener wants do no harm", async () => {
  const { room, connection } = setup();
  assert.throws(() => connection.on("nothing" as never, () => {}), TypeError);
  await settle();
  room.stream
    .open()
    .send({ info: { cursor: "c9" } })
    .heartbeat()
    .joined("bob");
  await settle();
  assert.equal(connection.status, "connected");
  connection.dispose();
});

test("a stream that ends is opened again, later and later", async () => {
  const { room, clock, connection, statuses } = setup();
  const errors: string[] = [];
  connection.onError((error) => errors.push(error.reason));
  await settle();
  room.stream.open().end();
  await settle();
  assert.equal(connection.status, "disconnected");
  await clock.advance(249);
  assert.equal(room.streams.length, 1);
  await clock.advance(1);
  assert.equal(room.streams.length, 2);
  room.stream.open();
  assert.equal((await connection.ready()).reconnected, true);
  room.stream.end(new ConnectError("broken", Code.Unavailable));
  await clock.advance(499);
  assert.equal(room.streams.length, 2);
  await clock.advance(1);
  assert.equal(room.streams.length, 3);
  assert.deepEqual(errors, ["stream_ended", ""]);
  assert.deepEqual(statuses, [
    ...["connecting", "connected", "disconnected", "connecting", "connected", "disconnected", "connecting"],
  ]);
  // A connection that lasts starts the back-off over.
  room.stream.open();
  await clock.advance(5000);
  room.stream.end();
  await clock.advance(250);
  assert.equal(room.streams.length, 4);
  connection.dispose();
});

test("reconnectNow ends the wait", async () => {
  const { room, connection } = setup();
  await settle();
  room.stream.open().end();
  await settle();
  connection.reconnectNow();
  await settle();
  assert.equal(room.streams.length, 2);
  connection.dispose();
});

test("parameters and headers are made anew for every attempt", async () => {
  let n = 0;
  const { room, clock, connection } = setup({}, async () => ({ user: `ada-${++n}` }));
  await settle();
  room.stream.open().end();
  await clock.advance(250);
  assert.deepEqual(
    room.streams.map(({ request }) => request.user),
    ["ada-1", "ada-2"],
  );
  connection.dispose();
});

test("silence longer than two and a half heartbeats cuts the stream", async () => {
  const { room, clock, connection } = setup({ backoffBaseMs: 0 });
  const reasons: string[] = [];
  connection.onError((error) => reasons.push(error.reason));
  await settle();
  room.stream.open(1000);
  await clock.advance(2400);
  room.stream.heartbeat();
  await clock.advance(2499);
  assert.equal(connection.status, "connected");
  assert.equal(room.streams.length, 1);
  await clock.advance(1);
  assert.deepEqual(reasons, ["heartbeat_missed"]);
  assert.equal(room.streams.length, 2);
  assert.ok(room.streams[0]?.cancelled);
  connection.dispose();
  await settle();
  assert.equal(clock.pending, 0);
});

test("an attempt that gets no answer is given up", async () => {
  const { room, clock, connection } = setup({ openTimeoutMs: 3000, backoffBaseMs: 0 });
  await clock.advance(2999);
  assert.equal(room.streams.length, 1);
  await clock.advance(1);
  assert.equal(room.streams.length, 2);
  connection.dispose();
});

test("a closing frame says when to come back", async () => {
  const { room, clock, connection, closes } = setup({ stableMs: 0 });
  await settle();
  room.stream.open().closing(CloseReason.SHUTDOWN, 1500);
  await clock.advance(1499);
  assert.equal(connection.status, "disconnected");
  assert.equal(room.streams.length, 1);
  await clock.advance(1);
  assert.equal(room.streams.length, 2);
  assert.deepEqual(closes, []);
  connection.dispose();
});

test("a closing frame that does not is the end", async () => {
  const { room, connection, closes } = setup();
  const loop = (async () => {
    for await (const _ of connection);
  })();
  await settle();
  room.stream.open().closing(CloseReason.DESTROYED);
  await assert.rejects(loop, { reason: "connection_destroyed", code: Code.NotFound });
  assert.equal(connection.status, "closed");
  assert.equal(closes[0]?.reason, "destroyed");
  await assert.rejects(connection.ready(), { reason: "connection_closed", outcome: "not_executed" });
  await assert.rejects(connection.actor.send({ text: "x" }), { reason: "connection_closed" });
});

for (const code of [
  ...[Code.InvalidArgument, Code.Unauthenticated, Code.PermissionDenied, Code.NotFound],
  ...[Code.FailedPrecondition, Code.AlreadyExists, Code.Unimplemented],
]) {
  test(`${Code[code]} ends the connection`, async () => {
    const { room, clock, connection, closes } = setup();
    room.refusals.push(wireError(code, { reason: "nope" }));
    await clock.advance(60_000);
    assert.equal(connection.status, "closed");
    assert.equal(closes[0]?.reason, "error");
    assert.equal(closes[0]?.error?.code, code);
    assert.equal(closes[0]?.error?.reason, "nope");
    assert.equal(room.streams.length, 0);
  });
}

test("a connection resumes by itself, and tells a gap when it cannot", async () => {
  const plain = setup({ resume: false });
  await settle();
  plain.room.stream.open().joined("bob", "c7").end();
  await plain.clock.advance(250);
  assert.equal(plain.room.stream.headers.get("actor-resume"), null);
  plain.connection.dispose();

  const { room, clock, connection } = setup();
  const seen: string[] = [];
  connection.onGap(({ cursor, error }) => seen.push(`gap after ${cursor}: ${error?.reason}`));
  connection.on("memberJoined", ({ user }) => seen.push(user));
  await settle();
  assert.equal(room.stream.headers.get("actor-resume"), null);
  room.stream.open().joined("bob", "c7").end();
  await clock.advance(250);
  assert.equal(room.stream.headers.get("actor-resume"), "c7");
  room.stream.open(0, true).joined("eve", "c8").closing(CloseReason.SLOW, 0);
  await clock.advance(500);
  assert.equal(room.stream.headers.get("actor-resume"), "c8");

  // A refusal is told when the next stream is open.
  room.refusals.push(wireError(Code.OutOfRange, { reason: "cursor_out_of_range" }));
  room.stream.open(0, true).end();
  await clock.advance(1000);
  assert.equal(room.stream.headers.get("actor-resume"), null);
  assert.deepEqual(seen, ["bob", "eve"]);
  room.stream.open();
  await settle();
  assert.deepEqual(seen, ["bob", "eve", "gap after c0: cursor_out_of_range"]);

  // A server that opens and does not resume has lost events too.
  room.stream.joined("joe", "c21").end();
  await clock.advance(5000);
  room.stream.open(0, false).joined("zoe", "c40");
  await settle();
  assert.deepEqual(seen.slice(3), ["joe", "gap after c21: undefined", "zoe"]);
  connection.dispose();
});

test("a connection begins at a cursor and asks for some events only", async () => {
  const { room, connection } = setup({ cursor: "c5", events: ["memberJoined", "memberLeft"] });
  await settle();
  assert.equal(room.stream.headers.get("actor-resume"), "c5");
  assert.equal(room.stream.headers.get("actor-events"), "memberJoined,memberLeft");
  connection.dispose();
  assert.throws(() => setup({ events: ["nothing"] }), TypeError);
});

test("a loop gets the events and ends with the connection", async () => {
  const { room, connection } = setup();
  const seen: string[] = [];
  const loop = (async () => {
    for await (const event of connection) {
      if (event.case === "memberJoined") {
        seen.push(event.value.user);
      }
    }
  })();
  await settle();
  room.stream.open().joined("bob").joined("eve");
  await settle();
  connection.dispose();
  await loop;
  assert.deepEqual(seen, ["bob", "eve"]);
});

test("a loop that lags behind fails, the connection goes on", async () => {
  const { room, connection } = setup({ buffer: 2 });
  const slow = connection[Symbol.asyncIterator]();
  const left = connection[Symbol.asyncIterator]();
  await left.return?.();
  await settle();
  room.stream.open().joined("a").joined("b").joined("c").joined("d");
  await settle();
  assert.equal((await slow.next()).value?.value.$typeName, "chat.v1.MemberJoined");
  await slow.next();
  await assert.rejects(slow.next(), { reason: "loop_too_slow", code: Code.ResourceExhausted });
  assert.equal((await slow.next()).done, true);
  assert.equal((await left.next()).done, true);
  assert.equal(connection.status, "connected");
  connection.dispose();
});

test("signals dispose of connections", async () => {
  const abort = new AbortController();
  const { room, connection } = setup({ signal: abort.signal });
  await settle();
  room.stream.open();
  await settle();
  abort.abort();
  assert.equal(connection.status, "closed");
  const aborted = setup({ signal: abort.signal });
  await settle();
  assert.equal(aborted.connection.status, "closed");
  assert.equal(aborted.room.streams.length, 0);
});

test("a listener may dispose of its connection; nothing comes after", async () => {
  const { room, connection } = setup();
  const seen: string[] = [];
  connection.on("memberJoined", ({ user }) => {
    seen.push(user);
    connection.dispose();
  });
  await settle();
  room.stream.open().joined("bob").joined("eve");
  await settle();
  assert.deepEqual(seen, ["bob"]);
});

test("a listener may dispose of its connection at every change of status", async () => {
  for (const last of ["connecting", "connected", "disconnected"]) {
    const { room, clock, connection } = setup();
    let opens = 0;
    connection.onOpen(() => opens++);
    connection.onStatusChange((status) => {
      if (status === last) {
        connection.dispose();
      }
    });
    await settle();
    room.stream.open();
    await settle();
    room.stream.end();
    await clock.advance(60_000);
    assert.equal(connection.status, "closed");
    assert.equal(room.streams.length, 1, `no stream after ${last}`);
    assert.equal(opens, last === "connected" ? 0 : 1);
    assert.equal(clock.pending, 0);
  }
});

test("a failed call that the server executed is not repeated", async () => {
  const { room, connection } = setup();
  await settle();
  room.stream.open();
  await settle();
  room.failures.push(wireError(Code.Unavailable, { outcome: Outcome_Outcome.COMMITTED }));
  await assert.rejects(connection.actor.send({ text: "hi" }), { outcome: "committed" });
  assert.equal(room.calls.length, 1);
  connection.dispose();
});

test("what a listener ends is over for the listeners behind it too", async () => {
  for (const last of ["connected", "open", "event"]) {
    const { room, connection } = setup();
    const seen: string[] = [];
    const dispose = (what: string) => {
      if (what === last) {
        connection.dispose();
      }
    };
    connection.onStatusChange(dispose);
    connection.onOpen(() => dispose("open"));
    connection.on("memberJoined", () => dispose("event"));
    connection.onStatusChange((status) => seen.push(status));
    connection.onOpen(() => seen.push("open"));
    connection.on("memberJoined", ({ user }) => seen.push(user));
    await settle();
    room.stream.open().joined("bob");
    await settle();
    assert.equal(seen.at(-1), "closed", `${last}: ${seen}`);
  }
});

test("a listener that another one has taken off is not called any more", async () => {
  const { room, connection } = setup();
  const seen: string[] = [];
  connection.on("memberJoined", () => off());
  const off = connection.on("memberJoined", ({ user }) => seen.push(user));
  connection.onOpen(() => offOpen());
  const offOpen = connection.onOpen(() => seen.push("open"));
  await settle();
  room.stream.open().joined("bob");
  await settle();
  assert.deepEqual(seen, []);
  connection.dispose();
});

test("a listener that is added twice is taken off one at a time", async () => {
  const { room, connection } = setup();
  const seen: string[] = [];
  const listener = ({ user }: { user: string }) => void seen.push(user);
  const opened = () => void seen.push("open");
  const offs = [connection.on("memberJoined", listener), connection.onOpen(opened)];
  connection.on("memberJoined", listener);
  connection.onOpen(opened);
  for (const off of offs) {
    off();
    off();
  }
  await settle();
  room.stream.open().joined("bob");
  await settle();
  assert.deepEqual(seen, ["open", "bob"], "the other is still there");
  connection.off("memberJoined", listener);
  room.stream.joined("eve");
  await settle();
  assert.deepEqual(seen, ["open", "bob"]);
  connection.dispose();
});
