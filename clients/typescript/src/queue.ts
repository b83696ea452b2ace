// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import type { ActorError } from "./errors.js";

/**
 * The events between a connection and one loop over it. It holds at most limit
 * events; when the loop is slower than that, the queue ends with the error that
 * overflow makes. Leaving the loop ends the queue, not the connection.
 */
export class EventQueue<T> implements AsyncIterableIterator<T, undefined> {
  private readonly events: T[] = [];
  private waiting: { resolve(r: IteratorResult<T, undefined>): void; reject(e: ActorError): void }[] = [];
  private ended = false;
  private error: ActorError | undefined;

  constructor(
    private readonly limit: number,
    private readonly overflow: () => ActorError,
    private readonly onReturn: (queue: EventQueue<T>) => void,
  ) {}

  push(event: T): void {
    if (this.ended) {
      return;
    }
    const reader = this.waiting.shift();
    if (reader !== undefined) {
      reader.resolve({ done: false, value: event });
    } else if (this.events.length < this.limit) {
      this.events.push(event);
    } else {
      this.end(this.overflow());
      this.onReturn(this);
    }
  }

  /** Ends the queue: what it holds can still be read, then comes the error, if any. */
  end(error?: ActorError): void {
    if (this.ended) {
      return;
    }
    this.ended = true;
    const readers = this.waiting;
    this.waiting = [];
    for (const reader of readers) {
      if (error !== undefined) {
        reader.reject(error);
        error = undefined;
      } else {
        reader.resolve({ done: true, value: undefined });
      }
    }
    this.error = error;
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    const event = this.events.shift();
    if (event !== undefined) {
      return { done: false, value: event };
    }
    if (this.ended) {
      const { error } = this;
      this.error = undefined;
      if (error !== undefined) {
        throw error;
      }
      return { done: true, value: undefined };
    }
    return await new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
  }

  async return(): Promise<IteratorResult<T, undefined>> {
    this.events.length = 0;
    this.end();
    this.error = undefined;
    this.onReturn(this);
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
