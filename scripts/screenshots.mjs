// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Takes the pictures of docs/images: make screenshots.

import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { buildProgram, eventually, freePort, startBrowser, startServer, temporaryDirectory } from "../test/e2e/kit.mjs";

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
  const [ada, grace] = [
    await enter(await startBrowser(t, wide), url, "Ada"),
    await enter(await startBrowser(t, phone), url, "Grace"),
  ];
  const pin = async (page, text) => {
    await page.getByTestId("add-button").click();
    await page.keyboard.type(text);
    for (const other of [ada, grace]) {
      await eventually(async () => {
        const all = await other.getByTestId("note-text").evaluateAll((notes) => notes.map(({ value }) => value));
        if (!all.includes(text)) throw new Error(text);
      }, `the note ${text} is on both boards`);
    }
  };
  const lay = async (page, text, x, y) => {
    const grip = await page
      .getByRole("button", { name: `Move note “${text.slice(0, 40)}”`, exact: true })
      .boundingBox();
    const at = [grip.x + 30, grip.y + 14];
    await page.mouse.move(...at);
    await page.mouse.down();
    await page.mouse.move(x, y, { steps: 4 });
    await page.mouse.up();
  };
  const places = [
    ["Paint the masks", ada, 120, 130],
    ["Borrow a ladder", grace, 420, 190],
    ["Posters: two hundred", ada, 730, 120],
    ["Who sells the tickets?", grace, 250, 420],
    ["Rehearse act two", ada, 600, 430],
    ["Tea in the break", ada, 930, 380],
  ];
  for (const [text, page] of places) {
    await pin(page, text);
  }
  for (const [text, , x, y] of places) {
    await lay(ada, text, x, y);
  }
  const board = await grace.getByTestId("board").boundingBox();
  await grace.mouse.move(board.x + board.width * 0.55, board.y + board.height * 0.52);
  await ada.locator("[data-testid=pointer][data-name=Grace]").waitFor();
  await ada.getByTestId("board-title").click();
  await shoot(ada, "board");
  await shoot(grace, "board-phone");
});
