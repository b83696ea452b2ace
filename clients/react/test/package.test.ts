// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

// The tests run from the package's folder. Both Reacts run them: each has its own.
declare const REACT: string;
const dist = `../../node_modules/.cache/troupe-react-dist-${REACT}`;
execFileSync(process.execPath, ["build.mjs", dist]);

test("the package as built has its entry, its types and nothing of others", () => {
  const { exports } = JSON.parse(readFileSync("package.json", "utf8"));
  for (const path of Object.values<string>(exports["."])) {
    assert.ok(existsSync(join(dist, path.replace(/^\.\/dist\//, ""))), path);
  }
  for (const name of readdirSync(dist)) {
    assert.match(name, /\.(js|d\.ts)$/);
    assert.doesNotMatch(
      readFileSync(join(dist, name), "utf8"),
      /from "\.\.\//,
      `${name} refers to what is not published`,
    );
  }
});

test("modules with hooks are for the client, the others for servers too", () => {
  for (const name of readdirSync(dist).filter((file) => file.endsWith(".js"))) {
    const text = readFileSync(join(dist, name), "utf8");
    assert.equal(/^"use client";$/m.test(text), /from "react"/.test(text), name);
  }
});

test("what it adds to a bundle stays below its budget", async () => {
  const { outputFiles } = await build({
    entryPoints: [join(dist, "index.js")],
    bundle: true,
    write: false,
    minify: true,
    format: "esm",
    packages: "external",
  });
  const bytes = gzipSync(outputFiles[0]?.contents ?? new Uint8Array(), { level: 9 }).length;
  assert.ok(bytes < 5 * 1024, `${bytes} bytes gzipped`);
});
