// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Compiles the package into dist, or into the directory given.

import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const dist = resolve(process.argv[2] ?? join(here, "dist"));
const tsc = join(here, "../../node_modules/.bin/tsc");

// tsc writes the client along, from whose sources the types come: only what is
// this package's own is kept. It names the client as users do.
const all = mkdtempSync(join(tmpdir(), "troupe-react-"));
try {
  const { status } = spawnSync(tsc, ["-p", join(here, "tsconfig.json"), "--outDir", all], { stdio: "inherit" });
  rmSync(dist, { recursive: true, force: true });
  if (status === 0) {
    cpSync(join(all, "clients/react/src"), dist, { recursive: true });
  }
  process.exitCode = status ?? 1;
} finally {
  rmSync(all, { recursive: true, force: true });
}
