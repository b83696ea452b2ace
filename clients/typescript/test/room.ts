// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ConnectRouter,
  createRouterTransport,
  type HandlerContext,
} from "@connectrpc/connect";
import {
  ChatRoom,
  type ChatRoomEvent,
  ChatRoomEventSchema,
  type SubscribeRequest,
} from "../../../gen/ts/chat/v1/chat_pb.js";
import { Outcome_Outcome, OutcomeSchema } from "../../../gen/ts/troupe/v1/errors_pb.js";
import type { CloseReason } from "../../../gen/ts/troupe/v1/events_pb.js";

type Frame = MessageInitShape<typeof ChatRoomEventSchema>;

/** One subscription as the server sees it: the test writes its frames. */
export class ServerStream {
  private readonly frames: Frame[] = [];
  private wake: () => void = () => {};
  private over: unknown;
  cancelled = false;

  constructor(
    readonly request: SubscribeRequest,
    readonly headers: Headers,
    readonly id: string,
  ) {}

  send(frame: Frame): this {
    this.frames.push(frame);
    this.wake();
    return this;
  }

  open(heartbeatMs = 0, resumed = false): this {
    return this.send({
      info: {
        cursor: "c0",
        control: {
          case: "opened",
          value: {
            connectionId: this.id,
            connection: `${this.id}.secret`,
            actorId: "actor-1",
            resumed,
            ...(heartbeatMs ? { heartbeatInterval: duration(heartbeatMs) } : {}),
          },
        },
      },
    });
  }

  heartbeat(): this {
    return this.send({ info: { cursor: "c1", control: { case: "heartbeat", value: {} } } });
  }

  joined(user: string, cursor = "c2"): this {
    return this.send({ info: { cursor }, event: { case: "memberJoined", value: { user } } });
  }

  closing(reason: CloseReason, reconnectAfterMs?: number): this {
    const reconnectAfter = reconnectAfterMs === undefined ? {} : { reconnectAfter: duration(reconnectAfterMs) };
    return this.send({ info: { control: { case: "closing", value: { reason, ...reconnectAfter } } } }).end();
  }

  end(error: unknown = "end"): this {
    this.over = error;
    this.wake();
    return this;
  }

  async *run(signal: AbortSignal): AsyncGenerator<ChatRoomEvent> {
    signal.addEventListener("abort", () => {
      this.cancelled = true;
      this.wake();
    });
    for (;;) {
      for (let frame = this.frames.shift(); frame !== undefined; frame = this.frames.shift()) {
        yield create(ChatRoomEventSchema, frame);
      }
      if (this.over !== undefined) {
        if (this.over === "end") {
          return;
        }
        throw this.over;
      }
      if (signal.aborted) {
        return;
      }
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }
}

/** A chat room whose every answer the test decides. */
export class FakeRoom {
  readonly streams: ServerStream[] = [];
  /** The headers of every action, in order. */
  readonly calls: { method: string; headers: Headers; timeoutMs: number | undefined }[] = [];
  /** Thrown by the next actions, in order; undefined lets one pass. */
  readonly failures: unknown[] = [];
  /** Thrown by the next subscriptions, in order. */
  readonly refusals: unknown[] = [];

  readonly routes = (router: ConnectRouter): void => {
    router.service(ChatRoom, {
      send: (request, context) => {
        this.record("send", context);
        context.responseHeader.set("actor-id", "actor-1");
        return { message: { id: "1", text: request.text } };
      },
      history: (_, context) => {
        this.record("history", context);
        return { messages: [{ id: "1", text: "hello" }] };
      },
      subscribe: (request, context) => {
        const refusal = this.refusals.shift();
        if (refusal !== undefined) {
          throw refusal;
        }
        const stream = new ServerStream(request, new Headers(context.requestHeader), `conn-${this.streams.length + 1}`);
        this.streams.push(stream);
        return stream.run(context.signal);
      },
    });
  };

  transport() {
    return createRouterTransport(this.routes);
  }

  /** The newest subscription. */
  get stream(): ServerStream {
    const stream = this.streams.at(-1);
    if (stream === undefined) {
      throw new Error("nobody has subscribed");
    }
    return stream;
  }

  private record(method: string, context: HandlerContext): void {
    const timeoutMs = context.timeoutMs();
    this.calls.push({ method, headers: new Headers(context.requestHeader), timeoutMs });
    const failure = this.failures.shift();
    if (failure !== undefined) {
      throw failure;
    }
  }
}

/** An error as the server makes them. */
export function wireError(code: Code, options: { reason?: string; outcome?: Outcome_Outcome; domain?: string } = {}) {
  const error = new ConnectError("no", code);
  const outcome = options.outcome ?? Outcome_Outcome.NOT_EXECUTED;
  error.details.push({ desc: OutcomeSchema, value: { outcome } });
  if (options.reason !== undefined) {
    error.details.push(errorInfo(options.reason, options.domain ?? "troupe.v1", {}));
  }
  return error;
}

/** google.rpc.ErrorInfo without its descriptor. */
export function errorInfo(reason: string, domain: string, metadata: Record<string, string>) {
  const encoder = new TextEncoder();
  const field = (number: number, bytes: Uint8Array) => [(number << 3) | 2, bytes.length, ...bytes];
  const text = (number: number, value: string) => field(number, encoder.encode(value));
  const entries = Object.entries(metadata).map(([key, value]) =>
    field(3, Uint8Array.from([...text(1, key), ...text(2, value)])),
  );
  return {
    type: "google.rpc.ErrorInfo",
    value: Uint8Array.from([...text(1, reason), ...text(2, domain), ...entries.flat()]),
  };
}

/** google.rpc.RetryInfo of less than 2¹⁴ seconds, without its descriptor. */
export function retryInfo(seconds: number) {
  const delay = [1 << 3, (seconds & 0x7f) | 0x80, seconds >> 7];
  return { type: "google.rpc.RetryInfo", value: Uint8Array.from([(1 << 3) | 2, delay.length, ...delay]) };
}

function duration(ms: number) {
  return { seconds: BigInt(Math.floor(ms / 1000)), nanos: (ms % 1000) * 1e6 };
}

export { Code, Outcome_Outcome };
