// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import assert from "node:assert/strict";
import { test } from "node:test";
import { create, type JsonObject, type MessageInitShape, toBinary, toJson } from "@bufbuild/protobuf";
import { Code, ConnectError, createRouterTransport } from "@connectrpc/connect";
import { ChatRoom, ChatRoomEventSchema, SubscribeRequestSchema } from "../../../gen/ts/chat/v1/chat_pb.js";
import { CloseReason, type ConnectionClosingSchema } from "../../../gen/ts/troupe/v1/events_pb.js";
import { type Subscription, Subscription_Resolve, WatchFrameSchema } from "../../../gen/ts/troupe/v1/watch_pb.js";
import { ActorService, createClient } from "../src/index.js";
import { FakeClock, settle } from "./clock.js";
import { wireError } from "./room.js";

type Frame = MessageInitShape<typeof WatchFrameSchema>;
type EventFrame = MessageInitShape<typeof ChatRoomEventSchema>;

/** A shared stream as the server sees it: the test writes its frames. */
class ServedStream {
  private readonly frames: Frame[] = [];
  private wake: () => void = () => {};
  private ended = false;
  cancelled = false;

  constructor(
    readonly subscriptions: Subscription[],
    readonly headers: Headers,
    private readonly json: boolean,
  ) {}

  send(frame: Frame): this {
    this.frames.push(frame);
    this.wake();
    return this;
  }

  open(maxSubscriptions = 64): this {
    const heartbeatInterval = { seconds: 10n };
    const value = { streamId: "node.1", stream: "node.1.secret", heartbeatInterval, maxSubscriptions };
    return this.send({ frame: { case: "opened", value } });
  }

  event(subscription: number, event: EventFrame): this {
    const message = create(ChatRoomEventSchema, event);
    const encoding = this.json
      ? { case: "json" as const, value: toJson(ChatRoomEventSchema, message) as JsonObject }
      : { case: "binary" as const, value: toBinary(ChatRoomEventSchema, message) };
    return this.send({ subscription, frame: { case: "event", value: { encoding } } });
  }

  opened(subscription: number, resumed = false): this {
    const id = `conn-${subscription}`;
    const value = { connectionId: id, connection: `${id}.secret`, actorId: "actor-1", resumed };
    return this.event(subscription, { info: { cursor: "c0", control: { case: "opened", value } } });
  }

  joined(subscription: number, user: string, cursor = "c1"): this {
    return this.event(subscription, { info: { cursor }, event: { case: "memberJoined", value: { user } } });
  }

  end(): void {
    this.ended = true;
    this.wake();
  }

  async *run(signal: AbortSignal) {
    signal.addEventListener("abort", () => {
      this.cancelled = true;
      this.wake();
    });
    for (;;) {
      for (let frame = this.frames.shift(); frame !== undefined; frame = this.frames.shift()) {
        yield create(WatchFrameSchema, frame);
      }
      if (this.ended || signal.aborted) {
        return;
      }
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }
}

function setup({ json = false } = {}) {
  const streams: ServedStream[] = [];
  const added: { stream: string; subscription: Subscription }[] = [];
  const removed: number[] = [];
  const refusals: unknown[] = [];
  const conns: (string | null)[] = [];
  const transport = createRouterTransport((router) => {
    router.service(ActorService, {
      watch({ subscriptions }, { signal, requestHeader }) {
        const stream = new ServedStream(subscriptions, new Headers(requestHeader), json);
        streams.push(stream);
        return stream.run(signal);
      },
      addSubscription({ stream, subscription }) {
        const refusal = refusals.shift();
        if (refusal !== undefined) {
          throw refusal;
        }
        added.push({ stream, subscription: subscription as Subscription });
        return {};
      },
      removeSubscription({ number }) {
        removed.push(number);
        return {};
      },
    });
    router.service(ChatRoom, {
      members(_, { requestHeader }) {
        conns.push(requestHeader.get("actor-conn"));
        return {};
      },
    });
  });
  const clock = new FakeClock();
  clock.chance = 1;
  const actors = createClient({ transport, clock, sharedStream: true, namespace: "acme", retry: false });
  const seen: string[] = [];
  const follow = (room: string, options = {}) => {
    const connection = actors.getOrCreate(ChatRoom, room).connect({ user: "ada" }, options);
    connection.on("memberJoined", ({ user }) => seen.push(`${room}: ${user}`));
    connection.onClose(({ reason }) => seen.push(`${room} closed: ${reason}`));
    connection.onGap(() => seen.push(`${room}: gap`));
    return connection;
  };
  const latest = () => streams.at(-1) as ServedStream;
  return { clock, actors, streams, added, removed, refusals, conns, seen, follow, latest };
}

for (const json of [false, true]) {
  test(`connections share a stream, ${json ? "JSON" : "binary"}`, async () => {
    const { clock, streams, added, removed, conns, seen, follow, latest } = setup({ json });
    const first = follow("one");
    const second = follow("two", { events: ["memberJoined"], cursor: "c9" });
    await clock.advance(0);
    assert.equal(streams.length, 1, "what is made together is asked for together");
    const [a, b] = latest().subscriptions;
    assert.deepEqual([a?.number, a?.namespace, a?.type, a?.key], [1, "acme", "chat.v1.ChatRoom", ["one"]]);
    assert.equal(a?.resolve, Subscription_Resolve.GET_OR_CREATE);
    const params = toBinary(SubscribeRequestSchema, create(SubscribeRequestSchema, { user: "ada" }));
    assert.deepEqual(a?.params?.encoding.value, params);
    assert.deepEqual([a?.resume, b?.number, b?.resume, b?.events], ["", 2, "c9", ["memberJoined"]]);

    latest().open().opened(2, true).joined(2, "eve").opened(1).joined(1, "bob");
    await Promise.all([first.ready(), second.ready()]);
    await settle();
    assert.deepEqual(seen, ["two: eve", "one: bob"]);
    await second.actor.members({});
    assert.deepEqual(conns, ["conn-2.secret"]);

    const third = follow("three");
    await clock.advance(0);
    assert.deepEqual(
      added.map(({ stream, subscription }) => [stream, subscription.number, subscription.key]),
      [["node.1.secret", 3, ["three"]]],
    );
    latest().opened(3);
    await third.ready();

    second.dispose();
    await settle();
    assert.deepEqual(removed, [2]);
    latest().joined(2, "late").joined(3, "joe");
    await settle();
    assert.deepEqual(seen.slice(2), ["two closed: disposed", "three: joe"]);
    first.dispose();
    third.dispose();
    await settle();
    assert.ok(latest().cancelled, "the last one closes the stream");
    assert.equal(clock.pending, 0);
  });
}

test("one that is refused or fails ends alone", async () => {
  const { clock, seen, streams, follow, latest } = setup();
  const refused = follow("refused");
  const failing = follow("failing");
  const fine = follow("fine");
  await clock.advance(0);
  const denied = { code: Code.PermissionDenied, message: "no", details: [] };
  const busy = { code: Code.Unavailable, message: "later", details: [] };
  latest().open().opened(2).opened(3);
  latest().send({ subscription: 1, frame: { case: "ended", value: { error: denied } } });
  latest()
    .joined(2, "a", "c5")
    .send({ subscription: 2, frame: { case: "ended", value: { error: busy } } });
  await settle();
  assert.equal(refused.closed?.error?.code, Code.PermissionDenied);
  assert.equal(failing.status, "disconnected");
  latest().joined(3, "b");
  await settle();
  assert.deepEqual(seen, ["refused closed: error", "failing: a", "fine: b"]);

  // It comes back on the same stream, after its cursor.
  const { added } = { added: streams.length };
  await clock.advance(250);
  assert.equal(streams.length, added);
  latest().opened(4, true).joined(4, "c", "c6");
  await settle();
  assert.equal(failing.status, "connected");
  assert.deepEqual(seen.slice(3), ["failing: c"]);
  fine.dispose();
  failing.dispose();
});

test("an actor that closes a connection closes that one", async () => {
  const { clock, follow, latest } = setup();
  const closed = follow("closed");
  const fine = follow("fine");
  await clock.advance(0);
  latest().open().opened(1).opened(2);
  const value = { reason: CloseReason.DISCONNECTED, code: "kicked", message: "out" };
  latest().event(1, { info: { control: { case: "closing", value } } });
  latest().send({ subscription: 1, frame: { case: "ended", value: {} } });
  await settle();
  assert.deepEqual([closed.closed?.reason, closed.closed?.code, fine.status], ["disconnected", "kicked", "connected"]);
  fine.dispose();
});

test("a stream that ends is followed by one for all, after their cursors", async () => {
  const { clock, streams, seen, follow, latest } = setup();
  const all = [follow("one"), follow("two")];
  await clock.advance(0);
  latest().open().opened(1).opened(2).joined(1, "a", "c5").joined(2, "b", "c6");
  await clock.advance(5000);
  const value = { reason: CloseReason.EXPIRED, reconnectAfter: {} };
  latest()
    .send({ frame: { case: "closing", value } })
    .end();
  await clock.advance(0);
  assert.equal(streams.length, 2);
  assert.deepEqual(
    latest().subscriptions.map(({ resume }) => resume),
    ["c5", "c6"],
  );
  latest().open().opened(1, true).opened(2, true).joined(1, "c").joined(2, "d");
  await settle();

  // Silence: the stream's heartbeats hold it off, then nothing comes.
  await clock.advance(20_000);
  latest().send({ frame: { case: "heartbeat", value: {} } });
  await clock.advance(20_000);
  assert.deepEqual(
    all.map(({ status }) => status),
    ["connected", "connected"],
  );
  await clock.advance(5001);
  assert.ok(latest().cancelled || streams.length > 2);
  await clock.advance(500);
  assert.equal(streams.length, 3);
  assert.deepEqual(seen, ["one: a", "two: b", "one: c", "two: d"]);
  for (const connection of all) {
    connection.dispose();
  }
});

test("a stream that takes no more has a second one beside it", async () => {
  const { clock, streams, follow, latest, refusals } = setup();
  const first = follow("one");
  await clock.advance(0);
  latest().open(1).opened(1);
  await first.ready();
  const second = follow("two");
  await clock.advance(0);
  assert.equal(streams.length, 2);
  latest().open().opened(1);
  await second.ready();

  // A stream that is fuller than it said, and one that the server has forgotten.
  refusals.push(wireError(Code.ResourceExhausted, { reason: "too_many_subscriptions_of_stream" }));
  const third = follow("three");
  await clock.advance(0);
  assert.equal(streams.length, 3);
  latest().open().opened(1);
  await third.ready();
  refusals.push(wireError(Code.FailedPrecondition, { reason: "stream_gone" }));
  const fourth = follow("four");
  await clock.advance(0);
  assert.equal(streams.length, 4);
  latest().open().opened(1);
  await fourth.ready();
  assert.equal(third.status, "disconnected", "it goes on elsewhere");
  for (const connection of [first, second, third, fourth]) {
    connection.dispose();
  }
});

test("a refusal of the stream is one of all that it should carry", async () => {
  const transport = createRouterTransport((router) => {
    router.service(ActorService, {
      // biome-ignore lint/correctness/useYield: it fails at once
      async *watch() {
        throw new ConnectError("who are you", Code.Unauthenticated);
      },
    });
  });
  const clock = new FakeClock();
  const actors = createClient({ transport, clock, sharedStream: true });
  const connection = actors.getOrCreate(ChatRoom, "one").connect({ user: "ada" });
  await clock.advance(0);
  assert.equal(connection.closed?.error?.code, Code.Unauthenticated);
});

test("one that is given up before its stream is open is removed from it", async () => {
  const { clock, removed, follow, latest } = setup();
  const given = follow("given up");
  const kept = follow("kept");
  await clock.advance(0);
  given.dispose(); // the request is on its way
  latest().open().opened(1).opened(2);
  await kept.ready();
  await settle();
  assert.deepEqual(removed, [1]);
  kept.dispose();
  await settle();
  assert.equal(clock.pending, 0);
});

test("one whose addition failed is removed in case it arrived", async () => {
  const { clock, added, removed, refusals, follow, latest } = setup();
  const first = follow("one");
  await clock.advance(0);
  latest().open().opened(1);
  await first.ready();
  refusals.push(new ConnectError("the answer is lost", Code.Unavailable));
  const second = follow("two");
  await clock.advance(0);
  assert.equal(second.status, "disconnected");
  assert.deepEqual(removed, [2]);
  await clock.advance(250);
  assert.deepEqual(
    added.map(({ subscription }) => subscription.number),
    [3],
  );
  first.dispose();
  second.dispose();
});

test("one that is given up while its parameters are made is not asked for", async () => {
  const { clock, actors, streams } = setup();
  let make: (params: { user: string }) => void = () => {};
  const made = new Promise<{ user: string }>((resolve) => {
    make = resolve;
  });
  const connection = actors.getOrCreate(ChatRoom, "one").connect(() => made);
  await clock.advance(0);
  connection.dispose();
  make({ user: "ada" });
  await clock.advance(0);
  assert.deepEqual(
    streams.flatMap(({ subscriptions }) => subscriptions.map(({ number }) => number)),
    [],
  );
  assert.equal(clock.pending, 0);
});

test("one that the server has closed is not removed by a call", async () => {
  const { clock, removed, follow, latest } = setup();
  const [closed, moved, fine] = [follow("closed"), follow("moved"), follow("fine")];
  await clock.advance(0);
  latest().open().opened(1).opened(2).opened(3);
  await fine.ready();
  const closing = (value: MessageInitShape<typeof ConnectionClosingSchema>): EventFrame => ({
    info: { control: { case: "closing", value } },
  });
  latest()
    .event(1, closing({ reason: CloseReason.DISCONNECTED }))
    .event(2, closing({ reason: CloseReason.MOVED, reconnectAfter: {} }));
  await settle();
  for (const subscription of [1, 2]) {
    latest().send({ subscription, frame: { case: "ended", value: {} } });
  }
  await settle();
  assert.deepEqual([closed.status, moved.status, removed], ["closed", "disconnected", []]);
  fine.dispose();
  moved.dispose();
});
