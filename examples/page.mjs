// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Bundles the page of an example into its dist, which the Go program embeds. With
// --check it writes nothing and fails unless the committed bundle is what it would
// write. It is run in the folder of the page's sources.

import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { emptyRules } from "../clients/typescript/empty-rules.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const here = process.cwd();
const dist = join(here, "../dist");

const withoutRules = {
  name: "without-validation-rules",
  setup(bundle) {
    bundle.onLoad({ filter: /buf[/\\]validate[/\\]validate_pb\.ts$/ }, () => ({
      contents: emptyRules,
      resolveDir: root,
    }));
  },
};

const result = await build({
  absWorkingDir: root,
  entryPoints: { app: relative(root, join(here, "src/main.tsx")) },
  outdir: relative(root, dist),
  write: false,
  bundle: true,
  format: "esm",
  target: ["chrome111", "firefox113", "safari16.4"],
  minify: true,
  charset: "utf8",
  legalComments: "none",
  banner: { js: "// Copyright 2026 The Troupe Authors and others: see licenses.txt" },
  jsx: "automatic",
  define: { "process.env.NODE_ENV": '"production"' },
  alias: {
    "@troupe/client": join(root, "clients/typescript/src/index.ts"),
    "@troupe/react": join(root, "clients/react/src/index.ts"),
  },
  plugins: [withoutRules],
  logLevel: "warning",
});
const style = await build({
  absWorkingDir: root,
  entryPoints: { app: relative(root, join(here, "style.css")) },
  outdir: relative(root, dist),
  write: false,
  target: ["chrome111", "firefox113", "safari16.4"],
  minify: true,
  charset: "utf8",
  legalComments: "none",
  banner: { css: "/* Copyright 2026 The Troupe Authors: see licenses.txt */" },
  logLevel: "warning",
});

const files = new Map();
for (const { path, contents } of [...result.outputFiles, ...style.outputFiles]) {
  files.set(relative(dist, path), Buffer.from(contents));
}
for (const name of ["index.html", "favicon.svg"]) {
  files.set(name, await readFile(join(here, name)));
}
files.set("licenses.txt", Buffer.from(await licenses()));

if (process.argv.includes("--check")) {
  const committed = await readdir(dist).catch(() => []);
  const stale = committed.filter((name) => !files.has(name));
  for (const [name, contents] of files) {
    const present = await readFile(join(dist, name)).catch(() => undefined);
    if (!present?.equals(contents)) {
      stale.push(name);
    }
  }
  if (stale.length > 0) {
    console.error(`examples/${basename(dirname(here))}/dist is stale: ${stale.join(", ")}. Run npm run bundle.`);
    process.exitCode = 1;
  }
} else {
  await mkdir(dist, { recursive: true });
  for (const name of await readdir(dist)) {
    if (!files.has(name)) {
      await rm(join(dist, name), { recursive: true });
    }
  }
  for (const [name, contents] of files) {
    await writeFile(join(dist, name), contents);
    console.log(`${name.padEnd(12)} ${contents.length} bytes, ${gzipSync(contents, { level: 9 }).length} gzipped`);
  }
}

/** What the licences of the bundled packages ask to go along with them. */
async function licenses() {
  const varint = await readFile(join(root, "node_modules/@bufbuild/protobuf/dist/esm/wire/varint.js"), "utf8");
  const bsd = varint.split("\n").slice(
    0,
    varint.split("\n").findIndex((line) => !line.startsWith("//")),
  );
  return [
    "This page is made of:",
    "",
    "  Troupe                   Copyright 2026 The Troupe Authors          Apache-2.0",
    "  @connectrpc/connect      Copyright 2021-2026 The Connect Authors    Apache-2.0",
    "  @connectrpc/connect-web  Copyright 2021-2026 The Connect Authors    Apache-2.0",
    "  @bufbuild/protobuf       Copyright 2021-2026 Buf Technologies, Inc. Apache-2.0 and BSD-3-Clause",
    "  react, react-dom,",
    "  scheduler                Copyright Meta Platforms, Inc. and affiliates MIT",
    "",
    "MIT",
    "",
    ...(await readFile(join(root, "node_modules/react/LICENSE"), "utf8")).trim().split("\n"),
    "",
    "BSD-3-Clause",
    "",
    ...bsd.map((line) => line.replace(/^\/\/ ?/, "")),
    "",
    await readFile(join(root, "LICENSE"), "utf8"),
  ].join("\n");
}
