// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff, sleep } from "../src/backoff.js";
import { FakeClock } from "./clock.js";

test("the back-off doubles up to its limit and starts over", () => {
  const clock = new FakeClock();
  clock.chance = 1;
  const backoff = new Backoff(clock, 250, 30_000);
  const waits = Array.from({ length: 10 }, () => backoff.next());
  assert.deepEqual(waits, [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  backoff.reset();
  assert.equal(backoff.next(), 250);
});

test("the jitter is full", () => {
  const clock = new FakeClock();
  const backoff = new Backoff(clock, 250, 30_000);
  clock.chance = 0;
  assert.equal(backoff.next(), 0);
  clock.chance = 0.5;
  assert.equal(backoff.next(), 250);
});

test("sleep ends early by its signal and leaves no timer", async () => {
  const clock = new FakeClock();
  const abort = new AbortController();
  const slept = sleep(clock, 1000, abort.signal);
  abort.abort();
  await slept;
  assert.equal(clock.pending, 0);
});
