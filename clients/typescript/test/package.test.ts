// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// The package as it is published: what it weighs, and that an empty project can use it.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, test } from "node:test";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

// The tests run from the package's folder.
const built = "../../node_modules/.cache/troupe-client-dist";
const index = join(process.cwd(), built, "clients/typescript/src/index.js");

before(() => {
  execFileSync(process.execPath, ["build.mjs", built]);
});

/** What a program weighs in a browser, minified and compressed, with everything that it needs. */
async function weigh(program: string): Promise<number> {
  const { outputFiles } = await build({
    stdin: { contents: program, resolveDir: process.cwd() },
    bundle: true,
    minify: true,
    format: "esm",
    platform: "browser",
    write: false,
  });
  return gzipSync(outputFiles[0]?.contents ?? "").length;
}

test("a client in a browser weighs at most 52 kB, of which at most 12 kB are ours", async (t) => {
  const whole = await weigh(`import { createClient } from "${index}"; globalThis.x = createClient;`);
  const others = await weigh(
    `import { createClient } from "@connectrpc/connect";
     import { createConnectTransport } from "@connectrpc/connect-web";
     import { ActorService } from "${join(process.cwd(), built, "gen/ts/troupe/v1/actor_service_pb.js")}";
     globalThis.x = [createClient, createConnectTransport, ActorService];`,
  );
  t.diagnostic(`${whole} bytes, ${whole - others} of them ours`);
  assert.ok(whole <= 52_000, `${whole} bytes`);
  assert.ok(whole - others <= 12_000, `${whole - others} bytes are ours`);
});

test("what is not used is left out", async () => {
  const key = await weigh(`import { encodeKey } from "${index}"; globalThis.x = encodeKey;`);
  assert.ok(key <= 1_500, `${key} bytes for encodeKey alone`);
});

const program = `
import { type ActorConnection, Code, createClient, isActorError } from "@troupe/client";
import { Counter } from "./gen/counter/v1/counter_pb.js";

const actors = createClient({ baseUrl: "http://127.0.0.1:1", retry: false });
const counter = actors.getOrCreate(Counter, ["a", ""]);
export function follow(): ActorConnection<typeof Counter> {
  const connection = counter.connect({});
  connection.on("countChanged", ({ count }) => count + 1n);
  return connection;
}
export function wrong(connection: ActorConnection<typeof Counter>) {
  // @ts-expect-error an event that is not there
  connection.on("nothing", () => {});
}
follow().dispose();
try {
  await counter.increment({ amount: 1n });
} catch (error) {
  console.log(isActorError(error) && error.code === Code.Unavailable, counter.url("/x"));
}
`;

test("an empty project installs the package, compiles against it and runs", { timeout: 300_000 }, async (t) => {
  const project = mkdtempSync(join(tmpdir(), "troupe-pack-"));
  t.after(() => rmSync(project, { recursive: true, force: true }));
  const run = (command: string, args: string[], cwd = project) =>
    execFileSync(command, args, { cwd, encoding: "utf8" });
  const [packed] = JSON.parse(run("npm", ["pack", "--json", "--silent", "--pack-destination", project], process.cwd()));
  const names: string[] = packed.files.map(({ path }: { path: string }) => path);
  assert.ok(["README.md", "package.json", "dist/LICENSE"].every((name) => names.includes(name)));
  const foreign = names.filter((name) => !/^(README\.md|package\.json|dist\/(LICENSE|.*\.(js|d\.ts)))$/.test(name));
  assert.deepEqual(foreign, []);
  assert.ok(!names.some((name) => /chat|counter|stage/.test(name)), "the examples' code stays at home");

  // What the user has: a program, and the code that buf generate made of their schema and what it imports.
  const root = join(process.cwd(), "../..");
  cpSync(join(root, "gen/ts"), join(project, "gen"), { recursive: true });
  writeFileSync(join(project, "main.ts"), program);
  writeFileSync(join(project, "package.json"), JSON.stringify({ private: true, type: "module" }));
  const { devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const needs = ["@bufbuild/protobuf", "@connectrpc/connect", "@connectrpc/connect-web", "typescript"];
  const versions = needs.map((name) => `${name}@${devDependencies[name]}`);
  run("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", `./${packed.filename}`, ...versions]);

  const tsc = join(project, "node_modules/.bin/tsc");
  const common = [
    "--strict",
    "--target",
    "es2022",
    "--lib",
    "es2022,dom,dom.iterable,dom.asynciterable,esnext.disposable",
  ];
  run(tsc, [...common, "--module", "esnext", "--moduleResolution", "bundler", "--noEmit", "main.ts"]);
  run(tsc, [...common, "--module", "nodenext", "--moduleResolution", "nodenext", "main.ts"]);
  const output = run(process.execPath, ["main.js"]);
  assert.equal(output.trim(), "true http://127.0.0.1:1/actors/default/a/~/@/counter.v1.Counter/http/x");
});
