// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// The TypeScript client's part of a rolling restart, run by rollnode_test.go: calls
// counters at a rate and follows them with as many subscribers. It prints "started" once
// each subscriber has had an event; at the end of its input it ends its calls, waits until
// each has had the last one, and prints how it went.

import { once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { compile } from "../e2e/kit.mjs";

const [baseUrl, rateText] = process.argv.slice(2);
const rate = Number(rateText);

const { createClient, Counter } = await import(
  await compile(`
    export { createClient } from "./clients/typescript/src/index.ts";
    export { Counter } from "./gen/ts/counter/v1/counter_pb.ts";`)
);

/** Each user has a client, which has one subscriber and makes one call a second. */
const clients = Array.from({ length: rate }, () => createClient({ baseUrl }));
const keyOf = (n) => `roll-${n % Math.max(1, Math.floor(rate / 5))}`;
const seen = { counts: {}, failures: [], events: 0, millis: [] };

const followers = Array.from({ length: rate }, (_, n) => {
  const follower = { name: `subscriber ${n} of ${keyOf(n)}`, key: keyOf(n), last: 0n };
  const connection = clients[n].getOrCreate(Counter, follower.key).connect({});
  connection.on("countChanged", ({ count }) => {
    if (follower.last > 0n && count !== follower.last + 1n) {
      seen.failures.push(`${follower.name}: ${count} came after ${follower.last}`);
    }
    follower.last = count;
    seen.events++;
  });
  connection.onGap(({ cursor }) => seen.failures.push(`${follower.name}: a gap after ${cursor}`));
  connection.onClose(({ message }) => seen.failures.push(`${follower.name}: closed: ${message}`));
  return follower;
});

/** The errors that made an error, which says less. */
function causes(error) {
  return error.cause ? `${error.cause}: ${causes(error.cause)}` : "";
}

const times = [];
const calls = new Set();
async function call(n) {
  const key = keyOf(n);
  const began = performance.now();
  try {
    await clients[n % rate].getOrCreate(Counter, key).increment({ amount: 1n });
    seen.counts[key] = (seen.counts[key] ?? 0) + 1;
  } catch (error) {
    seen.failures.push(`a call of ${key}: ${error} (${error.outcome}), ${causes(error)}`);
  }
  times.push(performance.now() - began);
}

// Calls begin when they are due, while fewer are under way than a second has.
const began = performance.now();
let due = 0;
const ticker = setInterval(() => {
  for (; calls.size < rate && due < ((performance.now() - began) / 1000) * rate; due++) {
    const running = call(due).finally(() => calls.delete(running));
    calls.add(running);
  }
}, 5);

/** Waits until each follower is where it should be, for a minute. */
async function eventually(what, is) {
  const deadline = performance.now() + 60_000;
  for (const follower of followers) {
    while (!is(follower)) {
      if (performance.now() > deadline) {
        seen.failures.push(`${follower.name} is at ${follower.last}: not ${what}`);
        return;
      }
      await pause(20);
    }
  }
}

await eventually("an event for each", ({ last }) => last > 0n);
console.log("started");
process.stdin.resume();
await once(process.stdin, "end");
clearInterval(ticker);
while (calls.size > 0) {
  await Promise.all(calls);
}
await eventually("the last event for each", ({ key, last }) => last === BigInt(seen.counts[key] ?? 0));
times.sort((a, b) => a - b);
seen.millis = [0.5, 0.99, 1].map((share) =>
  Math.round(times[Math.min(times.length - 1, Math.floor(times.length * share))]),
);
// What ends with the process is no failure.
process.stdout.write(`${JSON.stringify(seen)}\n`, () => process.exit());
