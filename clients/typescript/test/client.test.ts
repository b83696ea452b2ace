// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import assert from "node:assert/strict";
import { test } from "node:test";
import { create, fromBinary } from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createRouterTransport, createClient as createStockClient } from "@connectrpc/connect";
import { ChatRoom, SubscribeRequestSchema } from "../../../gen/ts/chat/v1/chat_pb.js";
import { Counter, CounterInputSchema } from "../../../gen/ts/counter/v1/counter_pb.js";
import { ActorService, type ClientOptions, createClient, encodeKey } from "../src/index.js";
import { FakeClock } from "./clock.js";
import { FakeRoom, Outcome_Outcome, retryInfo, wireError } from "./room.js";

function setup(options: Partial<ClientOptions> = {}) {
  const room = new FakeRoom();
  const clock = new FakeClock();
  const actors = createClient({ transport: room.transport(), clock, ...options });
  return { room, clock, actors };
}

test("a call carries the actor's address and the client's headers", async () => {
  let token = 0;
  const { room, actors } = setup({ namespace: "acme", headers: async () => ({ authorization: `t${++token}` }) });
  const chat = actors.getOrCreate(ChatRoom, ["a/b", ""], { params: { user: "ada" } });
  let id: string | null = null;
  const options = {
    headers: { "x-mine": "1", "actor-key": "other" },
    onHeader: (h: Headers) => (id = h.get("actor-id")),
  };
  const { message } = await chat.send({ text: "hi" }, options);
  assert.equal(message?.text, "hi");
  assert.equal(id, "actor-1");
  const headers = room.calls[0]?.headers;
  assert.equal(headers?.get("actor-key"), "a%2Fb/~");
  assert.equal(headers?.get("actor-namespace"), "acme");
  assert.equal(headers?.get("actor-resolve"), "get-or-create");
  assert.equal(headers?.get("x-mine"), "1");
  assert.equal(headers?.get("authorization"), "t1");
  assert.match(headers?.get("idempotency-key") ?? "", /^auto-[0-9a-f]{32}$/);
  const params = base64Decode(headers?.get("actor-params-bin") ?? "");
  assert.equal(fromBinary(SubscribeRequestSchema, params).user, "ada");
  await actors.get(ChatRoom, []).history({});
  assert.equal(room.calls[1]?.headers.get("actor-key"), null);
  assert.equal(room.calls[1]?.headers.get("actor-resolve"), "get");
  await actors.forId(ChatRoom, "id-1").rpc.history({});
  assert.equal(room.calls[2]?.headers.get("actor-id"), "id-1");
  assert.equal(room.calls[2]?.headers.get("actor-key"), null);
  assert.equal(room.calls[2]?.headers.get("actor-resolve"), null);
});

test("a stock client works over a handle's transport", async () => {
  const { room, actors } = setup();
  const stock = createStockClient(ChatRoom, actors.getOrCreate(ChatRoom, "general").transport);
  await stock.send({ text: "hi" });
  assert.equal(room.calls[0]?.headers.get("actor-key"), "general");
});

test("what the server did not execute is repeated, what the author refused is not", async () => {
  const { room, clock, actors } = setup({ idempotencyKeys: false });
  const chat = actors.getOrCreate(ChatRoom, "general");
  room.failures.push(wireError(Code.Unavailable), wireError(Code.Aborted));
  const sent = chat.send({ text: "hi" });
  await clock.advance(1000);
  await sent;
  assert.equal(room.calls.length, 3);

  for (const failure of [
    wireError(Code.Unavailable, { reason: "closed_today", domain: "chat.v1.ChatRoom" }),
    wireError(Code.Unavailable, { outcome: Outcome_Outcome.UNKNOWN }),
    wireError(Code.Unavailable, { outcome: Outcome_Outcome.COMMITTED }),
    wireError(Code.ResourceExhausted),
    wireError(Code.FailedPrecondition),
    wireError(Code.Internal),
  ]) {
    room.calls.length = 0;
    room.failures.push(failure);
    await assert.rejects(chat.send({ text: "hi" }), { code: failure.code });
    assert.equal(room.calls.length, 1);
  }
});

test("a method without side effects is repeated whatever its outcome", async () => {
  const { room, clock, actors } = setup();
  room.failures.push(new ConnectError("gone", Code.Unavailable));
  const read = actors.getOrCreate(ChatRoom, "general").history({});
  await clock.advance(1000);
  await read;
  assert.equal(room.calls.length, 2);
});

test("TestP18 with idempotency keys an unknown outcome is repeated under one key", async () => {
  const { room, clock, actors } = setup();
  room.failures.push(new ConnectError("gone", Code.Unavailable));
  const sent = actors.getOrCreate(ChatRoom, "general").send({ text: "hi" });
  await clock.advance(1000);
  await sent;
  const keys = room.calls.map(({ headers }) => headers.get("idempotency-key"));
  assert.match(keys[0] ?? "", /^auto-[0-9a-f]{32}$/);
  assert.deepEqual(keys, [keys[0], keys[0]]);
});

test("TestP16 a retry does not make a call undone", async () => {
  const { room, clock, actors } = setup();
  const stopping = () =>
    wireError(Code.Unavailable, { outcome: Outcome_Outcome.NOT_EXECUTED, reason: "shutting_down" });
  room.failures.push(new ConnectError("gone", Code.Unavailable), stopping(), stopping(), stopping());
  const failed = assert.rejects(actors.getOrCreate(ChatRoom, "general").send({ text: "hi" }), {
    reason: "shutting_down",
    outcome: "unknown",
  });
  await clock.advance(10_000);
  await failed;
  assert.equal(room.calls.length, 4);
});

test("attempts, budget and time limit bound the retries", async () => {
  const { room, clock, actors } = setup();
  const chat = actors.getOrCreate(ChatRoom, "general");
  const fail = (n: number) =>
    room.failures.splice(0, Infinity, ...Array.from({ length: n }, () => wireError(Code.Unavailable)));
  const attempts = async () => {
    room.calls.length = 0;
    fail(10);
    const failed = assert.rejects(chat.send({ text: "hi" }), { code: Code.Unavailable });
    await clock.advance(60_000);
    await failed;
    return room.calls.length;
  };
  assert.deepEqual([await attempts(), await attempts(), await attempts()], [4, 4, 4]);
  assert.equal(await attempts(), 2, "what is left of the budget");
  assert.equal(await attempts(), 1);

  const other = setup();
  other.room.failures.push(...Array.from({ length: 4 }, () => wireError(Code.Unavailable)));
  const failed = assert.rejects(other.actors.getOrCreate(ChatRoom, "x").send({ text: "" }, { timeoutMs: 150 }));
  await other.clock.advance(60_000);
  await failed;
  assert.equal(other.room.calls.length, 2);

  const never = setup({ retry: false });
  never.room.failures.push(wireError(Code.Unavailable));
  await assert.rejects(never.actors.getOrCreate(ChatRoom, "x").send({ text: "" }));
  assert.equal(never.room.calls.length, 1);
});

test("inputs go in a header, large ones ahead of the first call", async () => {
  const seen: Headers[] = [];
  let ahead = 0;
  const transport = createRouterTransport((router) => {
    router.service(Counter, {
      get: (_, context) => {
        seen.push(new Headers(context.requestHeader));
        return { count: 5n };
      },
    });
    router.service(ActorService, {
      getOrCreate: (request) => {
        ahead++;
        assert.deepEqual([request.address?.type, request.address?.key], ["counter.v1.Counter", ["big"]]);
        assert.ok((request.input?.value.length ?? 0) > 4096);
        return { created: true };
      },
    });
  });
  const actors = createClient({ transport });
  const input = create(CounterInputSchema, { initial: 5n });
  await actors.getOrCreate(Counter, "c", { input }).get({});
  const sent = base64Decode(seen[0]?.get("actor-input-bin") ?? "");
  assert.equal(fromBinary(CounterInputSchema, sent).initial, 5n);

  const large = create(CounterInputSchema, { initial: 5n });
  large.$unknown = [{ no: 99, wireType: 2, data: Uint8Array.from([0x88, 0x27, ...new Uint8Array(5000)]) }];
  const big = actors.getOrCreate(Counter, "big", { input: large });
  await Promise.all([big.get({}), big.get({})]);
  assert.equal(ahead, 1);
  assert.equal(seen[1]?.get("actor-input-bin"), null);
  const wrong = create(SubscribeRequestSchema);
  assert.throws(() => actors.getOrCreate(Counter, "c", { input: wrong }), TypeError);
  assert.throws(() => actors.getOrCreate(ChatRoom, "c", { input }), TypeError);
});

test("create, resolve and the handle's own resolve use the lifecycle API", async () => {
  const calls: string[] = [];
  const transport = createRouterTransport((router) => {
    router.service(ActorService, {
      create: ({ address, input }) => {
        calls.push(`create ${address?.namespace} ${address?.type} ${encodeKey(address?.key ?? [])}`);
        const unpacked = input && anyUnpack(input, CounterInputSchema);
        assert.equal(unpacked?.initial, 7n);
        return { actor: { id: "id-7" } };
      },
      resolve: ({ address }) => {
        calls.push(`resolve ${address?.type} ${encodeKey(address?.key ?? [])}`);
        return { id: "id-8" };
      },
    });
    router.service(Counter, {
      get: (_, context) => {
        calls.push(`get ${context.requestHeader.get("actor-id")}`);
        return {};
      },
    });
  });
  const actors = createClient({ transport });
  const counter = await actors.create(Counter, ["a", "b"], { input: create(CounterInputSchema, { initial: 7n }) });
  await counter.get({});
  assert.equal(await counter.resolve(), "id-7");
  assert.equal(await actors.resolve(Counter, "x"), "id-8");
  assert.equal(await actors.get(Counter, "y").resolve(), "id-8");
  assert.deepEqual(calls, [
    "create default counter.v1.Counter a/b",
    "get id-7",
    "resolve counter.v1.Counter x",
    "resolve counter.v1.Counter y",
  ]);
});

test("misuse throws at once", () => {
  const { actors } = setup();
  assert.throws(() => createClient({}), TypeError);
  assert.throws(() => setup({ namespace: "Bad Name" }), RangeError);
  assert.throws(() => actors.getOrCreate(ChatRoom, "x".repeat(129)), RangeError);
  assert.throws(() => actors.forId(ChatRoom, ""), TypeError);
});

test("a headers option that fails says so, and that nothing happened", async () => {
  const { actors } = setup({
    headers: () => {
      throw new Error("no token");
    },
  });
  await assert.rejects(actors.getOrCreate(ChatRoom, "x").send({ text: "" }), {
    reason: "headers_failed",
    outcome: "not_executed",
  });
});

test("the subscription is no action", () => {
  const { actors } = setup();
  const chat = actors.getOrCreate(ChatRoom, "x");
  assert.ok(!("subscribe" in chat) && !("subscribe" in chat.rpc));
});

test("a call whose headers do not come ends with its signal or its time limit, unsent", async () => {
  const headers = () => new Promise<HeadersInit>(() => {});
  const { room, clock, actors } = setup({ headers, baseUrl: "http://x" });
  const chat = actors.getOrCreate(ChatRoom, "x");
  const left = new AbortController();
  const canceled = assert.rejects(chat.send({ text: "" }, { signal: left.signal }), {
    code: Code.Canceled,
    outcome: "not_executed",
  });
  const unfetched = assert.rejects(chat.fetch("/", { signal: left.signal }), { code: Code.Canceled });
  const late = assert.rejects(chat.send({ text: "" }, { timeoutMs: 500 }), {
    code: Code.DeadlineExceeded,
    outcome: "not_executed",
  });
  await clock.advance(500);
  left.abort();
  await Promise.all([canceled, unfetched, late]);
  await assert.rejects(chat.send({ text: "" }, { signal: left.signal }), { outcome: "not_executed" });
  assert.deepEqual([room.calls.length, clock.pending], [0, 0]);
});

test("what a call's headers take is part of its time", async () => {
  const { room, clock, actors } = setup({
    headers: () => new Promise<HeadersInit>((resolve) => clock.setTimeout(() => resolve({}), 400)),
  });
  const sent = actors.getOrCreate(ChatRoom, "x").send({ text: "" }, { timeoutMs: 5000 });
  await clock.advance(400);
  await sent;
  const given = room.calls[0]?.timeoutMs ?? 0;
  assert.ok(given <= 4600, `the server was given ${given} ms`);
});

test("TestP18 a wait above the longest one is not begun", async () => {
  const { room, clock, actors } = setup();
  const chat = actors.getOrCreate(ChatRoom, "x");
  for (const [asked, attempts] of [
    [5, 2],
    [6, 1],
    [3600, 1],
  ] as const) {
    room.calls.length = 0;
    const busy = wireError(Code.Unavailable);
    busy.details.push(retryInfo(asked));
    room.failures.push(busy);
    const sent = chat.send({ text: "" }).then(
      () => "sent",
      (error) => `${error.retryAfterMs} ms`,
    );
    await clock.advance(5000);
    assert.equal(await sent, attempts > 1 ? "sent" : `${asked * 1000} ms`);
    assert.equal(room.calls.length, attempts);
  }
  assert.equal(clock.pending, 0);
});

test("TestP17 an empty idempotency key is none", async () => {
  for (const idempotencyKeys of [true, false]) {
    const { room, clock, actors } = setup({ idempotencyKeys });
    room.failures.push(new ConnectError("gone", Code.Unavailable));
    const options = { headers: { "idempotency-key": "" } };
    const sent = actors
      .getOrCreate(ChatRoom, "x")
      .send({ text: "" }, options)
      .catch(() => "in doubt");
    await clock.advance(1000);
    assert.equal((await sent) === "in doubt", !idempotencyKeys);
    const keys = room.calls.map(({ headers }) => headers.get("idempotency-key"));
    assert.match(keys.join(), idempotencyKeys ? /^(auto-[0-9a-f]{32}),\1$/ : /^$/);
  }
});
