// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import type { DescMessage, DescService, MessageInitShape } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import type { EventInfo } from "../../../gen/ts/troupe/v1/events_pb.js";
import { createActions } from "./actions.js";
import { Audience, type Listener } from "./audience.js";
import { Backoff, type Clock, sleep } from "./backoff.js";
import { callsOver, linkGone, type OpenLink } from "./calls.js";
import { type ActorError, clientError } from "./errors.js";
import { Gate } from "./gate.js";
import { durationMs, finalCodes, type LinkEnd, runLink } from "./link.js";
import { emit, type Listeners, subscribe, type Unsubscribe } from "./listeners.js";
import {
  type CloseInfo,
  type ConnectionStatus,
  type ConnectOptions,
  type ConnectParamsSource,
  closeInfoOf,
  type GapInfo,
  type OpenInfo,
} from "./options.js";
import { paramsSource } from "./params.js";
import type { Source } from "./source.js";
import { type Binding, bindTransport } from "./transport.js";
import type { Actions, ActorEvent, ActorEvents } from "./types.js";
import { findSubscription, header, type Subscription } from "./wire.js";

/**
 * A connection to one actor. It owns one stream at a time and opens the next by
 * itself until it is disposed of, the server closes it for good, or an error
 * says that trying again is no use.
 *
 * Listeners run one after another, in the order of the events, and none runs
 * before the code that made the connection has yielded. One that throws does not
 * disturb the others.
 */
export class ActorConnection<S extends DescService> implements AsyncIterable<ActorEvent<S>> {
  /** The actor's actions, called as this connection. While it is not connected they wait. */
  readonly actor: Actions<S>;

  private current: ConnectionStatus = "connecting";
  private closeInfo: CloseInfo | undefined;
  private wasOpen = false;
  private cursor: string | undefined;
  /** A cursor that the server refused: told when the next stream is open. */
  private lost: GapInfo | undefined;
  private readonly subscription: Subscription;
  private readonly params: () => Promise<MessageInitShape<DescMessage>>;
  private readonly backoff: Backoff;
  /** Ends the attempt under way. */
  private attempt = new AbortController();
  /** Ends the wait for the next attempt. */
  private pause = new AbortController();
  private readonly gate: Gate<OpenLink>;
  private readonly audience: Audience<S>;
  private readonly statusListeners: Listeners<(status: ConnectionStatus) => void> = new Set();
  private readonly openListeners: Listeners<(info: OpenInfo) => void> = new Set();
  private readonly gapListeners: Listeners<(info: GapInfo) => void> = new Set();
  private readonly closeListeners: Listeners<(info: CloseInfo) => void> = new Set();
  private readonly errorListeners: Listeners<(error: ActorError) => void> = new Set();

  /** @internal Connections are made by the connect method of a handle. */
  constructor(
    private readonly binding: Binding,
    private readonly source: Source,
    private readonly clock: Clock,
    service: S,
    params: ConnectParamsSource<S> | undefined,
    private readonly options: ConnectOptions = {},
  ) {
    const subscription = findSubscription(service);
    if (subscription === undefined) {
      throw new TypeError(`${service.typeName} has no subscription`);
    }
    for (const event of options.events ?? []) {
      if (!subscription.events.has(event)) {
        throw new TypeError(`${subscription.method.output.typeName} has no event "${event}"`);
      }
    }
    this.subscription = subscription;
    this.cursor = options.cursor || undefined;
    this.gate = new Gate(clock);
    this.params = paramsSource(subscription, params);
    this.backoff = new Backoff(clock, options.backoffBaseMs ?? 250, options.backoffMaxMs ?? 30_000);
    this.audience = new Audience(options.buffer ?? 1024);
    const drop = (link: OpenLink) => this.drop(link);
    this.actor = createActions(service, callsOver({ binding, clock, gate: this.gate, drop }));
    options.signal?.addEventListener("abort", this.dispose, { once: true });
    globalThis.addEventListener?.("online", this.reconnectNow);
    queueMicrotask(() => void this.run());
    if (options.signal?.aborted) {
      this.dispose();
    }
  }

  get status(): ConnectionStatus {
    return this.current;
  }

  /**
   * Where the connection stands: the next event that its listeners get is the first
   * one after this cursor. Undefined until the first frame, unless it was given one.
   */
  get position(): string | undefined {
    return this.cursor;
  }

  /** What the server said of the open connection; undefined while there is none. */
  get info(): OpenInfo | undefined {
    return this.gate.value?.info;
  }

  /** Why the connection is over; undefined until it is. */
  get closed(): CloseInfo | undefined {
    return this.closeInfo;
  }

  /** Calls listener for every event of this name. The function returned ends that. */
  on<C extends keyof ActorEvents<S> & string>(
    event: C,
    listener: (value: ActorEvents<S>[C], info: EventInfo) => void,
  ): Unsubscribe {
    if (!this.subscription.events.has(event)) {
      throw new TypeError(`${this.subscription.method.output.typeName} has no event "${event}"`);
    }
    return this.audience.add(event, listener as Listener);
  }

  /** Calls listener for the next event of this name only. */
  once<C extends keyof ActorEvents<S> & string>(
    event: C,
    listener: (value: ActorEvents<S>[C], info: EventInfo) => void,
  ): Unsubscribe {
    const off = this.on(event, (value, info) => {
      off();
      listener(value, info);
    });
    return off;
  }

  /** Ends what {@link on} began. */
  off<C extends keyof ActorEvents<S> & string>(
    event: C,
    listener: (value: ActorEvents<S>[C], info: EventInfo) => void,
  ): void {
    this.audience.remove(event, listener as Listener);
  }

  /** Calls listener whenever the status changes. */
  onStatusChange(listener: (status: ConnectionStatus) => void): Unsubscribe {
    return subscribe(this.statusListeners, listener);
  }

  /** Calls listener whenever a stream opens: at first and after every reconnect. */
  onOpen(listener: (info: OpenInfo) => void): Unsubscribe {
    return subscribe(this.openListeners, listener);
  }

  /**
   * Calls listener when events were missed for good: the actor no longer has
   * them, or is another one. The connection is open again then, so a state that
   * listener reads is followed by every event after it.
   */
  onGap(listener: (info: GapInfo) => void): Unsubscribe {
    return subscribe(this.gapListeners, listener);
  }

  /** Calls listener once, when the connection is over. */
  onClose(listener: (info: CloseInfo) => void): Unsubscribe {
    return subscribe(this.closeListeners, listener);
  }

  /** Calls listener for every error of the connection, those that it recovers from included. */
  onError(listener: (error: ActorError) => void): Unsubscribe {
    return subscribe(this.errorListeners, listener);
  }

  /** Resolves when the connection is open, at once if it is; rejects when it is over. */
  async ready(options: { signal?: AbortSignal; timeoutMs?: number } = {}): Promise<OpenInfo> {
    return (await this.gate.wait(options.signal, options.timeoutMs)).info;
  }

  /** Ends the wait for the next attempt. */
  readonly reconnectNow = (): void => this.pause.abort();

  /** Ends the connection. Loops over it end; calls that wait for it fail. */
  readonly dispose = (): void => this.close({ reason: "disposed", message: "" });

  [Symbol.dispose](): void {
    this.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.dispose();
  }

  /**
   * The events from now on. Each loop has a queue of its own; when it lags
   * behind by more than the buffer option, the loop fails with
   * resource_exhausted. A loop ends when the connection is disposed of, and
   * fails when it is over for another reason.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<ActorEvent<S>, undefined> {
    const queue = this.audience.loop();
    if (this.closeInfo !== undefined) {
      this.audience.end(this.closeInfo.error);
    }
    return queue;
  }

  private async run(): Promise<void> {
    while (this.closeInfo === undefined) {
      const attempt = new AbortController();
      this.attempt = attempt;
      this.pause = new AbortController();
      this.setStatus("connecting");
      const resume = this.wasOpen && this.options.resume === false ? undefined : this.cursor;
      const end = await runLink({
        source: this.source,
        clock: this.clock,
        subscription: this.subscription,
        params: this.params,
        resume,
        events: this.options.events,
        openTimeoutMs: this.options.openTimeoutMs ?? 15_000,
        signal: attempt.signal,
        onOpened: (opened) => {
          const { connectionId, actorId, resumed, connection } = opened;
          this.opened(connection, { connectionId, actorId, resumed, reconnected: this.wasOpen });
          const gap = this.lost ?? (resume !== undefined && !resumed ? { cursor: resume } : undefined);
          this.lost = undefined;
          if (gap !== undefined && this.closeInfo === undefined) {
            emit(this.gapListeners, gap, this.isOver);
          }
        },
        onEvent: (name, value, info) => this.audience.publish(name, value, info),
        onCursor: (cursor) => {
          this.cursor = cursor || this.cursor;
        },
      });
      const waitMs = this.judge(end, resume);
      if (waitMs === undefined) {
        return;
      }
      this.setStatus("disconnected");
      if (waitMs > 0) {
        await sleep(this.clock, waitMs, this.pause.signal);
      }
    }
  }

  /** Says how long to wait for the next attempt; undefined if there is none. */
  private judge(end: LinkEnd, resume: string | undefined): number | undefined {
    const link = this.gate.value;
    this.gate.shut();
    if (this.closeInfo !== undefined) {
      return undefined;
    }
    const stable = link !== undefined && this.clock.now() - link.openedAt >= (this.options.stableMs ?? 5000);
    if (stable) {
      this.backoff.reset();
    }
    switch (end.kind) {
      case "aborted":
        return 0;
      case "closing": {
        const { reconnectAfter } = end.closing;
        if (reconnectAfter === undefined) {
          this.close(closeInfoOf(end.closing));
          return undefined;
        }
        const asked = durationMs(reconnectAfter);
        // A server that closes at once, again and again, meets the back-off.
        return stable ? asked : Math.max(asked, this.backoff.next());
      }
      case "failed": {
        const { error } = end;
        if (resume !== undefined && link === undefined && error.code === Code.OutOfRange) {
          this.lost = { cursor: resume, error };
          this.cursor = undefined;
          return 0;
        }
        emit(this.errorListeners, error, this.isOver);
        if (finalCodes.has(error.code)) {
          this.close({ reason: "error", message: error.rawMessage, error });
          return undefined;
        }
        return Math.max(this.backoff.next(), error.retryAfterMs ?? 0);
      }
    }
  }

  private opened(connection: string, info: OpenInfo): void {
    this.wasOpen = true;
    const { binding } = this;
    const transport = bindTransport({
      ...binding,
      headers: async (signal) => {
        const headers = await binding.headers(signal);
        if (this.gate.value !== link) {
          throw linkGone();
        }
        headers.set(header.conn, connection);
        return headers;
      },
    });
    const link: OpenLink = { transport, openedAt: this.clock.now(), info };
    this.gate.open(link);
    this.setStatus("connected");
    if (this.closeInfo === undefined) {
      emit(this.openListeners, info, this.isOver);
    }
  }

  /** Ends a link that the server knows no more: its stream is dead and nobody has noticed yet. */
  private drop(link: OpenLink): void {
    if (this.gate.value === link) {
      this.gate.shut();
      this.attempt.abort();
    }
  }

  private close(info: CloseInfo): void {
    if (this.closeInfo !== undefined) {
      return;
    }
    this.closeInfo = info;
    const { error } = info;
    this.gate.close(
      clientError("the connection is closed", error?.code ?? Code.Canceled, "connection_closed", { cause: error }),
    );
    this.attempt.abort();
    this.pause.abort();
    this.options.signal?.removeEventListener("abort", this.dispose);
    globalThis.removeEventListener?.("online", this.reconnectNow);
    this.setStatus("closed");
    emit(this.closeListeners, info);
    this.audience.end(info.error);
  }

  private readonly isOver = (): boolean => this.closeInfo !== undefined;

  private setStatus(status: ConnectionStatus): void {
    if (status !== this.current && (this.current !== "closed" || status === "closed")) {
      this.current = status;
      emit(this.statusListeners, status, () => this.current !== status);
    }
  }
}
