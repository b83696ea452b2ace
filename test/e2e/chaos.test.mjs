// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// A network that breaks at random, TROUPE_CHAOS_CUTS times: no client loses,
// repeats or reorders a durable event, each call counts once, and in the end all
// are connected. TROUPE_CHAOS_SEED repeats a run's acts.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { compile, defer, eventually, startRun, startScenarioServer } from "./kit.mjs";

const cuts = Number(process.env.TROUPE_CHAOS_CUTS ?? 60);
const seed = Number(process.env.TROUPE_CHAOS_SEED ?? Math.floor(Math.random() * 2 ** 31));

/** The clients: each has its own way to the one actor. */
const ways = {
  "connect, binary": (baseUrl) => ({ transport: createConnectTransport({ baseUrl, httpVersion: "1.1" }) }),
  "connect over fetch, JSON": (baseUrl) => ({ baseUrl, json: true }),
  "connect over fetch, shared": (baseUrl) => ({ baseUrl, sharedStream: true }),
  "connect over HTTP/2, shared": (baseUrl) => ({
    transport: createConnectTransport({ baseUrl, httpVersion: "2" }),
    sharedStream: true,
  }),
  gRPC: (baseUrl) => ({ transport: createGrpcTransport({ baseUrl }) }),
  "gRPC-Web, JSON": (baseUrl) => ({
    transport: createGrpcWebTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: false }),
  }),
};

/** mulberry32: a small generator of numbers in [0, 1). */
function generator(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), 1 | state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

test(`${cuts} cuts of the network lose, repeat and reorder nothing`, { timeout: 60_000 + cuts * 3_000 }, async (t) => {
  t.diagnostic(`TROUPE_CHAOS_SEED=${seed}`);
  const { createClient, Stage } = await import(
    await compile(`
      export { createClient } from "./clients/typescript/src/index.ts";
      export { Stage } from "./gen/ts/stage/v1/stage_pb.ts";`)
  );
  const run = await startRun(t, await startScenarioServer(t), { heartbeatMs: 300 });
  const random = generator(seed);
  const publisher = createClient({ baseUrl: run.direct }).getOrCreate(Stage, "chaos");
  await publisher.look({});

  const followers = Object.entries(ways).map(([name, options]) => {
    const stage = createClient(options(run.url)).getOrCreate(Stage, "chaos");
    const connection = stage.connect({ user: name }, { backoffBaseMs: 20, backoffMaxMs: 200, openTimeoutMs: 2000 });
    defer(t, connection.dispose);
    const follower = { name, connection, last: 0, opens: 0, wrong: [], added: 0, doubtful: 0 };
    connection.on("noted", ({ n }) => {
      if (n !== follower.last + 1) {
        follower.wrong.push(`${n} came after ${follower.last}`);
      }
      follower.last = n;
    });
    connection.onOpen(() => follower.opens++);
    connection.onGap(({ cursor }) => follower.wrong.push(`a gap after ${cursor}`));
    connection.onClose(({ message }) => follower.wrong.push(`closed: ${message}`));
    return follower;
  });
  await Promise.all(followers.map(({ connection }) => connection.ready()));

  // Meanwhile each calls, over its connection.
  let running = true;
  const callers = followers.map(async (follower) => {
    while (running) {
      try {
        await follower.connection.actor.add({ amount: 1 }, { timeoutMs: 5000 });
        follower.added++;
      } catch (error) {
        assert.equal(error.name, "ActorError");
        if (error.outcome !== "not_executed") {
          follower.doubtful++;
        }
      }
      await pause(20);
    }
  });

  const acts = {
    cut: () => run.act("cut"),
    half: () => run.act("half"),
    lose: () => run.act("lose"),
    stall: async () => {
      await run.act("stall");
      await pause(random() * 40);
      await run.act("cut");
      await run.act("up");
    },
    down: async () => {
      await run.act("down");
      await pause(random() * 40);
      await run.act("up");
    },
    delay: async () => {
      await run.act("delay?ms=5");
      await pause(random() * 40);
      await run.act("cut");
      await run.act("up");
    },
  };
  const names = Object.keys(acts);
  let published = 0;
  for (let i = 0; i < cuts; i++) {
    const count = 1 + Math.floor(random() * 5);
    await publisher.publish({ batches: [{ event: "noted", from: published + 1, count }] });
    published += count;
    // Three in four meet open connections, the others some that are on their way.
    if (random() < 0.75) {
      await eventually(() => {
        assert.deepEqual(
          followers.filter(({ connection }) => connection.status !== "connected").map(({ name }) => name),
          [],
        );
      }, "all are connected again");
    }
    await acts[names[Math.floor(random() * names.length)]]();
    await pause(random() * 60);
    // The log keeps 100 events: nobody may fall back further.
    await eventually(async () => {
      const { name, last } = followers.reduce((a, b) => (a.last < b.last ? a : b));
      assert.ok(last > published - 60, `${name} is at ${last} of ${published}`);
    }, "all come up again");
  }
  running = false;
  await Promise.all(callers);
  for (const follower of followers) {
    const { name, connection } = follower;
    await eventually(async () => {
      assert.deepEqual(follower.wrong, [], name);
      assert.equal(follower.last, published, name);
      assert.equal(connection.status, "connected", name);
    }, "each has all events and is connected");
  }
  const { total } = await publisher.look({});
  const [added, doubtful] = ["added", "doubtful"].map((of) => followers.reduce((sum, f) => sum + f[of], 0));
  assert.ok(
    added <= total && total <= added + doubtful,
    `${added} calls succeeded, ${doubtful} may have, ${total} did`,
  );
  const opens = followers.map(({ name, opens }) => `${name} ${opens}`).join(", ");
  t.diagnostic(`${published} events, ${added} calls (${doubtful} in doubt); streams opened: ${opens}`);
});
