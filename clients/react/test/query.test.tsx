// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// TanStack Query and connect-query over a handle's transport: a cache of their own
// for what is read, kept fresh by events.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createConnectQueryKey, useMutation, useQuery } from "@connectrpc/connect-query";
import { QueryClient, QueryClientProvider, useQueryClient } from "@tanstack/react-query";
import { ChatRoom } from "../../../gen/ts/chat/v1/chat_pb.js";
import { useActor, useEvent } from "../src/index.js";
import { eventually, happens, mount } from "./page.js";
import { Room } from "./room.js";

let send: (text: string) => void;

function Messages({ room }: { room: string }) {
  const actor = useActor(ChatRoom, ["acme", room], { params: { user: "Ada" } });
  const { transport } = actor.handle;
  const queries = useQueryClient();
  const { data } = useQuery(ChatRoom.method.history, { limit: 10 }, { transport });
  const { mutate } = useMutation(ChatRoom.method.send, { transport });
  send = (text) => mutate({ text });
  useEvent(actor, "messagePosted", () => {
    void queries.invalidateQueries({
      queryKey: createConnectQueryKey({ schema: ChatRoom.method.history, transport, cardinality: "finite" }),
    });
  });
  return <b>{`${room}:${data?.messages.map(({ text }) => text).join() ?? "?"} `}</b>;
}

test("connect-query reads and calls over a handle, and events invalidate", async (t) => {
  const room = new Room();
  const queries = new QueryClient();
  t.after(() => queries.clear());
  room.post("Bob", "a");
  const page = await mount(
    t,
    room,
    <QueryClientProvider client={queries}>
      <Messages room="general" />
      <Messages room="general" />
    </QueryClientProvider>,
  );
  await eventually(() => assert.equal(page.text(), "general:a general:a "));
  assert.equal(queries.getQueryCache().getAll().length, 1, "handles of one actor are one cache key");
  await happens(() => room.post("Bob", "b"));
  await eventually(() => assert.equal(page.text(), "general:a,b general:a,b "));
  await happens(() => send("c"));
  await eventually(() => assert.equal(page.text(), "general:a,b,c general:a,b,c "));
});

test("two actors are two keys of the cache", async (t) => {
  const room = new Room();
  const queries = new QueryClient();
  t.after(() => queries.clear());
  await mount(
    t,
    room,
    <QueryClientProvider client={queries}>
      <Messages room="general" />
      <Messages room="lobby" />
    </QueryClientProvider>,
  );
  assert.equal(queries.getQueryCache().getAll().length, 2);
});
