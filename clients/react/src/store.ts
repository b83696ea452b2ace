// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { create, type DescService } from "@bufbuild/protobuf";
import { type ActorConnection, ActorError, type ActorEvents, type EventInfo, type OpenInfo } from "@troupe/client";
import type { UnaryName } from "./actor.js";
import { Changes } from "./changes.js";
import {
  type Reducer,
  type Reply,
  type Request,
  readFrom,
  type SnapshotDefinition,
  type SnapshotStart,
} from "./define.js";
import type { ActorEntry, Follower } from "./entry.js";
import { type Feed, followApart, followShared, type Told } from "./feed.js";
import { Leases } from "./leases.js";

/** What was read of an actor and is kept up to date by its events. */
export interface Snapshot<D> {
  /** The state; undefined until it was read. */
  readonly data: D | undefined;
  /** Why it could not be read, until it is. */
  readonly error: ActorError | undefined;
  /** Whether it is being read. */
  readonly pending: boolean;
  /** Reads it anew. */
  readonly reread: () => void;
}

/** A change that is shown before it is made. */
export interface Optimistic<D> {
  /**
   * It is made, and its events are before cursor. Apply puts its result into the
   * state; without it the change is shown until its events are here.
   */
  confirm(cursor: string, apply?: (state: D) => D): void;
  /** It is not made. */
  rollBack(): void;
}

/** One event, while something is being read. */
interface Seen {
  readonly name: string;
  readonly value: unknown;
  readonly info: EventInfo;
}

/** A read that has failed is repeated by a render after this. */
const failedForMs = 1000;
/** The first and the longest wait between reads that are repeated because each came too late. */
const [rereadBaseMs, rereadMaxMs] = [250, 5000];

/**
 * Reads a state and follows the events that change it from exactly there. The
 * events come from the shared connection when it stands where the state was read,
 * or is opened there. Otherwise from a connection of the store's own, until both
 * stand at the same place.
 */
export class SnapshotStore<S extends DescService, M extends UnaryName<S>> implements Follower, Told<S> {
  lastUsed = Date.now();
  private readonly leases: Leases;
  private readonly listeners = new Set<() => void>();
  private readonly changes = new Changes<Reply<S, M>>();
  private view: Snapshot<Reply<S, M>>;
  /** What a server has rendered, for the render that takes its page over. */
  private first: Snapshot<Reply<S, M>>;
  private base: Reply<S, M> | undefined;
  private error: ActorError | undefined;
  /** Where base is to be followed from, until it is. */
  private cursor: string | undefined;
  private feed: Feed<S> | undefined;
  /** The read under way. */
  private reading: Promise<void> | undefined;
  private canceled = new AbortController();
  /** Whether to read once more after the read under way. */
  private again = false;
  /** What came in during the read under way. */
  private during: Seen[] = [];
  /** How often what was read could not be followed, since it last could. */
  private misses = 0;
  private failedAt = 0;
  private stop: () => void = () => {};

  constructor(
    private readonly entry: ActorEntry<S>,
    private readonly definition: SnapshotDefinition<S, M>,
    private readonly request: Request<S, M>,
    releaseAfterMs: () => number,
  ) {
    this.view = this.look();
    this.first = this.view;
    this.leases = new Leases(
      releaseAfterMs,
      () => this.begin(),
      () => this.end(),
    );
  }

  get active(): boolean {
    return this.leases.active || this.reading !== undefined;
  }

  readonly current = (): Snapshot<Reply<S, M>> => this.view;
  readonly initial = (): Snapshot<Reply<S, M>> => this.first;

  /** Follows the state, and tells of every change until the function returned is called. */
  readonly subscribe = (listener: () => void): (() => void) => {
    const release = this.leases.take();
    this.listeners.add(listener);
    return () => {
      this.listeners.delete(listener);
      release();
    };
  };

  /** Begins with what was read elsewhere, unless something was read here. */
  seed({ reply, cursor }: SnapshotStart<Reply<S, M>>): void {
    if (this.base === undefined && this.reading === undefined) {
      const { service, method } = this.definition;
      const output = service.method[method]?.output;
      this.base = (output === undefined ? reply : create(output, reply as never)) as Reply<S, M>;
      this.cursor = cursor;
      this.view = this.look();
      this.first = this.view;
    }
  }

  /** What a render waits for: it resolves when there is a state or an error. Undefined if there is one. */
  preload(): Promise<void> | undefined {
    const failed = this.error !== undefined && performance.now() - this.failedAt < failedForMs;
    if (this.base !== undefined || failed) {
      return undefined;
    }
    return this.reading ?? this.read();
  }

  /** Shows a change before it is made. */
  optimistic(change: (state: Reply<S, M>) => Reply<S, M>): Optimistic<Reply<S, M>> {
    if (this.base !== undefined) {
      change(this.base); // it throws here or not at all
    }
    this.changes.add(change);
    this.publish();
    const over = () => {
      if (this.changes.remove(change)) {
        this.publish();
      }
    };
    const confirm = (cursor: string, apply?: (state: Reply<S, M>) => Reply<S, M>) => {
      if (apply !== undefined && this.base !== undefined) {
        try {
          this.base = apply(this.base);
        } catch (error) {
          over();
          this.missed(); // the state is not what the reply is about
          throw error;
        }
      } else if (this.feed !== undefined && this.changes.keepUntil(cursor, change, over)) {
        return;
      }
      over();
    };
    return { confirm, rollBack: over };
  }

  connected(): void {
    if (this.cursor !== undefined) {
      this.followFrom(this.cursor);
    }
  }

  opened({ reconnected }: OpenInfo): void {
    if (this.error !== undefined || (reconnected && this.definition.options.rereadOnReconnect)) {
      this.reread();
    }
  }

  gap(): void {
    if (this.feed?.own !== true) {
      this.missed();
    }
  }

  private readonly reread = (): void => {
    if (this.reading !== undefined) {
      this.again = true;
    } else {
      void this.read();
    }
  };

  private begin(): void {
    const release = this.entry.lease();
    const unfollow = this.entry.follow(this);
    this.stop = () => {
      unfollow();
      release(true);
    };
    if (this.cursor !== undefined) {
      this.entry.hold()(this.cursor);
      this.connected();
    } else if (this.reading === undefined) {
      void this.read();
    }
  }

  private end(): void {
    this.canceled.abort();
    this.stopFeed();
    this.base = undefined;
    this.error = undefined;
    this.cursor = undefined;
    this.misses = 0;
    this.again = false;
    this.changes.clear();
    this.stop();
    this.publish();
  }

  /** Reads the state, and follows it if anybody wants to know. It never rejects. */
  private read(waitMs = 0): Promise<void> {
    const canceled = new AbortController();
    this.canceled = canceled;
    this.again = false;
    this.during = [];
    const release = this.entry.hold();
    const { signal } = canceled;
    const reading = (async () => {
      if (waitMs > 0) {
        await new Promise((resolve) => setTimeout(resolve, waitMs));
      }
      if (signal.aborted) {
        return;
      }
      const actions = await this.entry.actions();
      const { reply, cursor } = await readFrom<S, M>(actions, this.definition, this.request, { signal });
      if (!signal.aborted) {
        this.error = undefined;
        this.base = reply;
        this.catchUp(cursor);
        release(cursor);
      }
    })()
      .catch((thrown: unknown) => {
        if (!signal.aborted) {
          this.error = ActorError.from(thrown);
          this.failedAt = performance.now();
        }
      })
      .finally(() => {
        release();
        if (this.reading !== reading) {
          return; // it was cancelled and another has begun
        }
        this.reading = undefined;
        this.during = [];
        // It was cancelled if everybody left; somebody may have come back.
        if (this.leases.active && (signal.aborted || this.again)) {
          void this.read();
        } else {
          this.publish();
        }
      });
    this.reading = reading;
    queueMicrotask(() => this.publish()); // a render may have begun it
    return reading;
  }

  /** Brings what was just read at cursor to where the feed is, or lets it be followed from there. */
  private catchUp(cursor: string): void {
    const last = this.during.map(({ info }) => info.cursor).lastIndexOf(cursor);
    const { feed } = this;
    if (feed !== undefined && feed.connection.closed === undefined) {
      if (feed.connection.position === cursor) {
        return; // nothing came after it
      }
      if (last >= 0) {
        for (const { name, value, info } of this.during.slice(last + 1)) {
          this.reduce(name, value, info);
        }
        return;
      }
    }
    this.stopFeed();
    this.cursor = cursor;
    if (this.leases.active) {
      this.followFrom(cursor);
    }
  }

  private followFrom(cursor: string): void {
    if (this.eventNames.length > 0 && this.entry.opening) {
      return; // until there is a connection
    }
    this.cursor = undefined;
    if (this.eventNames.length === 0) {
      return;
    }
    const shared = this.entry.at(cursor);
    if (shared !== undefined) {
      this.feed = followShared(shared, this.eventNames, this);
      return;
    }
    const own = this.entry.connect({ cursor, events: this.eventNames });
    this.feed = followApart(own, this.entry.current().connection, this.eventNames, this);
  }

  private get eventNames(): string[] {
    return Object.keys(this.definition.events);
  }

  met(own: ActorConnection<S>, shared: ActorConnection<S>): void {
    if (this.feed?.connection === own) {
      this.stopFeed();
      this.feed = followShared(shared, this.eventNames, this);
    }
  }

  failed(error: ActorError): void {
    this.error = error;
    this.failedAt = performance.now();
    this.stopFeed();
    this.publish();
  }

  seen(name: string, value: unknown, info: EventInfo): void {
    if (this.reading !== undefined) {
      this.during.push({ name, value, info });
    }
    this.misses = 0;
    this.reduce(name, value, info);
    this.changes.reached(info.cursor);
    this.publish();
  }

  private reduce(name: string, value: unknown, info: EventInfo): void {
    const reducer = this.definition.events[name as keyof ActorEvents<S>] as Reducer<Reply<S, M>, unknown> | undefined;
    if (reducer === "reread") {
      this.reread();
    } else if (reducer !== undefined && this.base !== undefined) {
      try {
        this.base = reducer(this.base, value, info);
      } catch (error) {
        this.missed(); // the state is not what the event is about
        throw error;
      }
    }
  }

  /** Events are missing: reads anew, more slowly each time. */
  missed(): void {
    this.stopFeed();
    if (!this.leases.active) {
      return;
    }
    const waitMs = this.misses === 0 ? 0 : Math.min(rereadMaxMs, rereadBaseMs * 2 ** (this.misses - 1));
    this.misses++;
    if (this.reading === undefined) {
      void this.read(waitMs);
    } else {
      this.again = true;
    }
  }

  private stopFeed(): void {
    this.feed?.stop();
    this.feed = undefined;
  }

  private look(): Snapshot<Reply<S, M>> {
    const pending = this.reading !== undefined || (this.base === undefined && this.error === undefined);
    const data = this.changes.applyTo(this.base);
    const view = { data, error: this.error, pending, reread: this.reread };
    stores.set(view, this as unknown as SnapshotStore<DescService, never>);
    return Object.freeze(view);
  }

  private publish(): void {
    const { view } = this;
    const next = this.look();
    if (next.data === view.data && next.error === view.error && next.pending === view.pending) {
      return;
    }
    this.view = next;
    for (const listener of [...this.listeners]) {
      listener();
    }
  }
}

const stores = new WeakMap<object, SnapshotStore<DescService, never>>();

/** The store behind what useSnapshot returns. */
export function storeOf<D>(snapshot: Snapshot<D>): {
  optimistic(change: (state: D) => D): Optimistic<D>;
} {
  const found = stores.get(snapshot);
  if (found === undefined) {
    throw new TypeError("this is not what useSnapshot returned");
  }
  return found as unknown as { optimistic(change: (state: D) => D): Optimistic<D> };
}
