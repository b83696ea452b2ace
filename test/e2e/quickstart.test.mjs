// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// The quickstarts, taken out of their pages and tried: a fenced block whose first
// line names a file is that file.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { dirname, join } from "node:path";
import { before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { defer, eventually, freePort, startBrowser, startServer, temporaryDirectory } from "./kit.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");

/** The blocks of a page that have a name. */
function blocksOf(page) {
  const text = readFileSync(join(root, "docs/quickstart", `${page}.md`), "utf8");
  return [...text.matchAll(/^```\w+ (\S+)\n(.*?)^```$/gms)].map(([, name, contents]) => ({ name, contents }));
}

/** Writes the files of the pages and returns their names. */
function extract(dir, ...pages) {
  const names = [];
  for (const { name, contents } of pages.flatMap(blocksOf)) {
    mkdirSync(dirname(join(dir, name)), { recursive: true });
    writeFileSync(join(dir, name), contents);
    names.push(name);
  }
  return names;
}

const run = (cwd, command, ...args) => execFileSync(command, args, { cwd, stdio: ["ignore", "pipe", "inherit"] });

/** Fails if the files do not pass the compiler. */
function check(dir, files) {
  const options = {
    target: "ES2022",
    module: "esnext",
    moduleResolution: "bundler",
    lib: ["ES2022", "DOM", "DOM.Iterable", "DOM.AsyncIterable", "ESNext.Disposable"],
    jsx: "react-jsx",
    strict: true,
    skipLibCheck: true,
    noEmit: true,
    types: ["node"],
    paths: {
      "@troupe/client": [join(root, "clients/typescript/src/index.ts")],
      "@troupe/react": [join(root, "clients/react/src/index.ts")],
    },
  };
  writeFileSync(join(dir, "tsconfig.json"), JSON.stringify({ compilerOptions: options, files }));
  execFileSync(join(root, "node_modules/.bin/tsc"), ["-p", dir], { stdio: "inherit" });
}

/** Bundles one file as for a browser. */
async function bundle(dir, file) {
  const { outputFiles } = await build({
    entryPoints: [join(dir, file)],
    bundle: true,
    write: false,
    format: "esm",
    jsx: "automatic",
    nodePaths: [join(root, "node_modules")],
    alias: {
      "@troupe/client": join(root, "clients/typescript/src/index.ts"),
      "@troupe/react": join(root, "clients/react/src/index.ts"),
    },
  });
  return outputFiles[0].text;
}

/** A project with the schema and what is generated from it. */
let dir;
before((t) => {
  dir = temporaryDirectory(t);
  extract(dir, "go");
  // As go get would have it, from this checkout and without a network.
  const ours = readFileSync(join(root, "go.mod"), "utf8").replace(/^module .*$/m, "module example.com/tally");
  const troupe = "github.com/troupe-dev/troupe";
  writeFileSync(join(dir, "go.mod"), `${ours}\nrequire ${troupe} v0.0.0\nreplace ${troupe} => ${root}\n`);
  writeFileSync(join(dir, "go.sum"), readFileSync(join(root, "go.sum")));
  symlinkSync(join(root, "node_modules"), join(dir, "node_modules"));
  run(dir, "bash", "-e", "generate");
  run(dir, "go", "build", "-o", "tally", ".");
});

/** Votes for lunch, as curl would. */
const voteAt = (url) =>
  fetch(`${url}/tally.v1.Tally/Vote`, {
    method: "POST",
    headers: { "content-type": "application/json", "actor-key": "lunch" },
    body: "{}",
  }).then((response) => response.json());

test("Go and browser: the service is built and called, the page follows it", { timeout: 300_000 }, async (t) => {
  const html = extract(dir, "browser").find((name) => name.endsWith(".html"));
  check(dir, ["browser.ts"]);
  const script = await bundle(dir, "browser.ts");
  const site = createServer((request, response) => {
    const isScript = request.url === "/browser.js";
    response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
    response.end(isScript ? script : readFileSync(join(dir, html)));
  });
  await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
  defer(t, () => site.close());
  const origin = `http://127.0.0.1:${site.address().port}`;
  const { url } = await startServer(t, join(dir, "tally"), {
    port: await freePort(),
    dataDir: temporaryDirectory(t),
    args: ["-cors-origins", origin],
  });
  assert.deepEqual(await voteAt(url), { votes: 1 });

  const page = await (await startBrowser(t)).newPage();
  await page.goto(`${origin}/?server=${url}`);
  const shows = (votes) =>
    eventually(async () => assert.equal(await page.locator("#votes").textContent(), votes), `the page shows ${votes}`);
  await shows("1");
  await page.locator("#vote").click();
  await shows("2");
  await voteAt(url);
  await shows("3");
});

test("React: it compiles and can be bundled", { timeout: 120_000 }, async () => {
  const files = extract(dir, "react");
  check(dir, files);
  assert.match(await bundle(dir, "react.tsx"), /tally/);
});

test("Next.js: both sides compile", { timeout: 120_000 }, () => {
  check(dir, extract(dir, "nextjs"));
});

/** What a project of the App Router has besides the page, in the versions that it is tried with. */
const next = ["next@16.4.6", "typescript@5.9.3", "@types/react@19", "@types/node@20"];
const layout = `export default function Layout({ children }: { children: React.ReactNode }) {
  return <html lang="en"><body>{children}</body></html>;
}
`;

test("Next.js: it is built, rendered on the server, followed and voted on", { timeout: 600_000 }, async (t) => {
  const npm = (cwd, ...args) =>
    execFileSync("npm", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  try {
    npm(dir, "view", next[0], "version", "--fetch-retries=0", "--fetch-timeout=15000");
  } catch {
    t.skip("npm reaches no registry that has Next.js");
    return;
  }
  const project = temporaryDirectory(t);
  const { dependencies, devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const libraries = ["@bufbuild/protobuf", "@connectrpc/connect", "@connectrpc/connect-web"];
  const all = { ...dependencies, ...devDependencies };
  const packed = ["client", "react"].map((name) => {
    const folder = join(root, "clients", name === "client" ? "typescript" : name);
    return join(project, npm(folder, "pack", "--silent", "--pack-destination", project).trim().split("\n").at(-1));
  });
  writeFileSync(join(project, "package.json"), '{ "private": true, "type": "module" }');
  const ours = [...libraries.map((name) => `${name}@${all[name]}`), "react@19", "react-dom@19", ...packed];
  npm(project, "install", "--no-audit", "--no-fund", "--prefer-offline", ...next, ...ours);
  extract(project, "nextjs");
  writeFileSync(join(project, "app/layout.tsx"), layout);
  cpSync(join(dir, "gen"), join(project, "gen"), { recursive: true });

  const [port, sitePort] = [await freePort(), await freePort()];
  const env = { ...process.env, NEXT_TELEMETRY_DISABLED: "1", NEXT_PUBLIC_TROUPE_URL: `http://127.0.0.1:${port}` };
  const bin = join(project, "node_modules/next/dist/bin/next");
  execFileSync(process.execPath, [bin, "build"], { cwd: project, env, stdio: ["ignore", "pipe", "inherit"] });
  const origin = `http://127.0.0.1:${sitePort}`;
  const { url } = await startServer(t, join(dir, "tally"), {
    port,
    dataDir: temporaryDirectory(t),
    args: ["-cors-origins", origin],
  });
  const site = spawn(process.execPath, [bin, "start", "-H", "127.0.0.1", "-p", `${sitePort}`], {
    cwd: project,
    env,
    stdio: ["ignore", "ignore", "inherit"],
  });
  const ended = once(site, "exit");
  defer(t, async () => {
    site.kill("SIGKILL");
    await ended;
  });
  await voteAt(url);
  const rendered = await eventually(() => fetch(origin).then((response) => response.text()), "the site is there");
  assert.match(rendered, /<button type="submit">1(<!-- -->)? for lunch/, "the server has read the votes");

  const page = await (await startBrowser(t)).newPage();
  await page.goto(origin);
  const shows = (text) =>
    eventually(async () => assert.equal(await page.locator("button").textContent(), text), `the page shows ${text}`);
  await shows("1 for lunch");
  await voteAt(url); // which the page hears of as an event
  await shows("2 for lunch");
  await page.locator("button").click(); // a server action
  await shows("3 for lunch");
});

/** Why the chroot of Debian's Swift is not to be had here; false if it is. */
const noSwift =
  (process.platform !== "linux" || process.getuid() !== 0) && "the chroot of scripts/swift-chroot needs root on Linux";

test("Swift: the program is built, reads, votes and follows; the app parses", {
  timeout: 1_200_000,
  skip: noSwift,
}, async (t) => {
  const chroot = join(root, "scripts/swift-chroot");
  const inChroot = (...command) => execFileSync(chroot, ["run", ...command], { stdio: ["ignore", "pipe", "inherit"] });
  execFileSync(chroot, ["build"], { stdio: "inherit" }); // unless it is there
  extract(dir, "swift");
  // /src is this checkout, /build is kept.
  const place = "rm -rf /build/poll && mkdir /build/poll && tar -x -C /build/poll && ln -sfn /src /build/troupe";
  execFileSync("bash", ["-o", "pipefail", "-c", 'tar -c poll app | "$1" run sh -c "$2"', "bash", chroot, place], {
    cwd: dir,
  });
  inChroot("swiftc", "-frontend", "-parse", "/build/poll/app/PollApp.swift");
  inChroot("swift", "build", "--package-path", "/build/poll/poll", "--scratch-path", "/build/poll-built");

  const [port, dataDir] = [await freePort(), temporaryDirectory(t)];
  const server = await startServer(t, join(dir, "tally"), { port, dataDir });
  const child = spawn(chroot, ["run", "stdbuf", "-oL", "/build/poll-built/debug/poll", server.url], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  defer(t, () => child.kill("SIGKILL"));
  let printed = "";
  child.stdout.on("data", (chunk) => (printed += chunk));
  const prints = (...votes) =>
    eventually(
      async () => assert.equal(printed, votes.map((n) => `votes: ${n}\n`).join("")),
      `it has printed ${votes}`,
    );
  await prints(0, 1);
  assert.deepEqual(await voteAt(server.url), { votes: 2 });
  await prints(0, 1, 2);
  await server.kill();
  await startServer(t, join(dir, "tally"), { port, dataDir });
  assert.deepEqual(await voteAt(server.url), { votes: 3 });
  await prints(0, 1, 2, 3);
});
