// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import assert from "node:assert/strict";
import { test } from "node:test";
import { createRouterTransport } from "@connectrpc/connect";
import { ChatRoom } from "../../../gen/ts/chat/v1/chat_pb.js";
import { Code, createClient } from "../src/index.js";

test("the URL of an actor", () => {
  const actors = createClient({ baseUrl: "https://example.com/base/", namespace: "acme" });
  const at = "https://example.com/base/actors/acme";
  assert.equal(
    actors.getOrCreate(ChatRoom, ["a/b", "..", ""]).url("/x"),
    `${at}/a%2Fb/~../~/@/chat.v1.ChatRoom/http/x`,
  );
  assert.equal(actors.getOrCreate(ChatRoom, []).url("/"), `${at}/@/chat.v1.ChatRoom/http/`);
  const params = { user: "ada?" };
  assert.equal(
    actors.get(ChatRoom, "k", { params }).url("/x?y=1"),
    `${at}/k/@/chat.v1.ChatRoom/http/x?y=1&resolve=get&params=CgRhZGE_`,
  );
  assert.throws(() => actors.forId(ChatRoom, "id").url("/x"), TypeError);
  assert.throws(() => actors.getOrCreate(ChatRoom, "k").url("x"), TypeError);
  const without = createClient({ transport: createRouterTransport(() => {}) });
  assert.throws(() => without.getOrCreate(ChatRoom, "k").url("/x"), TypeError);
});

test("fetch sends the client's headers and the caller's, and tells what did not come", async () => {
  const asked: [string, RequestInit | undefined][] = [];
  const fetch = async (url: string | URL | Request, init?: RequestInit) => {
    asked.push([String(url), init]);
    if (asked.length === 2) {
      throw new TypeError("fetch failed");
    }
    return new Response("yes", { status: 418 });
  };
  const headers = async () => ({ authorization: "t1", "x-both": "client" });
  const room = createClient({ baseUrl: "http://h", fetch, headers }).getOrCreate(ChatRoom, "k");
  const { signal } = new AbortController();
  const response = await room.fetch("/x", { method: "PUT", body: "b", signal, headers: { "x-both": "call" } });
  assert.equal(response.status, 418);
  const [url, init] = asked[0] ?? [];
  assert.equal(url, "http://h/actors/default/k/@/chat.v1.ChatRoom/http/x");
  assert.deepEqual([init?.method, init?.body, init?.signal], ["PUT", "b", signal]);
  const sent = new Headers(init?.headers);
  assert.deepEqual([sent.get("authorization"), sent.get("x-both"), sent.get("actor-key")], ["t1", "call", null]);
  await assert.rejects(room.fetch("/x"), { name: "ActorError", code: Code.Unavailable });
});

test("a WebSocket has the URL's scheme, and one must be there", () => {
  const opened: string[] = [];
  class FakeSocket {
    constructor(url: URL, protocols?: string) {
      opened.push(`${url} ${protocols}`);
    }
  }
  const webSocket = FakeSocket as unknown as typeof WebSocket;
  createClient({ baseUrl: "https://h", webSocket }).getOrCreate(ChatRoom, "k").webSocket("/w", "chat");
  createClient({ baseUrl: "http://h", webSocket }).getOrCreate(ChatRoom, "k").webSocket("/w");
  const path = "h/actors/default/k/@/chat.v1.ChatRoom/http/w";
  assert.deepEqual(opened, [`wss://${path} chat`, `ws://${path} undefined`]);
  if (globalThis.WebSocket === undefined) {
    assert.throws(() => createClient({ baseUrl: "http://h" }).getOrCreate(ChatRoom, "k").webSocket("/w"), TypeError);
  }
});
