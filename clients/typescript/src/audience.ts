// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import type { DescService } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import type { EventInfo } from "../../../gen/ts/troupe/v1/events_pb.js";
import { type ActorError, clientError } from "./errors.js";
import { guarded, type Listeners, subscribe, type Unsubscribe } from "./listeners.js";
import { EventQueue } from "./queue.js";
import type { ActorEvent } from "./types.js";

/** What is called for an event. */
export type Listener = (value: never, info: EventInfo) => void;

/** Those who get the events of one connection: listeners by name, and loops. */
export class Audience<S extends DescService> {
  private readonly listeners = new Map<string, Listeners<Listener>>();
  private readonly queues = new Set<EventQueue<ActorEvent<S>>>();
  private ended = false;

  /** limit is how many events a loop may lag behind. */
  constructor(private readonly limit: number) {}

  add(event: string, listener: Listener): Unsubscribe {
    let listeners = this.listeners.get(event);
    if (listeners === undefined) {
      listeners = new Set();
      this.listeners.set(event, listeners);
    }
    return subscribe(listeners, listener);
  }

  remove(event: string, listener: Listener): void {
    const listeners = this.listeners.get(event);
    for (const added of listeners ?? []) {
      if (added.listener === listener) {
        listeners?.delete(added);
      }
    }
  }

  /** The events from now on, for one loop. */
  loop(): EventQueue<ActorEvent<S>> {
    const { limit } = this;
    const queue = new EventQueue<ActorEvent<S>>(
      limit,
      () => clientError(`a loop lags behind by ${limit} events`, Code.ResourceExhausted, "loop_too_slow"),
      (done) => this.queues.delete(done),
    );
    this.queues.add(queue);
    return queue;
  }

  publish(name: string, value: unknown, info: EventInfo): void {
    const listeners = this.listeners.get(name);
    for (const added of [...(listeners ?? [])]) {
      if (listeners?.has(added) && !this.ended) {
        guarded(() => added.listener(value as never, info));
      }
    }
    for (const queue of [...this.queues]) {
      queue.push({ case: name, value, info } as ActorEvent<S>);
    }
  }

  /** Ends every loop; no listener is called any more. */
  end(error: ActorError | undefined): void {
    this.ended = true;
    for (const queue of this.queues) {
      queue.end(error);
    }
    this.queues.clear();
  }
}
