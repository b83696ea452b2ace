// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// What the end-to-end tests share: servers, a browser, patience.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createSite } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { chromium } from "playwright-core";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");

/** How long anything may take before a test gives up on it, in milliseconds. */
export const patience = 30_000;

/** What each running test has to clean up, in the order in which it began. */
const cleanups = new WeakMap();

/** Runs clean when the test has ended: the last thing begun is ended first, whatever fails. */
export function defer(t, clean) {
  let all = cleanups.get(t);
  if (all === undefined) {
    all = [];
    cleanups.set(t, all);
    t.after(async () => {
      const errors = [];
      for (const next of all.reverse()) {
        try {
          await next();
        } catch (error) {
          errors.push(error);
        }
      }
      if (errors.length > 0) {
        throw new AggregateError(errors, errors.join("; "));
      }
    });
  }
  all.push(clean);
}

/** Builds a program of the tree, an example unless its folder is given, and returns its path. */
export function buildProgram(name, folder = `examples/${name}`) {
  const bin = join(root, "node_modules/.cache/troupe-e2e");
  mkdirSync(bin, { recursive: true });
  const path = join(bin, name);
  execFileSync("go", ["build", "-o", path, `./${folder}`], {
    cwd: root,
    stdio: ["ignore", "ignore", "inherit"],
  });
  return path;
}

/** A directory that the test's end removes. */
export function temporaryDirectory(t) {
  const path = mkdtempSync(join(tmpdir(), "troupe-e2e-"));
  defer(t, () => rmSync(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 }));
  return path;
}

export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** Starts a program and waits until it takes connections; the test's end kills it. */
export async function startServer(t, program, { port, dataDir, args = [], env = {} }) {
  const child = spawn(program, ["-listen", `127.0.0.1:${port}`, "-data-dir", dataDir, ...args], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let log = "";
  child.stdout.on("data", (chunk) => (log += chunk));
  child.stderr.on("data", (chunk) => (log += chunk));
  const exited = once(child, "exit");
  const end = async (signal) => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(signal);
      await exited;
    }
  };
  defer(t, () => end("SIGKILL"));
  const url = `http://127.0.0.1:${port}`;
  await eventually(async () => {
    assert.equal(child.exitCode, null, `the server ended:\n${log}`);
    await fetch(url).then((response) => response.arrayBuffer());
  }, "the server takes connections");
  return { url, log: () => log, kill: () => end("SIGKILL"), stop: () => end("SIGTERM") };
}

/** Starts the server of clients/scenarios; the test's end ends it. Returns the URL of its control. */
export async function startScenarioServer(t) {
  const child = spawn(buildProgram("scenarios", "clients/scenarios/server"), { stdio: ["pipe", "pipe", "inherit"] });
  const exited = once(child, "exit");
  defer(t, async () => {
    child.stdin.end();
    await exited;
  });
  const [line] = await once(child.stdout, "data");
  return JSON.parse(line).control;
}

/** Makes a run of the scenarios' server, for tests that are no scenario. */
export async function startRun(t, control, settings = {}) {
  const post = async (url, body) => {
    const response = await fetch(url, { method: "POST", body });
    assert.ok(response.ok, `${url}: ${response.status}`);
    return response;
  };
  const { id, url, direct } = await (await post(`${control}/runs`, JSON.stringify(settings))).json();
  defer(t, () => fetch(`${control}/runs/${id}`, { method: "DELETE" }));
  return { url, direct, act: (act) => post(`${control}/runs/${id}/${act}`) };
}

/** Serves a page whose only content is a script; the test's end ends it. Returns the page's origin. */
export async function startPage(t, script) {
  const site = createSite((request, response) => {
    const isScript = request.url === "/script.js";
    response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
    response.end(
      isScript
        ? script
        : '<!doctype html><link rel="icon" href="data:,"><title>page</title><script type="module" src="/script.js"></script>',
    );
  });
  await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
  defer(t, () => site.close());
  return `http://127.0.0.1:${site.address().port}`;
}

/** A browser with a profile of its own; the test's end closes it. */
export async function startBrowser(t, options = {}) {
  const context = await chromium.launchPersistentContext(temporaryDirectory(t), {
    executablePath: "/usr/bin/chromium",
    headless: true,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
    ...options,
  });
  context.setDefaultTimeout(patience);
  defer(t, () => context.close());
  return context;
}

/**
 * Collects what goes wrong in a page. A server that is down, and one that no longer
 * knows a connection from before it died, are part of the tests.
 */
export function watchErrors(page) {
  const errors = [];
  const refusals = new Set();
  page.on("pageerror", (error) => errors.push(`uncaught: ${error.message}`));
  page.on("console", (message) => {
    // What the browser says of an answer of 400 and more, the answer itself says better.
    const ofNetwork = /ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY_RESPONSE|the server responded with a status of/;
    if (message.type() === "error" && !ofNetwork.test(message.text())) {
      errors.push(message.text());
    }
  });
  page.on("response", (response) => {
    if (response.status() < 400) {
      return;
    }
    const refusal = response
      .text()
      .catch((error) => `no body: ${error.message}`)
      .then((body) => {
        refusals.delete(refusal);
        if (!body.includes("the connection of this call is not open")) {
          errors.push(`${response.status()} ${response.url()}: ${body}`);
        }
      });
    refusals.add(refusal);
  });
  return async () => {
    await Promise.all(refusals);
    return errors;
  };
}

/** Repeats check until it throws no more, and returns what it returns. */
export async function eventually(check, what) {
  const end = Date.now() + patience;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > end) {
        throw new Error(`it never came true that ${what}`, { cause: error });
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/**
 * Compiles TypeScript of the tree: source is the text of a module whose imports
 * are relative to the root. Returns the module's path, or its text for a browser.
 */
export async function compile(source, { browser = false } = {}) {
  const { outputFiles } = await build({
    stdin: { contents: source, resolveDir: root, loader: "ts" },
    bundle: true,
    write: false,
    format: "esm",
    ...(browser ? { platform: "browser" } : { platform: "node", target: "node20", packages: "external" }),
  });
  const text = outputFiles[0].text;
  if (browser) {
    return text;
  }
  const dir = join(root, "node_modules/.cache/troupe-e2e");
  mkdirSync(dir, { recursive: true });
  const path = join(dir, `${createHash("sha256").update(text).digest("hex").slice(0, 16)}.mjs`);
  writeFileSync(path, text);
  return path;
}
