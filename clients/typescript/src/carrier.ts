// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { create, fromBinary, fromJson, type Message, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import type { ActorService } from "../../../gen/ts/troupe/v1/actor_service_pb.js";
import { type ConnectionClosing, type EventInfo, EventInfoSchema } from "../../../gen/ts/troupe/v1/events_pb.js";
import type {
  Payload,
  SubscriptionError,
  SubscriptionSchema,
  WatchFrame,
  Subscription as WireSubscription,
} from "../../../gen/ts/troupe/v1/watch_pb.js";
import type { Clock } from "./backoff.js";
import { ActorError, canceledError, clientError, isActorError, wasNotExecuted } from "./errors.js";
import { Gate } from "./gate.js";
import { durationMs } from "./link.js";
import { EventQueue } from "./queue.js";
import type { Source, Wish } from "./source.js";
import { missedHeartbeats, Watchdog } from "./watchdog.js";
import type { Subscription } from "./wire.js";

/** How long a shared stream's first frame may take, in milliseconds. */
const openTimeoutMs = 15_000;
/** How many subscriptions a stream carries until it says how many it takes. */
const assumedLimit = 64;

/** A subscription, but for its number. */
export type Request = Exclude<MessageInitShape<typeof SubscriptionSchema>, WireSubscription>;

/** One subscription on a shared stream. */
interface Carried {
  readonly subscription: Subscription;
  readonly messages: EventQueue<Message>;
  /** Whether the server may have it: it was asked for, and has not ended. */
  held: boolean;
}

/** The shared streams of one client: as few as carry all its subscriptions. */
export class Carriers {
  private readonly carriers = new Set<Carrier>();

  /**
   * The clients: quiet opens streams and never repeats a call by itself, calls
   * adds and removes what they carry.
   */
  constructor(
    private readonly quiet: Client<typeof ActorService>,
    private readonly calls: Client<typeof ActorService>,
    private readonly clock: Clock,
  ) {}

  /** Opens subscriptions of one actor; address says which, as the shared stream has it. */
  source(address: (signal: AbortSignal) => Promise<Request>): Source {
    return async (wish, signal) => {
      const request = { ...(await address(signal)), ...wishOf(wish) };
      for (;;) {
        if (signal.aborted) {
          throw canceledError(signal); // it ended while its request was made
        }
        const messages = await this.roomy().carry(request, wish.subscription, signal);
        if (messages !== undefined) {
          return messages;
        }
      }
    };
  }

  /** A stream that takes one more. */
  private roomy(): Carrier {
    for (const carrier of this.carriers) {
      if (carrier.hasRoom) {
        return carrier;
      }
    }
    const carrier = new Carrier(this.quiet, this.calls, this.clock, () => this.carriers.delete(carrier));
    this.carriers.add(carrier);
    return carrier;
  }
}

function wishOf({ subscription, params, resume, events }: Wish): Request {
  return {
    params: { encoding: { case: "binary", value: toBinary(subscription.method.input, params) } },
    resume: resume ?? "",
    events: [...(events ?? [])],
  };
}

/**
 * One shared stream. It is opened for the first subscription and those that come
 * in the same moment, takes further ones by calls, and ends with the last one.
 */
class Carrier {
  private readonly carried = new Map<number, Carried>();
  private readonly cut = new AbortController();
  private readonly watchdog: Watchdog;
  /** The stream's name for calls; it comes with the first frame. */
  private readonly opened: Gate<{ readonly stream: string }>;
  /** What the request brings along; undefined once it is sent. */
  private first: Request[] | undefined = [];
  private lastNumber = 0;
  private limit = assumedLimit;
  private full = false;
  private over = false;

  constructor(
    private readonly quiet: Client<typeof ActorService>,
    private readonly calls: Client<typeof ActorService>,
    clock: Clock,
    private readonly onOver: () => void,
  ) {
    this.opened = new Gate(clock);
    this.watchdog = new Watchdog(clock, (silentMs) => {
      this.end(clientError(`nothing came for ${Math.round(silentMs)} ms`, Code.Unavailable, "heartbeat_missed"));
    });
    // Connections that are made or made anew together are asked for together.
    clock.setTimeout(() => void this.run(), 0);
  }

  get hasRoom(): boolean {
    return !this.over && !this.full && this.carried.size < this.limit;
  }

  /** Carries a subscription; undefined if this stream cannot after all. */
  async carry(
    request: Request,
    subscription: Subscription,
    signal: AbortSignal,
  ): Promise<AsyncIterable<Message> | undefined> {
    const number = ++this.lastNumber;
    const messages = new EventQueue<Message>(
      Number.POSITIVE_INFINITY,
      () => clientError("more events than memory", Code.ResourceExhausted, "too_many_events"),
      () => this.remove(number),
    );
    const carried: Carried = { subscription, messages, held: false };
    this.carried.set(number, carried);
    signal.addEventListener("abort", () => this.remove(number), { once: true });
    if (this.first !== undefined) {
      this.first.push({ ...request, number });
      return messages;
    }
    try {
      const { stream } = await this.opened.wait(signal, undefined);
      carried.held = true;
      await this.calls.addSubscription({ stream, subscription: { ...request, number } }, { signal });
      return messages;
    } catch (thrown) {
      const known = this.carried.delete(number);
      if (known && carried.held && !wasNotExecuted(thrown)) {
        this.disown(number);
      }
      this.endIfIdle();
      if (isActorError(thrown, "too_many_subscriptions_of_stream")) {
        this.full = true;
        return undefined;
      }
      if (isActorError(thrown, "stream_gone")) {
        this.end(clientError("the shared stream is gone", Code.Unavailable, "stream_gone", { cause: thrown }));
        return undefined;
      }
      // The stream itself may have ended meanwhile, and said why.
      if (!known && !signal.aborted) {
        return messages;
      }
      throw thrown;
    }
  }

  /** Ends one subscription from this side. */
  private remove(number: number): void {
    const carried = this.carried.get(number);
    if (carried === undefined) {
      return;
    }
    this.carried.delete(number);
    carried.messages.end();
    this.first = this.first?.filter((request) => request.number !== number);
    if (carried.held) {
      this.disown(number);
    }
    this.endIfIdle();
  }

  /** Has the server end a subscription that may be on the stream, as soon as that has a name. */
  private disown(number: number): void {
    if (this.carried.size === 0) {
      return; // the stream ends
    }
    // If it does not arrive, the stream ends some day, and all it carries.
    this.opened
      .wait(undefined, undefined)
      .then(({ stream }) => this.calls.removeSubscription({ stream, number }))
      .catch(() => {});
  }

  private async run(): Promise<void> {
    const subscriptions = this.first ?? [];
    this.first = undefined;
    for (const carried of this.carried.values()) {
      carried.held = true;
    }
    if (this.over || subscriptions.length === 0) {
      this.end(clientError("nobody wants the stream any more", Code.Canceled, "canceled"));
      return;
    }
    this.watchdog.expect(openTimeoutMs);
    try {
      // 0: no time limit, whatever the transport's default is.
      for await (const frame of this.quiet.watch({ subscriptions }, { signal: this.cut.signal, timeoutMs: 0 })) {
        this.watchdog.fed();
        this.take(frame);
        if (this.over) {
          return;
        }
      }
      this.end(clientError("the stream ended without a closing frame", Code.Unavailable, "stream_ended"));
    } catch (thrown) {
      this.end(ActorError.from(thrown));
    }
  }

  private take({ subscription: number, frame }: WatchFrame): void {
    switch (frame.case) {
      case "opened": {
        const { stream, heartbeatInterval, maxSubscriptions } = frame.value;
        this.watchdog.expect(heartbeatInterval ? durationMs(heartbeatInterval) * missedHeartbeats : 0);
        this.limit = maxSubscriptions || this.limit;
        this.opened.open({ stream });
        break;
      }
      case "closing":
        this.close(frame.value);
        break;
      case "event":
        this.deliver(number, frame.value);
        break;
      case "ended":
        this.settle(number, frame.value.error && errorOf(frame.value.error));
        break;
    }
  }

  private deliver(number: number, payload: Payload): void {
    const carried = this.carried.get(number);
    if (carried === undefined) {
      return; // it was removed, and the server has not yet heard of it
    }
    try {
      const message = decode(carried.subscription, payload);
      const info = (message as unknown as Record<string, unknown>)[carried.subscription.infoField];
      if ((info as EventInfo | undefined)?.control.case === "closing") {
        carried.held = false;
      }
      carried.messages.push(message);
    } catch (cause) {
      carried.messages.end(clientError(`a message cannot be read: ${cause}`, Code.Internal, "bad_message", { cause }));
      this.remove(number);
    }
  }

  /** A subscription is over; the others go on. */
  private settle(number: number, error: ActorError | undefined): void {
    const carried = this.carried.get(number);
    this.carried.delete(number);
    carried?.messages.end(error);
    this.endIfIdle();
  }

  /** The server ends the stream on purpose: each subscription is told as by a stream of its own. */
  private close(closing: ConnectionClosing): void {
    const info = create(EventInfoSchema, { control: { case: "closing", value: closing } });
    for (const { subscription, messages } of this.carried.values()) {
      messages.push(create(subscription.method.output, { [subscription.infoField]: info }));
    }
    this.end(undefined);
  }

  private endIfIdle(): void {
    if (this.carried.size === 0) {
      this.end(clientError("nobody wants the stream any more", Code.Canceled, "canceled"));
    }
  }

  private end(error: ActorError | undefined): void {
    if (this.over) {
      return;
    }
    this.over = true;
    this.onOver();
    this.watchdog.stop();
    this.cut.abort();
    this.opened.close(error ?? clientError("the shared stream is closed", Code.Unavailable, "stream_closed"));
    for (const { messages } of this.carried.values()) {
      messages.end(error);
    }
    this.carried.clear();
  }
}

function decode({ method }: Subscription, { encoding }: Payload): Message {
  switch (encoding.case) {
    case "binary":
      return fromBinary(method.output, encoding.value);
    case "json":
      return fromJson(method.output, encoding.value);
    default:
      throw new TypeError("it has an unknown encoding");
  }
}

/** The error that a stream of its own would have failed with. */
function errorOf({ code, message, details }: SubscriptionError): ActorError {
  const error = new ConnectError(message, code in Code ? code : Code.Unknown);
  error.details = details;
  return ActorError.from(error);
}
