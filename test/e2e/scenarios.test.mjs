// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// The scenarios of clients/scenarios with the TypeScript client: in Node over each
// protocol and codec, and in a browser.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { before, test } from "node:test";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { compile, startBrowser, startPage, startScenarioServer } from "./kit.mjs";

const list = new URL("../../clients/scenarios/list/", import.meta.url);
const scenarios = readdirSync(list)
  .filter((name) => name.endsWith(".json"))
  .flatMap((name) => JSON.parse(readFileSync(new URL(name, list), "utf8")).scenarios);
/** SCENARIO chooses those with a text in their names. */
const chosen = scenarios.filter(({ name }) => name.includes(process.env.SCENARIO ?? ""));
const exceptions = JSON.parse(
  readFileSync(new URL("../../clients/typescript/scenarios.exceptions.json", import.meta.url), "utf8"),
);

const runner = `
  export { runScenarios } from "./clients/typescript/test/scenarios/runner.ts";
  export { createClient } from "./clients/typescript/src/index.ts";
  import { createRegistry } from "@bufbuild/protobuf";
  import { StageInputSchema } from "./gen/ts/stage/v1/stage_pb.ts";
  export const inputs = createRegistry(StageInputSchema);`;
let ours;
before(async () => {
  ours = await import(await compile(runner));
});

/** Fails for what failed and is no exception, and for an exception that passed. */
async function judge(t, over, results) {
  assert.deepEqual(
    results.map(({ name }) => name),
    chosen.map(({ name }) => name),
  );
  const excused = new Map(
    exceptions.filter((exception) => exception.over?.includes(over) ?? true).map(({ name, why }) => [name, why]),
  );
  t.diagnostic(`exceptions: ${excused.size === 0 ? "none" : [...excused].map((e) => e.join(": ")).join("; ")}`);
  for (const { name, verdict, why } of results) {
    await t.test(name, { skip: verdict === "not for it" && "not for this protocol" }, () => {
      if (excused.has(name)) {
        assert.equal(verdict, "failed", "it passes: take it off the list of exceptions");
      } else {
        assert.ok(verdict !== "failed", why);
      }
    });
  }
}

const places = {
  connect: (get, options) => createConnectTransport({ ...options, httpVersion: "1.1", useHttpGet: get }),
  grpc: (_, options) => createGrpcTransport(options),
  "grpc-web": (_, options) => createGrpcWebTransport({ ...options, httpVersion: "1.1" }),
};
/** An input in JSON is an Any, whose type a transport of one's own must know. */
const format = (baseUrl, json) => ({ baseUrl, useBinaryFormat: !json, jsonOptions: { registry: ours.inputs } });

for (const [protocol, transport] of Object.entries(places)) {
  for (const codec of ["binary", "JSON"]) {
    test(`scenarios in Node: ${protocol}, ${codec}`, { timeout: 300_000 }, async (t) => {
      const control = await startScenarioServer(t);
      const client = (baseUrl, get) =>
        ours.createClient({ baseUrl, transport: transport(get, format(baseUrl, codec === "JSON")) });
      const results = await ours.runScenarios(chosen, { control, protocol, settings: {}, client });
      await judge(t, `node ${protocol} ${codec}`, results);
    });
  }
}

test("scenarios in Node: connect, a shared stream", { timeout: 300_000 }, async (t) => {
  const control = await startScenarioServer(t);
  const client = (baseUrl, get) =>
    ours.createClient({ baseUrl, sharedStream: true, transport: places.connect(get, format(baseUrl, false)) });
  const results = await ours.runScenarios(chosen, { control, protocol: "connect", settings: {}, client });
  await judge(t, "node shared", results);
});

for (const [name, tls, json] of [
  ["HTTP/1.1, binary", false, false],
  ["HTTP/1.1, JSON", false, true],
  ["HTTP/2 over TLS", true, false],
]) {
  test(`scenarios in Chromium: ${name}`, { timeout: 300_000 }, async (t) => {
    const script = await compile(
      `${runner.replace(/export (?=\{|const)/g, (_, at) => (runner.startsWith("export {", at) ? "import " : ""))}
       import { createConnectTransport } from "@connectrpc/connect-web";
       window.run = (scenarios, place, json) =>
         runScenarios(scenarios, {
           ...place,
           client: (baseUrl, useHttpGet) =>
             createClient({ baseUrl, transport: createConnectTransport({ baseUrl, useHttpGet, useBinaryFormat: !json, jsonOptions: { registry: inputs } }) }),
         });`,
      { browser: true },
    );
    const [control, origin] = [await startScenarioServer(t), await startPage(t, script)];
    const context = await startBrowser(t, { ignoreHTTPSErrors: true });
    const page = await context.newPage();
    await page.goto(origin);
    await page.waitForFunction(() => window.run !== undefined);
    const place = { control, protocol: "connect", settings: { tls, origin } };
    const results = await page.evaluate((a) => window.run(...a), [chosen, place, json]);
    await judge(t, `chromium ${name}`, results);
  });
}
