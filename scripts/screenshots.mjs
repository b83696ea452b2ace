// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Takes the pictures of docs/images: make screenshots.

import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { buildProgram, freePort, startBrowser, startServer, temporaryDirectory } from "../test/e2e/kit.mjs";

const images = join(dirname(fileURLToPath(import.meta.url)), "../docs/images");
mkdirSync(images, { recursive: true });

const serve = async (t, name) =>
  startServer(t, buildProgram(name), { port: await freePort(), dataDir: temporaryDirectory(t) });
const connected = (page) => page.locator("[data-testid=status][data-status=connected]").waitFor();
const shoot = (page, name) =>
  page.screenshot({ path: join(images, `${name}.png`), animations: "disabled", caret: "hide" });
const wide = { viewport: { width: 1180, height: 720 }, colorScheme: "light", reducedMotion: "reduce" };
const phone = { ...wide, viewport: { width: 390, height: 760 }, deviceScaleFactor: 2, colorScheme: "dark" };

async function enter(context, url, name) {
  const page = await context.newPage();
  await page.goto(url);
  await page.getByTestId("name-input").fill(name);
  await page.getByTestId("join-button").click();
  await connected(page);
  return page;
}

test("chat", async (t) => {
  const { url } = await serve(t, "chat");
  const [ada, grace] = [
    await enter(await startBrowser(t, wide), url, "Ada"),
    await enter(await startBrowser(t, phone), url, "Grace"),
  ];
  const say = async (page, text) => {
    await page.getByTestId("composer-input").fill(text);
    await page.getByTestId("composer-input").press("Enter");
    await page.getByTestId("outgoing").waitFor({ state: "detached" });
  };
  await say(ada, "/topic Opening night");
  await ada.getByTestId("topic").waitFor();
  await say(ada, "The curtain goes up at eight. Are the masks painted?");
  await say(grace, "Both of them. The gold is still wet.");
  await say(grace, "I need somebody to hold the ladder tomorrow.");
  await say(ada, "I can. I also wrote down who stands where: https://example.org/stage-plan");
  await say(ada, "/remind 1s put out the chairs");
  await ada.getByTestId("message").filter({ hasText: "Reminder: put out the chairs" }).waitFor();
  await grace.getByTestId("message").filter({ hasText: "Reminder: put out the chairs" }).waitFor();
  await grace.getByTestId("composer-input").pressSequentially("Wonder");
  await ada.getByTestId("typing").filter({ hasText: "Grace is typing" }).waitFor();
  await shoot(ada, "chat");
  await shoot(grace, "chat-phone");
});

test("board", async (t) => {
  const { url } = await serve(t, "board");
  const notes = [
    ["Paint the masks", "Ada", "YELLOW", 60, 90],
    ["Borrow a ladder", "Grace", "BLUE", 340, 180],
    ["Posters: two hundred", "Ada", "PINK", 700, 60],
    ["Who sells the tickets?", "Grace", "GREEN", 160, 620],
    ["Rehearse act two", "Ada", "YELLOW", 560, 700],
    ["Tea in the break", "Grace", "PINK", 930, 520],
  ];
  for (const [text, author, color, x, y] of notes) {
    const response = await fetch(`${url}/whiteboard.v1.Whiteboard/PutNote`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "actor-key": "plans",
        "actor-params-bin": Buffer.from([10, author.length, ...Buffer.from(author)]).toString("base64"),
      },
      body: JSON.stringify({ note: { id: text.slice(0, 8), text, color: `COLOR_${color}`, place: { x, y } } }),
    });
    if (!response.ok) throw new Error(await response.text());
  }
  const [ada, grace] = [
    await enter(await startBrowser(t, wide), url, "Ada"),
    await enter(await startBrowser(t, phone), url, "Grace"),
  ];
  await ada.locator("[data-testid=person][data-name=Grace]").waitFor();
  const board = await grace.getByTestId("board").boundingBox();
  await grace.mouse.move(board.x + board.width * 0.55, board.y + board.height * 0.52);
  await ada.locator("[data-testid=pointer][data-name=Grace]").waitFor();
  await shoot(ada, "board");
  await shoot(grace, "board-phone");
});
