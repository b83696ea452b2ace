// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Compiles the package into dist, or into the directory given.

import { spawnSync } from "node:child_process";
import { copyFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { emptyRules, emptyRulesTypes } from "./empty-rules.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const dist = resolve(process.argv[2] ?? join(here, "dist"));

rmSync(dist, { recursive: true, force: true });
const tsc = join(here, "../../node_modules/.bin/tsc");
const { status } = spawnSync(tsc, ["-p", join(here, "tsconfig.json"), "--outDir", dist], { stdio: "inherit" });
if (status === 0) {
  const rules = join(dist, "gen/ts/buf/validate/validate_pb");
  writeFileSync(`${rules}.js`, emptyRules);
  writeFileSync(`${rules}.d.ts`, emptyRulesTypes);
  copyFileSync(join(here, "../../LICENSE"), join(dist, "LICENSE"));
}
process.exitCode = status ?? 1;
