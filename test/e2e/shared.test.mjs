// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// A page that follows more actors than a browser opens connections.

import assert from "node:assert/strict";
import { test } from "node:test";
import { compile, startBrowser, startPage, startRun, startScenarioServer } from "./kit.mjs";

/** Opens a page with n actors, each followed by a connection of its own. */
async function follow(t, n, options = {}) {
  const script = await compile(
    `import { createClient } from "./clients/typescript/src/index.ts";
     import { Stage } from "./gen/ts/stage/v1/stage_pb.ts";
     window.follow = async (baseUrl, n, options) => {
       const actors = createClient({ baseUrl, ...options });
       const stages = Array.from({ length: n }, (_, i) => actors.getOrCreate(Stage, ["page", String(i)]));
       const connections = stages.map((stage, i) => stage.connect({ user: "user-" + i }, { backoffMaxMs: 500 }));
       window.notes = connections.map(() => []);
       window.statuses = () => connections.map(({ status }) => status);
       window.gaps = 0;
       connections.forEach((connection, i) => {
         connection.on("noted", ({ n }) => window.notes[i].push(n));
         connection.onGap(() => window.gaps++);
       });
       window.publish = (from) => Promise.all(stages.map((stage) => stage.publish({ batches: [{ event: "noted", from }] })));
       window.look = async () => {
         const looks = await Promise.all(connections.map(({ actor }) => actor.look({})));
         return looks.map(({ user, connected }) => connected && user);
       };
       window.dispose = (i) => connections[i].dispose();
       await Promise.all(connections.map((connection) => connection.ready()));
     };`,
    { browser: true },
  );
  const [control, origin] = [await startScenarioServer(t), await startPage(t, script)];
  const run = await startRun(t, control, { origin });
  const page = await (await startBrowser(t)).newPage();
  const streams = [];
  page.on("request", (request) => {
    if (/\/(Watch)$/.test(request.url()) && request.method() === "POST") {
      streams.push(request.url());
    }
  });
  await page.goto(origin);
  await page.waitForFunction(() => window.follow !== undefined);
  await page.evaluate((a) => window.follow(...a), [run.url, n, options]);
  return { page, run, streams };
}

test("a page on plain HTTP/1.1 follows 50 actors, and calls are answered", { timeout: 180_000 }, async (t) => {
  const { page, run, streams } = await follow(t, 50);
  assert.equal(streams.length, 1, "all share one stream");
  assert.match(streams[0], /troupe\.v1\.ActorService\/Watch$/);
  await page.evaluate(() => window.publish(1));
  const all = (notes) => page.waitForFunction((want) => window.notes.every((got) => `${got}` === want), notes);
  await all("1");
  const users = Array.from({ length: 50 }, (_, i) => `user-${i}`);
  assert.deepEqual(await page.evaluate(() => window.look()), users, "each call runs as its connection");

  // The stream breaks, and all go on.
  await run.act("cut");
  await page.evaluate(() => window.publish(2));
  await all("1,2");
  await run.act("restart");
  await page.evaluate(() => window.publish(3));
  await all("1,2,3");
  assert.deepEqual(await page.evaluate(() => window.look()), users);
  assert.equal(await page.evaluate(() => window.gaps), 0);

  // One leaves, the others stay.
  await page.evaluate(() => window.dispose(7));
  await page.evaluate(() => window.publish(4));
  await page.waitForFunction(() => window.notes.every((got, i) => `${got}` === (i === 7 ? "1,2,3" : "1,2,3,4")));
  const statuses = await page.evaluate(() => window.statuses());
  assert.deepEqual(
    statuses,
    users.map((_, i) => (i === 7 ? "closed" : "connected")),
  );
});

test("beyond what one stream carries there is a second one", { timeout: 180_000 }, async (t) => {
  const { page, streams } = await follow(t, 100);
  assert.equal(streams.length, 2);
  await page.evaluate(() => window.publish(1));
  await page.waitForFunction(() => window.notes.every((got) => `${got}` === "1"));
});

test("without a shared stream five connections leave room for calls", { timeout: 180_000 }, async (t) => {
  const { page, streams } = await follow(t, 5, { sharedStream: false });
  assert.equal(streams.length, 5, "each has a stream of its own");
  await page.evaluate(() => window.publish(1));
  await page.waitForFunction(() => window.notes.every((got) => `${got}` === "1"));
});
