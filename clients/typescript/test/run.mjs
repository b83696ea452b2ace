// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Compiles the tests and runs them with node:test. Arguments go to node.

import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const outdir = join(here, "../../../node_modules/.cache/troupe-client-test");
const tests = readdirSync(here).filter((name) => name.endsWith(".test.ts"));

await build({
  entryPoints: tests.map((name) => join(here, name)),
  outdir,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  format: "esm",
  platform: "node",
  target: "node20",
  packages: "external",
  sourcemap: "inline",
  logLevel: "warning",
});

const files = tests.map((name) => join(outdir, name.replace(/\.ts$/, ".mjs")));
const { status } = spawnSync(process.execPath, ["--enable-source-maps", ...process.argv.slice(2), "--test", ...files], {
  stdio: "inherit",
  cwd: join(here, ".."),
});
process.exitCode = status ?? 1;
