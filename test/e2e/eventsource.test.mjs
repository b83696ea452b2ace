// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// A subscription as server-sent events, followed by the browser's own EventSource:
// it goes on after servers that die and servers that stop, by the id of its last event.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createConnectTransport } from "@connectrpc/connect-node";
import {
  buildProgram,
  compile,
  defer,
  eventually,
  freePort,
  startBrowser,
  startPage,
  startServer,
  temporaryDirectory,
} from "./kit.mjs";

/** What the page does: it keeps all that its EventSource gives it. */
const script = `
  window.follow = (url) => {
    const source = new EventSource(url);
    const seen = { counts: [], ids: [], opened: [], closing: 0, breaks: 0 };
    source.addEventListener("opened", ({ data }) => seen.opened.push(JSON.parse(data).info.opened));
    source.addEventListener("countChanged", ({ data, lastEventId }) => {
      seen.counts.push(Number(JSON.parse(data).countChanged.count));
      seen.ids.push(lastEventId);
    });
    source.addEventListener("closing", () => seen.closing++);
    source.addEventListener("error", () => seen.breaks++);
    window.look = () => ({ ...seen, state: source.readyState });
  };`;

test("an EventSource misses nothing over servers that die and stop", { timeout: 180_000 }, async (t) => {
  const { createClient, Counter } = await import(
    await compile(`
      export { createClient } from "./clients/typescript/src/index.ts";
      export { Counter } from "./gen/ts/counter/v1/counter_pb.js";`)
  );
  const [program, origin] = [buildProgram("counter"), await startPage(t, script)];
  const [port, dataDir] = [await freePort(), temporaryDirectory(t)];
  const start = () => startServer(t, program, { port, dataDir, args: ["-cors-origins", origin] });
  let server = await start();
  const counter = createClient({
    transport: createConnectTransport({ baseUrl: server.url, httpVersion: "1.1" }),
  }).getOrCreate(Counter, "demo");
  let count = 0;
  const add = async (n) => {
    for (let i = 0; i < n; i++) {
      count = Number((await counter.increment({ amount: 1n })).count);
    }
  };
  await add(1);

  const page = await (await startBrowser(t)).newPage();
  const requests = [];
  page.on("request", (request) => {
    if (request.url().endsWith("/Subscribe")) {
      requests.push(request.allHeaders());
    }
  });
  await page.goto(origin);
  await page.waitForFunction(() => window.follow !== undefined);
  await page.evaluate((url) => window.follow(url), `${server.url}/actors/default/demo/@/counter.v1.Counter/Subscribe`);
  const look = () => page.evaluate(() => window.look());
  await eventually(async () => assert.equal((await look()).opened.length, 1), "it is open");
  const begin = count;
  const upTo = (last) =>
    eventually(async () => {
      const want = Array.from({ length: last - begin }, (_, i) => begin + i + 1);
      assert.deepEqual((await look()).counts, want);
    }, `the page has the events up to ${last}`);

  const rounds = ["kill", "stop"];
  for (const [round, end] of rounds.entries()) {
    await add(3);
    await upTo(count);
    const { breaks } = await look();
    await server[end]();
    await eventually(async () => assert.ok((await look()).breaks > breaks), "the page notices");
    server = await start();
    await add(2); // perhaps before the browser is back: it waits for some seconds
    await eventually(async () => assert.ok((await look()).opened.length >= round + 2), "it is open again");
    await upTo(count);
    const { ids, opened, state } = await look();
    assert.equal(state, 1);
    assert.equal(opened.at(-1).resumed, true, "it goes on where it was");
    assert.ok(ids.every((id) => id !== ""));
  }
  const { counts, ids, closing } = await look();
  assert.equal(closing, rounds.filter((end) => end === "stop").length, "a server that stops says so");

  // Each stream but the first has asked for what follows the last event that the page had.
  const sent = (await Promise.all(requests))
    .map((headers) => headers["last-event-id"])
    .filter((id) => id !== undefined);
  for (const round of rounds.keys()) {
    const last = ids[5 * round + 2]; // three before each end, two after it
    assert.ok(sent.includes(last), `no request has Last-Event-ID ${last}: ${sent}`);
  }

  // The same events, with the same cursors, are what the actor has in its log.
  const connection = counter.connect({}, { cursor: ids[0] });
  defer(t, connection.dispose);
  const durable = [[counts[0], ids[0]]];
  connection.on("countChanged", ({ count }, { cursor }) => durable.push([Number(count), cursor]));
  await eventually(async () => assert.equal(durable.length, counts.length), "the log is read");
  assert.deepEqual(
    counts.map((count, i) => [count, ids[i]]),
    durable,
  );
  assert.equal(Number((await counter.get({})).count), count);
});
