// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// The board's page in a browser, against the one Go program that serves it.

import assert from "node:assert/strict";
import { before, test } from "node:test";
import { findBarriers } from "./axe.mjs";
import {
  buildProgram,
  eventually,
  freePort,
  startBrowser,
  startServer,
  temporaryDirectory,
  watchErrors,
} from "./kit.mjs";

let program;
before(() => {
  program = buildProgram("board");
});

const status = (page, wanted) => page.locator(`[data-testid=status][data-status=${wanted}]`).waitFor();

/** Opens a tab and a board as somebody. */
async function open(context, url, name) {
  const page = await context.newPage();
  const errors = watchErrors(page);
  await page.goto(`${url}#/plans`);
  await page.getByTestId("name-input").fill(name);
  await page.getByTestId("join-button").click();
  await status(page, "connected");
  return {
    page,
    errors,
    texts: () => page.getByTestId("note-text").evaluateAll((all) => all.map(({ value }) => value).sort()),
    places: () =>
      page
        .getByTestId("note")
        .evaluateAll((all) =>
          all.map(({ dataset, style }) =>
            [dataset.id, style.getPropertyValue("--x"), style.getPropertyValue("--y")].join(),
          ),
        ),
    people: () => page.getByTestId("person").evaluateAll((all) => all.map(({ dataset }) => dataset.name)),
  };
}

const sees = (read, wanted, what) => eventually(async () => assert.deepEqual(await read(), wanted), what);

test("two people move notes about, the server dies and comes back", { timeout: 240_000 }, async (t) => {
  const [port, dataDir] = [await freePort(), temporaryDirectory(t)];
  const first = await startServer(t, program, { port, dataDir });
  const context = await startBrowser(t);
  const ada = await open(context, first.url, "Ada");
  await ada.page.getByTestId("empty").waitFor();
  const bob = await open(context, first.url, "Bob");
  await sees(ada.people, ["Ada", "Bob"], "Ada sees Bob come");
  await sees(bob.people, ["Ada", "Bob"], "Bob sees Ada there");

  await ada.page.getByTestId("add-button").click();
  await ada.page.keyboard.type("Buy milk");
  await sees(bob.texts, ["Buy milk"], "Bob reads what Ada writes");
  await bob.page.getByTestId("add-button").click();
  await bob.page.keyboard.type("Call Grace");
  await sees(ada.texts, ["Buy milk", "Call Grace"], "Ada reads what Bob writes");

  // By the keyboard: the arrow keys on the bar of a note.
  const before = await bob.places();
  await ada.page.getByRole("button", { name: "Move note “Buy milk”", exact: true }).press("Shift+ArrowLeft");
  await eventually(async () => assert.notDeepEqual(await bob.places(), before), "Bob sees the note move");
  await sees(bob.places, await ada.places(), "both see it in one place");

  // By the pointer: the others see where it is.
  const grip = await bob.page.getByRole("button", { name: "Move note “Call Grace”", exact: true }).boundingBox();
  await bob.page.bringToFront();
  await bob.page.mouse.move(grip.x + 20, grip.y + 12);
  await bob.page.mouse.down();
  await bob.page.mouse.move(grip.x + 220, grip.y + 172, { steps: 8 });
  await bob.page.mouse.up();
  await ada.page.locator("[data-testid=pointer][data-name=Bob]").waitFor();
  await eventually(async () => {
    const [now, then] = [await bob.places(), before];
    assert.equal(now.filter((place) => then.includes(place)).length, 0, "both notes have moved");
    assert.deepEqual(await ada.places(), now);
  }, "Ada sees the note where Bob has dropped it");

  await first.kill();
  await ada.page.getByTestId("status").filter({ hasText: "Reconnecting" }).waitFor();
  assert.equal(await ada.page.getByTestId("add-button").isDisabled(), true, "nothing is added while offline");
  const places = await ada.places();
  await startServer(t, program, { port, dataDir });
  await Promise.all([status(ada.page, "connected"), status(bob.page, "connected")]);
  await sees(ada.people, ["Ada", "Bob"], "Ada sees Bob back");
  await sees(ada.texts, ["Buy milk", "Call Grace"], "no note is lost");
  await sees(bob.places, places, "every note is where it was");

  await ada.page.getByRole("button", { name: "Remove note “Call Grace”", exact: true }).click();
  await sees(bob.texts, ["Buy milk"], "Bob sees the note go");
  await ada.page.close();
  await sees(bob.people, ["Bob"], "Bob sees Ada leave");
  assert.deepEqual([...(await ada.errors()), ...(await bob.errors())], []);
});

test("the pages have no barriers that axe finds, wide or narrow, light or dark", { timeout: 240_000 }, async (t) => {
  const board = await startServer(t, program, { port: await freePort(), dataDir: temporaryDirectory(t) });
  const chat = await startServer(t, buildProgram("chat"), { port: await freePort(), dataDir: temporaryDirectory(t) });
  for (const [width, colorScheme] of [
    [1200, "light"],
    [375, "dark"],
  ]) {
    const context = await startBrowser(t, { viewport: { width, height: 760 }, colorScheme, reducedMotion: "reduce" });
    const page = await context.newPage();
    await page.goto(board.url);
    assert.deepEqual(await findBarriers(page), [], "the board's welcome");
    await page.getByTestId("name-input").fill("Ada");
    await page.getByTestId("join-button").click();
    await status(page, "connected");
    await page.getByTestId("add-button").click();
    await page.keyboard.type("Accessible");
    assert.deepEqual(await findBarriers(page), [], `the board at ${width}, ${colorScheme}`);
    assert.ok(
      await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
      `the board fits into ${width}`,
    );
    await page.goto(chat.url);
    assert.deepEqual(await findBarriers(page), [], "the chat's welcome");
    await page.getByTestId("name-input").fill("Ada");
    await page.getByTestId("join-button").click();
    await status(page, "connected");
    await page.getByTestId("composer-input").fill("Hello");
    await page.getByTestId("composer-input").press("Enter");
    await page.getByTestId("message").first().waitFor();
    assert.deepEqual(await findBarriers(page), [], `the chat at ${width}, ${colorScheme}`);
    assert.ok(
      await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
      `the chat fits into ${width}`,
    );
  }
});
