// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Compiles the tests once against each React that the package supports, and runs
// them with node:test. React 18 leaves a channel open that would keep Node alive.
// Arguments go to node.

import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "../../..");
const tests = readdirSync(here).filter((name) => /\.test\.tsx?$/.test(name));
const reacts = { 18: join(root, "test/react-18/node_modules"), 19: join(root, "node_modules") };

const files = [];
for (const [version, modules] of Object.entries(reacts)) {
  const outdir = join(root, "node_modules/.cache/troupe-react-test", version);
  await build({
    entryPoints: tests.map((name) => join(here, name)),
    outdir,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    jsx: "automatic",
    ignoreAnnotations: true, // the package has no side effects, its tests do
    alias: {
      "@troupe/client": join(root, "clients/typescript/src/index.ts"),
      react: join(modules, "react"),
      "react-dom": join(modules, "react-dom"),
    },
    external: ["happy-dom", "esbuild"],
    // CommonJS inside the bundle asks for Node's own modules by require.
    banner: { js: `import { createRequire } from "node:module"; const require = createRequire(import.meta.url);` },
    define: { "process.env.NODE_ENV": '"development"', REACT: JSON.stringify(version) },
    sourcemap: "inline",
    logLevel: "warning",
  });
  files.push(...tests.map((name) => join(outdir, name.replace(/\.tsx?$/, ".mjs"))));
}

const { status } = spawnSync(
  process.execPath,
  ["--enable-source-maps", "--test-force-exit", ...process.argv.slice(2), "--test", ...files],
  {
    stdio: "inherit",
    cwd: join(here, ".."),
  },
);
process.exitCode = status ?? 1;
