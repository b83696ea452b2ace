// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { ChatRoom } from "../../../gen/ts/chat/v1/chat_pb.js";
import { Code, createClient } from "../src/index.js";
import { FakeRoom } from "./room.js";

/** The fake room behind real HTTP/1.1. kill ends the server as if by -9. */
async function serve(t: TestContext, room: FakeRoom, port = 0) {
  const server: Server = createServer(connectNodeAdapter({ routes: room.routes }));
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const kill = () => {
    server.close();
    server.closeAllConnections();
  };
  t.after(kill);
  return { port: (server.address() as AddressInfo).port, kill };
}

const until = async (condition: () => boolean) => {
  while (!condition()) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};

for (const json of [false, true]) {
  test(`a connection survives its server over HTTP, ${json ? "JSON" : "binary"}`, { timeout: 20_000 }, async (t) => {
    const room = new FakeRoom();
    const first = await serve(t, room);
    const actors = createClient({ baseUrl: `http://127.0.0.1:${first.port}`, json });
    const chat = actors.getOrCreate(ChatRoom, ["acme", "ключ"]);
    const connection = chat.connect({ user: "ada" }, { backoffBaseMs: 20, backoffMaxMs: 20 });
    t.after(connection.dispose);
    const seen: string[] = [];
    connection.on("memberJoined", ({ user }) => seen.push(user));
    await until(() => room.streams.length === 1);
    room.stream.open(5000).joined("bob");
    await until(() => seen.length === 1);
    await connection.actor.send({ text: "hi" });
    assert.equal(room.calls[0]?.headers.get("actor-conn"), "conn-1.secret");

    first.kill();
    await until(() => connection.status === "disconnected");
    await assert.rejects(chat.send({ text: "lost" }), { code: Code.Unavailable, outcome: "unknown" });
    await serve(t, room, first.port);
    await until(() => room.streams.length >= 2);
    room.stream.open(5000).joined("eve");
    await until(() => seen.length === 2);
    assert.deepEqual(seen, ["bob", "eve"]);
    await connection.actor.send({ text: "again" });
    assert.equal(room.calls.at(-1)?.headers.get("actor-conn"), `${room.stream.id}.secret`);
  });
}

test("dispose closes the stream at the server", { timeout: 20_000 }, async (t) => {
  const room = new FakeRoom();
  const { port } = await serve(t, room);
  const connection = createClient({ baseUrl: `http://127.0.0.1:${port}` })
    .getOrCreate(ChatRoom, "x")
    .connect({ user: "ada" });
  await until(() => room.streams.length === 1);
  room.stream.open();
  await connection.ready();
  connection.dispose();
  await until(() => room.stream.cancelled);
});

test("another transport will do: gRPC-Web", { timeout: 20_000 }, async (t) => {
  const room = new FakeRoom();
  const { port } = await serve(t, room);
  const actors = createClient({ transport: createGrpcWebTransport({ baseUrl: `http://127.0.0.1:${port}` }) });
  const chat = actors.getOrCreate(ChatRoom, "x");
  assert.equal((await chat.send({ text: "hi" })).message?.text, "hi");
  const connection = chat.connect({ user: "ada" });
  t.after(connection.dispose);
  await until(() => room.streams.length === 1);
  room.stream.open();
  assert.equal((await connection.ready()).connectionId, "conn-1");
});
