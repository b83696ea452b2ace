// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import assert from "node:assert/strict";
import { test } from "node:test";
import { create, createFileRegistry } from "@bufbuild/protobuf";
import type { GenService } from "@bufbuild/protobuf/codegenv2";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createRouterTransport } from "@connectrpc/connect";
import {
  type ChatRoomEventSchema,
  file_chat_v1_chat,
  type SendRequestSchema,
  type SendResponseSchema,
  type SubscribeRequestSchema,
} from "../../../gen/ts/chat/v1/chat_pb.js";
import { createClient } from "../src/index.js";
import { settle } from "./clock.js";
import { ServerStream, wireError } from "./room.js";

type Send = { methodKind: "unary"; input: typeof SendRequestSchema; output: typeof SendResponseSchema };
type Odd = GenService<{
  connect: Send;
  then: Send;
  rpc: Send;
  tokens: { methodKind: "server_streaming"; input: typeof SendRequestSchema; output: typeof SendResponseSchema };
  follow: {
    methodKind: "server_streaming";
    input: typeof SubscribeRequestSchema;
    output: typeof ChatRoomEventSchema;
  };
}>;

/** An actor type whose RPCs are named like what a handle has, and whose subscription is not marked. */
function oddService(): Odd {
  const send = { inputType: ".chat.v1.SendRequest", outputType: ".chat.v1.SendResponse" };
  const file = create(FileDescriptorProtoSchema, {
    name: "odd.proto",
    package: "odd",
    syntax: "proto3",
    dependency: ["chat/v1/chat.proto"],
    service: [
      {
        name: "Odd",
        method: [
          { name: "Connect", ...send },
          { name: "Then", ...send },
          { name: "Rpc", ...send },
          { name: "Tokens", ...send, serverStreaming: true },
          {
            name: "Follow",
            inputType: ".chat.v1.SubscribeRequest",
            outputType: ".chat.v1.ChatRoomEvent",
            serverStreaming: true,
          },
        ],
      },
    ],
  });
  const resolve = (name: string) => (name === "chat/v1/chat.proto" ? file_chat_v1_chat : undefined);
  return createFileRegistry(file, resolve).getService("odd.Odd") as unknown as Odd;
}

function setup() {
  const service = oddService();
  const seen = { streams: [] as ServerStream[], cancelled: 0, attempts: 0 };
  const failures: unknown[] = [];
  /** Thrown by streams after their first message. */
  const breaks: { cause?: unknown } = {};
  const transport = createRouterTransport((router) => {
    router.service(service, {
      connect: () => ({ message: { text: "connect" } }),
      // biome-ignore lint/suspicious/noThenProperty: the name is the point
      then: () => ({ message: { text: "then" } }),
      rpc: () => ({ message: { text: "rpc" } }),
      async *tokens(_, { signal }) {
        seen.attempts++;
        const failure = failures.shift();
        if (failure !== undefined) {
          throw failure;
        }
        signal.addEventListener("abort", () => seen.cancelled++);
        for (let n = 0; !signal.aborted; n++) {
          yield { message: { text: String(n) } };
          if (breaks.cause !== undefined) {
            throw breaks.cause;
          }
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
      },
      follow(request, { signal, requestHeader }) {
        const stream = new ServerStream(request, requestHeader, "conn-1");
        seen.streams.push(stream);
        return stream.run(signal);
      },
    });
  });
  const actors = createClient({ transport, retry: { baseMs: 1 } });
  return { handle: actors.getOrCreate(service, "x"), seen, failures, breaks };
}

test("an RPC named like something of the handle's stays reachable", async () => {
  const { handle, seen } = setup();
  const connection = handle.connect({ user: "ada" });
  await settle();
  seen.streams[0]?.open();
  assert.equal((await connection.ready()).connectionId, "conn-1");
  assert.equal((await handle.rpc.connect({})).message?.text, "connect");
  assert.equal((await handle.rpc.then({})).message?.text, "then");
  assert.equal((await handle.rpc.rpc({})).message?.text, "rpc");
  assert.equal(await handle, handle, "a handle is no promise");
  assert.equal((await connection.actor.connect({})).message?.text, "connect");
  connection.dispose();
});

test("leaving a loop over a streaming action ends it at the server", async () => {
  const { handle, seen } = setup();
  const texts: (string | undefined)[] = [];
  for await (const { message } of handle.tokens({})) {
    texts.push(message?.text);
    if (texts.length === 3) {
      break;
    }
  }
  await settle();
  assert.deepEqual(texts, ["0", "1", "2"]);
  assert.equal(seen.cancelled, 1);
});

test("a streaming action is repeated only before its first message", async () => {
  const { handle, seen, failures } = setup();
  failures.push(wireError(Code.Unavailable));
  for await (const _ of handle.tokens({})) {
    break;
  }
  assert.equal(seen.attempts, 2);
  failures.push(wireError(Code.FailedPrecondition, { reason: "no" }));
  await assert.rejects(handle.tokens({})[Symbol.asyncIterator]().next(), { name: "ActorError", reason: "no" });
  assert.equal(seen.attempts, 3);
});

test("a streaming action whose connection breaks was not canceled, as HTTP/2 has it", async () => {
  const { handle, breaks } = setup();
  const follow = async () => {
    for await (const _ of handle.tokens({})) {
      // it breaks after the first
    }
  };
  breaks.cause = new ConnectError("the stream was reset", Code.Canceled);
  await assert.rejects(follow(), { name: "ActorError", code: Code.Unavailable, outcome: "unknown" });
  breaks.cause = wireError(Code.Canceled, { reason: "canceled" });
  await assert.rejects(follow(), { code: Code.Canceled, reason: "canceled" });
});
