// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, ConnectError } from "@connectrpc/connect";
import { Suspense } from "react";
import { ChatRoom, type HistoryResponse } from "../../../gen/ts/chat/v1/chat_pb.js";
import {
  defineSnapshot,
  readSnapshot,
  type Snapshot,
  type SnapshotStart,
  useActor,
  useSnapshot,
  useSuspenseSnapshot,
} from "../src/index.js";
import { Boundary, eventually, happens, mount } from "./page.js";
import { Latch, Room } from "./room.js";

// It adds without looking, so that an event that is missing or comes twice shows.
const history = defineSnapshot(ChatRoom, "history", {
  messagePosted: (state, { message }) => ({
    ...state,
    messages: message === undefined ? state.messages : [...state.messages, message],
  }),
});
const members = defineSnapshot(ChatRoom, "members", { memberJoined: "reread" }, { rereadOnReconnect: true });

const texts = (state: HistoryResponse | undefined) => state?.messages.map(({ text }) => text).join("") ?? "?";

const general = { params: { user: "Ada" } };
let last: Snapshot<HistoryResponse>;

function History({ limit = 0 }) {
  const actor = useActor(ChatRoom, "general", general);
  last = useSnapshot(actor, history, { limit });
  return <b>{`[${texts(last.data)}${last.pending ? "…" : ""}${last.error ? `!${last.error.rawMessage}` : ""}]`}</b>;
}

test("a state is read, and the connection opens where it was read", async (t) => {
  const room = new Room();
  room.post("Bob", "a");
  const [opening, read] = [new Latch(), new Latch()];
  room.onCall = () => read.promise;
  room.onSubscribe = () => opening.promise;
  const page = await mount(t, room, <History />);
  assert.equal(page.text(), "[?…]");
  await happens(() => read.open());
  assert.equal(page.text(), "[a]");
  await happens(() => room.post("Bob", "b")); // after the read, before the stream
  assert.equal(page.text(), "[a]");
  await happens(() => opening.open());
  await happens(() => room.post("Bob", "c"));
  assert.equal(page.text(), "[abc]");
  assert.deepEqual(room.calls, ["history"], "strict mode reads once");
  assert.deepEqual(
    room.streams.map(({ resumedFrom }) => resumedFrom),
    ["c1"],
    "one connection does it all",
  );
});

test("components share what is read, and one that comes later reads nothing", async (t) => {
  const room = new Room();
  room.post("Bob", "a");
  const page = await mount(t, room, <History />);
  await page.render(
    <>
      <History />
      <History />
    </>,
  );
  await happens(() => room.post("Bob", "b"));
  assert.equal(page.text(), "[ab][ab]");
  assert.deepEqual(room.calls, ["history"]);
});

function Late({ shown }: { shown: boolean }) {
  const { status } = useActor(ChatRoom, "general", general);
  return (
    <>
      {status} {shown ? <History /> : null}
    </>
  );
}

test("on a quiet actor a late reader follows the open connection", async (t) => {
  const room = new Room();
  const page = await mount(t, room, <Late shown={false} />);
  await page.render(<Late shown />);
  await happens(() => room.post("Bob", "a"));
  assert.equal(page.text(), "connected [a]");
  assert.equal(room.streams.length, 1);
});

test("on a busy actor a late reader has a connection of its own until both are level", async (t) => {
  const room = new Room();
  const page = await mount(t, room, <Late shown={false} />);
  const opening = new Latch();
  room.onSubscribe = () => opening.promise;
  let raced = false;
  room.onCall = async () => {
    if (!raced) {
      raced = true;
      // The reply has this message and a cursor after it; the connection has not seen it.
      room.post("Bob", "a");
    }
  };
  await page.render(<Late shown />);
  await happens(() => room.post("Bob", "b"));
  await happens(() => opening.open());
  await happens(() => room.post("Bob", "c"));
  await eventually(() => assert.equal(page.text(), "connected [abc]"));
  await eventually(() => assert.equal(room.streams.length, 1));
  await happens(() => room.post("Bob", "d"));
  assert.equal(page.text(), "connected [abcd]");
});

test("a random mix of posts, reads and cuts loses and doubles nothing", async (t) => {
  for (let round = 0; round < 8; round++) {
    const room = new Room();
    // A fixed sequence for each round, so that a failure comes again.
    let seed = round * 7919 + 1;
    const chance = (n: number) => {
      seed = (seed * 48271) % 2147483647;
      return seed % n;
    };
    const breathe = async () => {
      for (let i = chance(4); i > 0; i--) {
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    room.onCall = breathe;
    room.onSubscribe = breathe;
    const page = await mount(t, room, <Late shown={chance(2) === 0} />);
    let posted = "";
    for (let step = 0; step < 20; step++) {
      const letter = String.fromCharCode(97 + step);
      const what = chance(6);
      await happens(async () => {
        if (what < 3) {
          posted += letter;
          room.post("Bob", letter);
          await breathe();
        } else if (what === 3) {
          room.streams[chance(room.streams.length || 1)]?.cut();
        } else if (what === 4) {
          last?.reread();
        }
      });
      if (what === 5) {
        await page.render(<Late shown={chance(3) > 0} />);
      }
    }
    await page.render(<Late shown />);
    await eventually(() => assert.equal(page.text(), `connected [${posted}]`));
    await page.render(<i />);
    await eventually(() => assert.equal(room.streams.length, 0));
  }
});

test("what was missed while cut off comes once; a gap is read anew", async (t) => {
  const room = new Room();
  const page = await mount(t, room, <History />);
  await happens(() => room.post("Bob", "a"));
  await happens(() => {
    room.streams[0]?.cut();
    room.post("Bob", "b");
  });
  await eventually(() => assert.equal(page.text(), "[ab]"));
  assert.deepEqual(room.calls, ["history"]);
  const back = new Latch();
  await eventually(() => assert.equal(room.streams.length, 1));
  room.onSubscribe = () => back.promise;
  await happens(() => {
    room.streams[0]?.cut();
    room.post("Bob", "c");
    room.forget();
  });
  back.open();
  await eventually(() => assert.equal(page.text(), "[abc]"));
  assert.deepEqual(room.calls, ["history", "history"]);
  await happens(() => room.post("Bob", "d"));
  await eventually(() => assert.equal(page.text(), "[abcd]"));
});

test("a read that fails is told, and repeated when the connection opens again, or when asked", async (t) => {
  const room = new Room();
  room.post("Bob", "a");
  room.onCall = () => {
    throw new ConnectError("not now", Code.Internal);
  };
  const page = await mount(t, room, <History />);
  assert.equal(page.text(), "[?!not now]");
  await eventually(() => assert.equal(room.streams.length, 1));
  room.onCall = () => {};
  await happens(() => room.streams[0]?.cut());
  await eventually(() => assert.equal(page.text(), "[a]"));
  room.post("Bob", "b");
  await happens(() => last.reread());
  await eventually(() => assert.equal(page.text(), "[ab]"));
});

function Members() {
  const { data } = useSnapshot(useActor(ChatRoom, "general", general), members, {});
  return <b>{data?.users.join()}</b>;
}

test("presence is read anew by an event that says so, and after each reconnect", async (t) => {
  const room = new Room();
  await mount(t, room, <Members />);
  assert.equal(room.calls.length, 1);
  await happens(() => room.publish({ case: "memberJoined", value: { user: "Bob" } }));
  await eventually(() => assert.equal(room.calls.length, 2));
  await happens(() => room.streams[0]?.cut());
  await eventually(() => assert.equal(room.calls.length, 3));
});

function Suspended() {
  const actor = useActor(ChatRoom, "general", general);
  const { data } = useSuspenseSnapshot(actor, history, { limit: 0 });
  return <b>{texts(data)}</b>;
}

test("a suspended component waits for its state, and then follows it from there", async (t) => {
  const room = new Room();
  room.post("Bob", "a");
  const read = new Latch();
  room.onCall = () => read.promise;
  const page = await mount(
    t,
    room,
    <Suspense fallback="waiting">
      <Suspended />
    </Suspense>,
  );
  assert.equal(page.text(), "waiting");
  assert.equal(room.streams.length, 0, "nothing is open for what is not shown");
  await happens(() => read.open());
  await eventually(() => assert.equal(page.text(), "a"));
  await happens(() => room.post("Bob", "b"));
  assert.equal(page.text(), "ab");
  assert.deepEqual(room.calls, ["history"]);
  assert.deepEqual(
    room.streams.map(({ resumedFrom }) => resumedFrom),
    ["c1"],
  );
});

test("what a suspended read fails with reaches the error boundary", async (t) => {
  t.mock.method(console, "error", () => {});
  const room = new Room();
  room.onCall = () => {
    throw new ConnectError("keep out", Code.PermissionDenied);
  };
  const page = await mount(
    t,
    room,
    <Boundary>
      <Suspense fallback="waiting">
        <Suspended />
      </Suspense>
    </Boundary>,
  );
  await eventually(() => assert.equal(page.text(), "caught: [permission_denied] keep out"));
});

function Started({ start }: { start: SnapshotStart<HistoryResponse> }) {
  const { data } = useSnapshot(useActor(ChatRoom, "general", general), history, { limit: 1 }, { start });
  return <b>{texts(data)}</b>;
}

test("what a server has read is shown at once and followed from there", async (t) => {
  const room = new Room();
  room.post("Bob", "a");
  const start = await readSnapshot(room.client.getOrCreate(ChatRoom, "general"), history, {});
  room.post("Bob", "b");
  room.calls.length = 0;
  const page = await mount(t, room, <Started start={start} />);
  await eventually(() => assert.equal(page.text(), "ab"));
  assert.deepEqual(room.calls, []);
  assert.deepEqual(
    room.streams.map(({ resumedFrom }) => resumedFrom),
    ["c1"],
  );
});

const bad = defineSnapshot(ChatRoom, "history", {
  messagePosted: () => {
    throw new Error("cannot reduce");
  },
});

function Bad() {
  return <b>{texts(useSnapshot(useActor(ChatRoom, "general", general), bad, {}).data)}</b>;
}

test("a reducer that fails has the state read anew", async (t) => {
  const room = new Room();
  const uncaught: unknown[] = [];
  const listeners = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", (error) => void uncaught.push(error.message));
  t.after(() => {
    process.removeAllListeners("uncaughtException");
    for (const listener of listeners) {
      process.on("uncaughtException", listener);
    }
  });
  const page = await mount(t, room, <Bad />);
  await happens(() => room.post("Bob", "a"));
  await eventually(() => assert.equal(page.text(), "a"));
  assert.deepEqual(uncaught, ["cannot reduce"]);
});
