// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, ConnectError } from "@connectrpc/connect";
import { Outcome_Outcome, OutcomeSchema } from "../../../gen/ts/troupe/v1/errors_pb.js";
import { ActorError, hasCode, isActorError, wasNotExecuted } from "../src/errors.js";
import { errorInfo } from "./room.js";

test("details become properties", () => {
  const wire = new ConnectError("room is full", Code.FailedPrecondition);
  wire.details.push(errorInfo("room_full", "chat.v1.ChatRoom", { limit: "20", members: "20" }));
  wire.details.push({
    desc: OutcomeSchema,
    value: { outcome: Outcome_Outcome.NOT_EXECUTED, correlationId: "abc" },
  });
  const error = ActorError.from(wire);
  assert.equal(error.name, "ActorError");
  assert.equal(error.message, "[failed_precondition: room_full] room is full");
  assert.equal(error.rawMessage, "room is full");
  assert.equal(error.reason, "room_full");
  assert.equal(error.domain, "chat.v1.ChatRoom");
  assert.deepEqual(error.metadata, { limit: "20", members: "20" });
  assert.equal(error.outcome, "not_executed");
  assert.equal(error.correlationId, "abc");
  assert.equal(error.cause, wire);
  assert.ok(isActorError(error) && isActorError(error, "room_full") && !isActorError(error, "other"));
  assert.ok(hasCode(error, Code.FailedPrecondition) && wasNotExecuted(error));
  assert.equal(ActorError.from(error), error);
});

test("violations are read with their paths", () => {
  const wire = new ConnectError("bad", Code.InvalidArgument);
  // Violations{violations: {rule_id, message, field: [members[2], name]}}
  const text = (field: number, value: string) => [(field << 3) | 2, value.length, ...Buffer.from(value)];
  const nested = (field: number, bytes: number[]) => [(field << 3) | 2, bytes.length, ...bytes];
  const path = [
    ...nested(1, [0x08, 1, ...text(2, "members"), 0x30, 2]),
    ...nested(1, text(2, "name")),
    ...nested(1, [...text(2, "labels"), ...text(10, "k")]),
  ];
  const violation = [...text(2, "string.min_len"), ...text(3, "too short"), ...nested(5, path)];
  wire.details.push({ type: "buf.validate.Violations", value: Uint8Array.from(nested(1, violation)) });
  assert.deepEqual(ActorError.from(wire).violations, [
    { field: 'members[2].name.labels["k"]', ruleId: "string.min_len", message: "too short" },
  ]);
});

test("the wait that the server asks for is read", () => {
  const wire = new ConnectError("busy", Code.ResourceExhausted);
  // RetryInfo{retry_delay: {seconds: 1, nanos: 500_000_000}}
  wire.details.push({
    type: "google.rpc.RetryInfo",
    value: Uint8Array.from([0x0a, 8, 0x08, 1, 0x10, 0x80, 0xca, 0xb5, 0xee, 0x01]),
  });
  assert.equal(ActorError.from(wire).retryAfterMs, 1500);
});

test("a detail that cannot be read is left out", () => {
  const wire = new ConnectError("x", Code.Internal);
  wire.details.push({ type: "google.rpc.ErrorInfo", value: Uint8Array.from([0x0a, 200]) });
  const error = ActorError.from(wire);
  assert.equal(error.reason, "");
  assert.equal(error.outcome, "unknown");
});

test("a broken connection is unavailable, its outcome unknown", () => {
  for (const thrown of [new TypeError("fetch failed"), ConnectError.from("missing EndStreamResponse")]) {
    const error = ActorError.from(thrown);
    assert.equal(error.code, Code.Unavailable);
    assert.equal(error.outcome, "unknown");
  }
  assert.equal(ActorError.from(new Error("else")).code, Code.Unknown);
});
