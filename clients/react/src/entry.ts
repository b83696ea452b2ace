// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import type { DescService } from "@bufbuild/protobuf";
import type {
  ActorClient,
  ActorConnection,
  ActorError,
  ActorHandle,
  Connectable,
  ConnectOptions,
  ConnectParams,
  EventInfo,
  Key,
  OpenInfo,
} from "@troupe/client";
import type { Actor, ActorAddress, ActorOptions } from "./actor.js";
import { Leases } from "./leases.js";

/** The most that a connection waits for what is read before it opens. */
const longestHoldMs = 2000;

type Listener = (value: never, info: EventInfo) => void;

/** One who listens to an event, over all connections of an entry. */
interface Subscriber {
  readonly event: string;
  readonly listener: Listener;
  off: (() => void) | undefined;
}

/** Who follows an entry's connection. */
export interface Follower {
  /** There is a connection; it may still be opening. */
  connected(): void;
  opened(info: OpenInfo): void;
  /** Events were missed: what was read is old. */
  gap(): void;
}

/**
 * One actor as all components with equal options use it: it is connected while
 * there are leases, and a moment longer. Making one does nothing, so that a render
 * which comes to nothing leaves nothing behind.
 */
export class ActorEntry<S extends DescService> {
  /** For calls outside a connection. */
  readonly handle: ActorHandle<S>;
  /** What a component sees that does not connect. */
  readonly idle: Actor<S>;
  /** What a component sees before there is a connection, and on a server. */
  readonly initial: Actor<S>;
  /** When somebody asked for the entry last, in milliseconds. */
  lastUsed = Date.now();

  private readonly leases: Leases;
  private readonly listeners = new Set<() => void>();
  private readonly subscribers = new Set<Subscriber>();
  private readonly followers = new Set<Follower>();
  private view: Actor<S>;
  private error: ActorError | undefined;
  private connection: ActorConnection<S> | undefined;
  private holds = 0;
  /** Where the connection is to open. */
  private start: string | undefined;

  constructor(
    private readonly client: ActorClient,
    readonly service: S,
    private readonly address: ActorAddress,
    private readonly options: ActorOptions<S>,
    /** Whether the actor type has a subscription. */
    private readonly connects: boolean,
    releaseAfterMs: () => number,
  ) {
    const { params } = options;
    this.handle = this.handleWith(typeof params === "function" ? undefined : params);
    this.leases = new Leases(
      releaseAfterMs,
      () => this.openSoon(),
      () => this.close(),
    );
    const common = { handle: this.handle, error: undefined, connection: undefined, reconnect: this.reconnect };
    this.idle = known({ ...common, status: "idle" }, this, false);
    this.initial = known({ ...common, status: connects ? "connecting" : "idle" }, this, true);
    this.view = this.initial;
  }

  get active(): boolean {
    return this.leases.active;
  }

  readonly current = (): Actor<S> => this.view;

  /** Connects, and tells of every change until the function returned is called. */
  readonly subscribe = (listener: () => void): (() => void) => {
    const release = this.leases.take();
    this.listeners.add(listener);
    return () => {
      this.listeners.delete(listener);
      release();
    };
  };

  /** Connects, until the function returned is called. */
  lease(): (now?: boolean) => void {
    return this.leases.take();
  }

  /** Connects, and calls listener for every event of a name. */
  listen(event: string, listener: Listener): () => void {
    const release = this.leases.take();
    const subscriber: Subscriber = { event, listener, off: undefined };
    this.subscribers.add(subscriber);
    try {
      this.attach(subscriber);
    } catch (error) {
      this.subscribers.delete(subscriber);
      release();
      throw error;
    }
    return () => {
      this.subscribers.delete(subscriber);
      subscriber.off?.();
      release();
    };
  }

  /** Tells follower of what becomes of the connection. */
  follow(follower: Follower): () => void {
    this.followers.add(follower);
    return () => void this.followers.delete(follower);
  }

  /** A function of a newer render makes the parameters from now on. */
  renew({ params }: ActorOptions<S>): void {
    if (typeof params === "function") {
      this.options.params = params;
    }
  }

  /**
   * Puts off opening the connection until something was read, so that it opens
   * where that was read. The function returned ends this, and says where that was;
   * the connection opens when nothing else holds it.
   */
  hold(): (cursor?: string) => void {
    this.holds++;
    let holding = true;
    const release = (cursor?: string) => {
      if (holding) {
        holding = false;
        clearTimeout(timer);
        this.holds--;
        this.start ??= cursor;
        if (this.holds === 0) {
          this.openNow();
        }
      }
    };
    const timer = setTimeout(() => release(), longestHoldMs);
    return release;
  }

  /** Whether there is no connection yet, but will be: followers are told. */
  get opening(): boolean {
    return this.connection === undefined && this.leases.active && this.connects;
  }

  /** The shared connection, if the next event that it brings is the first after cursor. */
  at(cursor: string): ActorConnection<S> | undefined {
    return this.connection?.position === cursor && this.connection.closed === undefined ? this.connection : undefined;
  }

  /** A further connection. */
  connect(options: ConnectOptions): ActorConnection<S> {
    const { params } = this.options;
    const source = typeof params === "function" ? () => this.params() : params;
    return (this.handle as unknown as Connectable<S>).connect(source, options);
  }

  /** The actor's actions, called as the connection if there is one. */
  async actions(): Promise<object> {
    if (this.connection !== undefined && this.connection.closed === undefined) {
      return this.connection.actor;
    }
    const { params } = this.options;
    return (typeof params === "function" ? this.handleWith(await this.params()) : this.handle).rpc;
  }

  /** The actor's actions, called as the connection, which opens now if a first read puts it off. */
  async calls(): Promise<object> {
    await undefined; // a child's effects run before those of whoever connects
    this.openNow();
    return this.actions();
  }

  private readonly reconnect = (): void => {
    if (this.connection?.closed === undefined) {
      this.connection?.reconnectNow();
    } else if (this.leases.active) {
      this.connection = undefined;
      this.open(undefined).onOpen((info) => {
        if (!info.reconnected) {
          this.tell((follower) => follower.gap()); // nobody knows what the one before missed
        }
      });
    }
  };

  private async params(): Promise<ConnectParams<S>> {
    const { params } = this.options;
    return typeof params === "function" ? await params() : (params as ConnectParams<S>);
  }

  private handleWith(params: ConnectParams<S> | undefined): ActorHandle<S> {
    const { input, create } = this.options;
    const own = params === undefined ? {} : { params };
    if (typeof this.address === "object" && "id" in this.address) {
      return this.client.forId(this.service, this.address.id, own);
    }
    const key = this.address as Key;
    return create === false
      ? this.client.get(this.service, key, own)
      : this.client.getOrCreate(this.service, key, input === undefined ? own : { ...own, input });
  }

  /** Opens the connection when all that mounts at the same time has had its say. */
  private openSoon(): void {
    queueMicrotask(() => {
      if (this.holds === 0) {
        this.openNow();
      }
    });
  }

  private openNow(): void {
    const { start } = this;
    this.start = undefined;
    if (this.opening) {
      this.open(start);
      this.tell((follower) => follower.connected());
    }
  }

  private open(cursor: string | undefined): ActorConnection<S> {
    const connection = this.connect(cursor === undefined ? {} : { cursor });
    this.connection = connection;
    this.error = undefined;
    for (const subscriber of this.subscribers) {
      this.attach(subscriber);
    }
    connection.onError((error) => {
      this.error = error;
      this.publish();
    });
    connection.onClose(({ error }) => {
      this.error = error;
      this.publish();
    });
    connection.onOpen((info) => {
      this.error = undefined;
      this.publish();
      this.tell((follower) => follower.opened(info));
    });
    connection.onGap(() => this.tell((follower) => follower.gap()));
    connection.onStatusChange(() => this.publish());
    this.publish();
    return connection;
  }

  private close(): void {
    const { connection } = this;
    this.connection = undefined;
    this.error = undefined;
    connection?.dispose();
    this.publish();
  }

  private attach(subscriber: Subscriber): void {
    subscriber.off = this.connection?.on(subscriber.event as never, subscriber.listener as never);
  }

  private tell(say: (follower: Follower) => void): void {
    for (const follower of [...this.followers]) {
      say(follower);
    }
  }

  private publish(): void {
    const { connection, error } = this;
    if (connection === undefined) {
      this.view = this.initial;
    } else if (
      this.view.connection === connection &&
      this.view.status === connection.status &&
      this.view.error === error
    ) {
      return;
    } else {
      const { handle, reconnect } = this;
      this.view = known({ handle, reconnect, connection, error, status: connection.status }, this, true);
    }
    for (const listener of [...this.listeners]) {
      listener();
    }
  }
}

interface Known {
  readonly entry: ActorEntry<DescService>;
  readonly enabled: boolean;
}

const views = new WeakMap<object, Known>();

function known<S extends DescService>(view: Actor<S>, entry: ActorEntry<S>, enabled: boolean): Actor<S> {
  views.set(view, { entry: entry as unknown as ActorEntry<DescService>, enabled });
  return Object.freeze(view);
}

/** The entry behind what useActor returns, and whether it is to connect. */
export function entryOf<S extends DescService>(actor: Actor<S>): { entry: ActorEntry<S>; enabled: boolean } {
  const found = views.get(actor);
  if (found === undefined) {
    throw new TypeError("this is not what useActor returned");
  }
  return found as unknown as { entry: ActorEntry<S>; enabled: boolean };
}
