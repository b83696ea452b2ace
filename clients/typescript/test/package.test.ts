// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

test("the package as built can be imported and has its types", async () => {
  // The tests run from the package's folder.
  const dist = "../../node_modules/.cache/troupe-client-dist";
  execFileSync(process.execPath, ["build.mjs", dist]);
  const { exports } = JSON.parse(readFileSync("package.json", "utf8"));
  const built = (path: string) => join(process.cwd(), dist, path.replace(/^\.\/dist\//, ""));
  assert.ok(existsSync(built(exports["."].types)));
  const client = await import(pathToFileURL(built(exports["."].default)).href);
  const actors = client.createClient({ baseUrl: "http://localhost" });
  assert.equal(client.encodeKey(["a", ""]), "a/~");
  assert.equal(typeof actors.lifecycle.resolve, "function");
  assert.equal(client.ActorService.typeName, "troupe.v1.ActorService");
});
