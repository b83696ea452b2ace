// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Stock Connect clients with nothing of ours but headers, in Node and in a
// browser, and our own client, against the counter.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { before, test } from "node:test";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { buildProgram, compile, defer, freePort, startBrowser, startServer, temporaryDirectory } from "./kit.mjs";

let program;
/** The counter's schema and our client, compiled for Node. */
let ours;
before(async () => {
  program = buildProgram("counter");
  ours = await import(
    await compile(`
      export * from "./gen/ts/counter/v1/counter_pb.ts";
      export * from "./gen/ts/troupe/v1/errors_pb.ts";
      export { createClient as createActors, Code } from "./clients/typescript/src/index.ts";
    `)
  );
});

const start = async (t, ...args) =>
  startServer(t, program, { port: await freePort(), dataDir: temporaryDirectory(t), args });

const transports = {
  "Connect, HTTP/1.1, binary": (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1" }),
  "Connect, HTTP/1.1, JSON": (baseUrl) =>
    createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: false }),
  "Connect, HTTP/1.1, GET": (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1", useHttpGet: true }),
  "Connect, HTTP/2": (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "2" }),
  "gRPC, HTTP/2": (baseUrl) => createGrpcTransport({ baseUrl }),
  "gRPC-Web, HTTP/1.1": (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
  "gRPC-Web, HTTP/2": (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "2" }),
};

for (const [name, transport] of Object.entries(transports)) {
  test(`a stock client with headers only: ${name}`, { timeout: 60_000 }, async (t) => {
    const { url } = await start(t);
    const client = createClient(ours.Counter, transport(url));
    const headers = { "actor-key": "e2e/one" };
    let created;
    const first = await client.increment(
      { amount: 2n },
      { headers, onHeader: (h) => (created = h.get("actor-created")) },
    );
    assert.equal(first.count, 2n);
    assert.equal(created, "true");
    let reply;
    assert.equal((await client.get({}, { headers, onHeader: (h) => (reply = h) })).count, 2n);
    assert.match(reply.get("actor-id"), /./);
    assert.match(reply.get("actor-cursor"), /./);
    assert.equal(reply.get("actor-created"), null);
    assert.equal((await client.increment({ amount: 1n }, { headers: { "actor-key": "e2e/two" } })).count, 1n);

    // The subscription: opened first, then what happens.
    const leave = new AbortController();
    const frames = client.subscribe({}, { headers, signal: leave.signal })[Symbol.asyncIterator]();
    const opened = (await frames.next()).value;
    assert.equal(opened.info.control.case, "opened");
    assert.equal(opened.info.control.value.actorId, reply.get("actor-id"));
    await client.increment({ amount: 40n }, { headers });
    let frame;
    do {
      frame = (await frames.next()).value;
    } while (frame.event.case === undefined);
    assert.equal(frame.event.case, "countChanged");
    assert.equal(frame.event.value.count, 42n);
    leave.abort();
    await assert.rejects(frames.next(), ConnectError);

    // Errors, with their details.
    const failed = await client.fail({ amount: 1n }, { headers }).catch((error) => error);
    assert.equal(failed.code, Code.FailedPrecondition);
    assert.equal(failed.findDetails(ours.OutcomeSchema)[0]?.outcome, ours.Outcome_Outcome.NOT_EXECUTED);
    assert.ok(failed.details.some(({ type }) => type === "google.rpc.ErrorInfo"));
    const bad = await client.increment({ amount: 0n }, { headers }).catch((error) => error);
    assert.equal(bad.code, Code.InvalidArgument);
    assert.ok(bad.details.some(({ type }) => type === "buf.validate.Violations"));
    const absent = { "actor-key": "e2e/none", "actor-resolve": "get" };
    const none = await client.get({}, { headers: absent }).catch((error) => error);
    assert.equal(none.code, Code.NotFound);
    assert.equal((await client.get({}, { headers })).count, 42n, "what failed had no effect");
  });
}

test("a stock client whose base URL is the address", { timeout: 60_000 }, async (t) => {
  const { url } = await start(t);
  const baseUrl = `${url}/actors/default/e2e/by%20url/@`;
  const byUrl = createClient(ours.Counter, createConnectTransport({ baseUrl, httpVersion: "1.1" }));
  await byUrl.increment({ amount: 5n });
  const plain = createClient(ours.Counter, createConnectTransport({ baseUrl: url, httpVersion: "1.1" }));
  assert.equal((await plain.get({}, { headers: { "actor-key": "e2e/by%20url" } })).count, 5n);
});

test("our client: typed errors, lifecycle, a connection over a killed server", { timeout: 90_000 }, async (t) => {
  const [port, dataDir] = [await freePort(), temporaryDirectory(t)];
  const server = await startServer(t, program, { port, dataDir });
  const actors = ours.createActors({ baseUrl: server.url });
  const counter = actors.getOrCreate(ours.Counter, ["a/b", "..", "ключ"]);
  assert.equal((await counter.increment({ amount: 7n })).count, 7n);

  await assert.rejects(counter.fail({ amount: 1n }), {
    name: "ActorError",
    code: Code.FailedPrecondition,
    reason: "always_fails",
    domain: "counter.v1.Counter",
    outcome: "not_executed",
  });
  await assert.rejects(counter.fail({ amount: 1n, panic: true }), (error) => {
    assert.equal(error.code, Code.Internal);
    assert.match(error.correlationId, /./);
    assert.doesNotMatch(error.message, /asked to panic/);
    return true;
  });
  await assert.rejects(counter.increment({ amount: 0n }), (error) => {
    assert.equal(error.code, Code.InvalidArgument);
    assert.deepEqual(
      error.violations.map(({ field, ruleId }) => [field, ruleId]),
      [["amount", "int64.not_in"]],
    );
    return true;
  });

  const made = await actors.create(ours.Counter, "made");
  await made.increment({ amount: 1n });
  assert.equal(await actors.resolve(ours.Counter, "made"), await made.resolve());
  await assert.rejects(actors.create(ours.Counter, "made"), { code: Code.AlreadyExists });
  await assert.rejects(actors.get(ours.Counter, "absent").get({}), { code: Code.NotFound });
  await assert.rejects(actors.resolve(ours.Counter, "absent"), { code: Code.NotFound });

  const connection = counter.connect({}, { backoffMaxMs: 500 });
  defer(t, connection.dispose);
  const counts = [];
  connection.on("countChanged", ({ count }) => counts.push(count));
  await connection.ready();
  await connection.actor.increment({ amount: 1n });
  await server.kill();
  await startServer(t, program, { port, dataDir });
  assert.equal(
    (await connection.actor.increment({ amount: 1n })).count,
    9n,
    "state survives, the call waits for the connection",
  );
  while (counts.at(-1) !== 9n) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.deepEqual(counts, [8n, 9n]);
});

test("our client: a server that stops says goodbye, and the connection comes back", { timeout: 90_000 }, async (t) => {
  const [port, dataDir] = [await freePort(), temporaryDirectory(t)];
  const server = await startServer(t, program, { port, dataDir });
  const connection = ours.createActors({ baseUrl: server.url }).getOrCreate(ours.Counter, "x").connect();
  defer(t, connection.dispose);
  const [statuses, errors] = [[], []];
  connection.onStatusChange((status) => statuses.push(status));
  connection.onError((error) => errors.push(error));
  await connection.ready();
  await server.stop();
  assert.deepEqual(statuses.slice(0, 2), ["connected", "disconnected"]);
  await startServer(t, program, { port, dataDir });
  assert.equal((await connection.ready()).reconnected, true);
  assert.ok(!errors.some(({ reason }) => reason === "stream_ended"), "the first stream ended with a closing frame");
  assert.equal(connection.status, "connected");
});

test("gRPC-Web and Connect from a page of another origin", { timeout: 120_000 }, async (t) => {
  // The page: another origin is another port.
  const script = await compile(
    `import { createClient } from "@connectrpc/connect";
     import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
     import { Counter } from "./gen/ts/counter/v1/counter_pb.ts";
     async function run(baseUrl, protocol) {
       const transport = protocol === "grpc-web" ? createGrpcWebTransport({ baseUrl })
         : createConnectTransport({ baseUrl, useBinaryFormat: protocol === "connect" });
       const client = createClient(Counter, transport);
       const headers = { "actor-key": "browser/" + protocol };
       const seen = [];
       const leave = new AbortController();
       for await (const { info, event } of client.subscribe({}, { headers, signal: leave.signal })) {
         if (info.control.case === "opened") {
           let id;
           const { count } = await client.increment({ amount: 3n }, { headers, onHeader: (h) => { id = h.get("actor-id"); } });
           seen.push("opened", String(count), String(id === info.control.value.actorId));
         }
         if (event.case !== undefined) {
           seen.push(event.case, String(event.value.count));
           break;
         }
       }
       leave.abort();
       const failed = await client.fail({ amount: 1n }, { headers }).catch((error) => error);
       return [...seen, failed.code, failed.details.map(({ type }) => type).sort().join()];
     }
     window.run = (...args) => run(...args).catch((error) => "failed: " + error);`,
    { browser: true },
  );
  const site = createServer((request, response) => {
    const isScript = request.url === "/script.js";
    response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
    response.end(
      isScript ? script : '<!doctype html><title>page</title><script type="module" src="/script.js"></script>',
    );
  });
  await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
  defer(t, () => site.close());
  const origin = `http://127.0.0.1:${site.address().port}`;
  const { url } = await start(t, "-cors-origins", origin);
  const closed = await start(t);

  const context = await startBrowser(t);
  const page = await context.newPage();
  await page.goto(origin);
  await page.waitForFunction(() => window.run !== undefined);
  const call = (...args) => page.evaluate((a) => window.run(...a), args);
  for (const protocol of ["grpc-web", "connect", "connect-json"]) {
    assert.deepEqual(
      await call(url, protocol),
      ["opened", "3", "true", "countChanged", "3", Code.FailedPrecondition, "google.rpc.ErrorInfo,troupe.v1.Outcome"],
      protocol,
    );
  }
  assert.match(String(await call(closed.url, "connect")), /^failed: /, "an origin that is not allowed is refused");
});
