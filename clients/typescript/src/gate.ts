// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { Code } from "@connectrpc/connect";
import type { Clock } from "./backoff.js";
import { type ActorError, canceledError, clientError } from "./errors.js";

interface Waiter<T> {
  resolve(value: T): void;
  reject(error: ActorError): void;
}

/** A value that comes and goes, and those who wait for it. */
export class Gate<T extends object> {
  private current: T | undefined;
  private closedBy: ActorError | undefined;
  private readonly waiters = new Set<Waiter<T>>();

  constructor(private readonly clock: Clock) {}

  get value(): T | undefined {
    return this.current;
  }

  /** The value is there. */
  open(value: T): void {
    this.current = value;
    for (const waiter of [...this.waiters]) {
      waiter.resolve(value);
    }
  }

  /** The value is gone; another may come. */
  shut(): void {
    this.current = undefined;
  }

  /** The value is gone for good: whoever waits for it fails. */
  close(error: ActorError): void {
    this.current = undefined;
    this.closedBy = error;
    for (const waiter of [...this.waiters]) {
      waiter.reject(error);
    }
  }

  /** Resolves as soon as there is a value. */
  async wait(signal: AbortSignal | undefined, timeoutMs: number | undefined): Promise<T> {
    if (signal?.aborted) {
      throw canceledError(signal);
    }
    if (this.closedBy !== undefined) {
      throw this.closedBy;
    }
    if (this.current !== undefined) {
      return this.current;
    }
    let timer: unknown;
    let onAbort: (() => void) | undefined;
    let waiter: Waiter<T> | undefined;
    try {
      return await new Promise<T>((resolve, reject) => {
        waiter = { resolve, reject };
        this.waiters.add(waiter);
        if (signal !== undefined) {
          onAbort = () => reject(canceledError(signal));
          signal.addEventListener("abort", onAbort);
        }
        if (timeoutMs !== undefined && timeoutMs > 0) {
          const late = clientError("no connection in time", Code.DeadlineExceeded, "not_connected");
          timer = this.clock.setTimeout(() => reject(late), timeoutMs);
        }
      });
    } finally {
      this.clock.clearTimeout(timer);
      if (onAbort !== undefined) {
        signal?.removeEventListener("abort", onAbort);
      }
      if (waiter !== undefined) {
        this.waiters.delete(waiter);
      }
    }
  }
}
