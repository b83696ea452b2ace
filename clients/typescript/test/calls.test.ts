// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, ConnectError } from "@connectrpc/connect";
import { settle } from "./clock.js";
import { setup } from "./connected.js";
import { Outcome_Outcome, wireError } from "./room.js";

test("calls of a connection wait for it and carry its name", async () => {
  const { room, connection } = setup();
  const sent = connection.actor.send({ text: "hi" });
  await settle();
  assert.equal(room.calls.length, 0);
  room.stream.open();
  assert.equal((await sent).message?.text, "hi");
  assert.equal(room.calls[0]?.headers.get("actor-conn"), "conn-1.secret");
  assert.equal(room.calls[0]?.headers.get("actor-key"), "acme/general");
  connection.dispose();
});

test("a call whose connection is gone is repeated over the next, at most twice", async () => {
  const { room, connection } = setup();
  await settle();
  room.stream.open();
  await settle();
  const gone = () => wireError(Code.FailedPrecondition, { reason: "connection_gone" });
  room.failures.push(gone());
  const sent = connection.actor.send({ text: "hi" });
  await settle();
  assert.equal(room.streams.length, 2, "the dead stream is replaced at once");
  assert.ok(room.streams[0]?.cancelled);
  room.stream.open();
  await sent;
  assert.deepEqual(
    room.calls.map(({ headers }) => headers.get("actor-conn")),
    ["conn-1.secret", "conn-2.secret"],
  );

  room.failures.push(gone(), gone(), gone());
  const failed = assert.rejects(connection.actor.send({ text: "hi" }), { reason: "connection_gone" });
  for (let n = 0; n < 2; n++) {
    await settle();
    room.stream.open();
  }
  await failed;
  connection.dispose();
});

test("TestP17 a call keeps its key over the connection that is lost", async () => {
  const { room, clock, connection } = setup();
  await settle();
  room.stream.open();
  await settle();
  room.failures.push(
    new ConnectError("gone", Code.Unavailable),
    wireError(Code.FailedPrecondition, { reason: "connection_gone", outcome: Outcome_Outcome.NOT_EXECUTED }),
    wireError(Code.InvalidArgument, { outcome: Outcome_Outcome.NOT_EXECUTED }),
  );
  const failed = assert.rejects(connection.actor.send({ text: "hi" }), { outcome: "unknown" });
  await clock.advance(1000);
  room.stream.open();
  await failed;
  const keys = room.calls.map(({ headers }) => headers.get("idempotency-key"));
  assert.match(keys[0] ?? "", /^auto-/);
  assert.deepEqual(keys, [keys[0], keys[0], keys[0]]);
  connection.dispose();
});

test("TestP17 a call that waits to be repeated is not sent over a connection that is lost meanwhile", async () => {
  const { room, clock, connection } = setup({ backoffBaseMs: 10 });
  await settle();
  room.stream.open();
  await settle();
  room.failures.push(new ConnectError("lost", Code.Unavailable));
  const sent = connection.actor.send({ text: "hi" });
  await settle();
  room.stream.end();
  await clock.advance(1000);
  assert.equal(room.streams.length, 2);
  assert.equal(room.calls.length, 1, "no attempt carries the name of the connection that is gone");
  // What the lost attempt did is not known, so neither is what the call did.
  room.failures.push(wireError(Code.InvalidArgument, { outcome: Outcome_Outcome.NOT_EXECUTED }));
  const failed = assert.rejects(sent, { code: Code.InvalidArgument, outcome: "unknown" });
  room.stream.open();
  await settle();
  await failed;
  assert.deepEqual(
    room.calls.map(({ headers }) => headers.get("actor-conn")),
    ["conn-1.secret", "conn-2.secret"],
  );
  const [first, second] = room.calls.map(({ headers }) => headers.get("idempotency-key"));
  assert.match(first ?? "", /^auto-/);
  assert.equal(second, first);
  connection.dispose();
});

test("a call's time limit and signal cover the wait for the connection", async () => {
  const { clock, connection } = setup();
  const late = assert.rejects(connection.actor.send({ text: "hi" }, { timeoutMs: 100 }), {
    code: Code.DeadlineExceeded,
    outcome: "not_executed",
  });
  const abort = new AbortController();
  const aborted = assert.rejects(connection.actor.send({ text: "hi" }, { signal: abort.signal }), {
    code: Code.Canceled,
  });
  await clock.advance(100);
  await late;
  abort.abort();
  await aborted;
  connection.dispose();
});
