// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// The chat page in a browser, against the one Go program that serves it.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join as joinPath } from "node:path";
import { before, test } from "node:test";
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
  program = buildProgram("chat");
});

/** Opens a tab and joins a room as somebody. */
async function join(context, url, user, hash = "#/acme/general") {
  const page = await context.newPage();
  const errors = watchErrors(page);
  await page.goto(url + hash);
  await page.getByTestId("name-input").fill(user);
  await page.getByTestId("join-button").click();
  await status(page, "connected");
  return {
    page,
    errors,
    say: async (text) => {
      await page.getByTestId("composer-input").fill(text);
      await page.getByTestId("composer-input").press("Enter");
    },
    messages: () =>
      page
        .getByTestId("message")
        .evaluateAll((items) =>
          items.map(
            (item) => `${item.dataset.author}: ${item.querySelector("[data-testid=message-text]").textContent}`,
          ),
        ),
    members: () => page.getByTestId("member").evaluateAll((items) => items.map((item) => item.dataset.user)),
  };
}

const status = (page, wanted) => page.locator(`[data-testid=status][data-status=${wanted}]`).waitFor();

const sees = (read, wanted, what) => eventually(async () => assert.deepEqual(await read(), wanted), what);

test("two tabs talk, one leaves, the server dies and comes back", { timeout: 180_000 }, async (t) => {
  const [port, dataDir] = [await freePort(), temporaryDirectory(t)];
  const first = await startServer(t, program, { port, dataDir });
  const context = await startBrowser(t);

  const ada = await join(context, first.url, "Ada");
  await ada.page.getByTestId("empty").waitFor();
  const bob = await join(context, first.url, "Bob");
  await sees(ada.members, ["Ada", "Bob"], "Ada sees Bob join");
  await sees(bob.members, ["Ada", "Bob"], "Bob sees Ada there");
  await sees(() => ada.page.getByTestId("note").allTextContents(), ["Bob joined"], "Ada reads that Bob joined");

  await ada.say("Good evening, Bob!");
  await sees(bob.messages, ["Ada: Good evening, Bob!"], "Bob gets the message");
  await bob.say("<b>Hello</b> & https://example.org/a?b=1.");
  const talk = ["Ada: Good evening, Bob!", "Bob: <b>Hello</b> & https://example.org/a?b=1."];
  await sees(ada.messages, talk, "Ada gets the answer");
  await sees(bob.messages, talk, "Bob sees his own answer once");
  assert.equal(await ada.page.locator(".text b").count(), 0, "text is text");
  assert.equal(await ada.page.locator(".text a").getAttribute("href"), "https://example.org/a?b=1");

  await bob.page.getByTestId("composer-input").pressSequentially("Hm");
  await ada.page.getByTestId("typing").filter({ hasText: "Bob is typing" }).waitFor();
  await bob.page.getByTestId("composer-input").fill("");

  const carol = await join(context, first.url, "Carol");
  await sees(carol.messages, talk, "a newcomer reads the history");
  await sees(ada.members, ["Ada", "Bob", "Carol"], "Ada sees Carol join");
  await carol.page.close();
  await sees(ada.members, ["Ada", "Bob"], "Ada sees Carol leave");
  await sees(bob.members, ["Ada", "Bob"], "Bob sees Carol leave");
  await ada.page.getByTestId("note").filter({ hasText: "Carol left" }).waitFor();

  await first.kill();
  for (const { page } of [ada, bob]) {
    await page.getByTestId("status").filter({ hasText: "Reconnecting" }).waitFor();
    await page.getByTestId("composer-input").fill("typed while offline");
    assert.equal(await page.getByTestId("send-button").isDisabled(), true, "nothing is sent while offline");
    await page.getByTestId("composer-input").press("Enter");
    assert.equal(await page.getByTestId("composer-input").inputValue(), "typed while offline", "what is typed stays");
  }
  await startServer(t, program, { port, dataDir });
  for (const { page } of [ada, bob]) {
    await status(page, "connected");
  }
  await sees(ada.messages, talk, "nothing is lost or doubled at Ada's");
  await sees(bob.messages, talk, "nothing is lost or doubled at Bob's");
  await sees(ada.members, ["Ada", "Bob"], "Ada sees Bob back");
  await sees(bob.members, ["Ada", "Bob"], "Bob sees Ada back");

  await ada.page.getByTestId("composer-input").press("Enter");
  talk.push("Ada: typed while offline");
  await sees(ada.messages, talk, "Ada goes on");
  await sees(bob.messages, talk, "Bob hears her");
  const late = await join(context, first.url, "Dora");
  await sees(late.messages, talk, "the history is whole");
  assert.deepEqual([...(await ada.errors()), ...(await bob.errors()), ...(await late.errors())], []);
});

test("what is said while a tab is cut off is there when it is back", { timeout: 240_000 }, async (t) => {
  const { url } = await startServer(t, program, { port: await freePort(), dataDir: temporaryDirectory(t) });
  const ada = await join(await startBrowser(t), url, "Ada");
  const bob = await join(await startBrowser(t), url, "Bob");
  await ada.say("one");
  await sees(bob.messages, ["Ada: one"], "Bob gets the first");
  // The tab is left and comes back from the history: its connection is made anew.
  await bob.page.goto("about:blank");
  await sees(ada.members, ["Ada"], "Ada sees Bob leave");
  await ada.say("two");
  await ada.say("three");
  await bob.page.goBack();
  await status(bob.page, "connected");
  await sees(bob.messages, ["Ada: one", "Ada: two", "Ada: three"], "Bob has missed nothing");
  await sees(ada.members, ["Ada", "Bob"], "Ada sees Bob back");
});

test("rooms are apart, names may be anything, mistakes are told", { timeout: 120_000 }, async (t) => {
  const { url } = await startServer(t, program, { port: await freePort(), dataDir: temporaryDirectory(t) });
  const context = await startBrowser(t);
  const page = await context.newPage();
  const errors = watchErrors(page);
  await page.goto(url);
  await page.getByTestId("name-input").fill(" ");
  await page.getByTestId("join-button").click();
  await page.getByTestId("join-error").filter({ hasText: "Fill in" }).waitFor();
  await page.getByTestId("name-input").fill("Ядвига 🎭");
  await page.getByTestId("org-input").fill("~é/%");
  await page.getByTestId("room-input").fill("..");
  await page.getByTestId("join-button").click();
  await status(page, "connected");
  assert.equal(new URL(page.url()).hash, "#/~~%C3%A9%2F%25/~..");
  await page.getByTestId("composer-input").fill("first line\nsecond line");
  await page.getByTestId("send-button").click();
  await page.getByTestId("message").filter({ hasText: "second line" }).waitFor();

  await page.getByTestId("go-input").fill("acme/lobby");
  await page.getByTestId("go-input").press("Enter");
  await page.getByTestId("room-title").filter({ hasText: "lobby" }).waitFor();
  await status(page, "connected");
  await page.getByTestId("empty").waitFor();
  assert.equal(await page.getByTestId("message").count(), 0);

  await page.reload();
  await status(page, "connected");
  await page.getByTestId("my-name").filter({ hasText: "Ядвига 🎭" }).waitFor();
  await page.getByTestId("leave-button").click();
  await page.getByTestId("join-form").waitFor();
  assert.deepEqual(await errors(), []);
});

test("behind a password the browser asks for it once, and the page just works", { timeout: 60_000 }, async (t) => {
  const [port, dataDir, secrets] = [await freePort(), temporaryDirectory(t), temporaryDirectory(t)];
  const file = joinPath(secrets, "password");
  writeFileSync(file, "a long enough password\n");
  const { url } = await startServer(t, program, { port, dataDir, env: { CHAT_PASSWORD_FILE: file } });

  const refused = await fetch(url);
  assert.equal(refused.status, 401);
  assert.match(refused.headers.get("www-authenticate"), /^Basic /);
  const history = await fetch(`${url}/chat.v1.ChatRoom/History`, {
    method: "POST",
    headers: { "content-type": "application/json", "actor-key": "acme/general" },
    body: "{}",
  });
  assert.deepEqual([history.status, (await history.json()).code], [401, "unauthenticated"]);

  const member = await startBrowser(t, { httpCredentials: { username: "ada", password: "a long enough password" } });
  const ada = await join(member, url, "Ada");
  await ada.say("It is just us here");
  await sees(ada.messages, ["Ada: It is just us here"], "Ada reads what she said");
});
