// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

/** Time and chance. Tests bring their own. */
export interface Clock {
  /** Milliseconds; only differences count. */
  now(): number;
  setTimeout(run: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
  /** Evenly spread over [0, 1). */
  random(): number;
}

/** The clock of the platform. */
export const systemClock: Clock = {
  now: () => performance.now(),
  setTimeout: (run, ms) => globalThis.setTimeout(run, ms),
  clearTimeout: (timer) => globalThis.clearTimeout(timer as ReturnType<typeof globalThis.setTimeout>),
  random: () => Math.random(),
};

/** Resolves after ms, or at once when signal is aborted; it never rejects. */
export function sleep(clock: Clock, ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) {
      resolve();
      return;
    }
    const done = () => {
      clock.clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = clock.setTimeout(done, ms);
    signal?.addEventListener("abort", done, { once: true });
  });
}

/**
 * Exponential back-off with full jitter: attempt n waits between 0 and
 * min(max, base·2ⁿ).
 */
export class Backoff {
  private attempt = 0;

  constructor(
    private readonly clock: Clock,
    private readonly baseMs: number,
    private readonly maxMs: number,
  ) {}

  /** How long to wait before the next attempt, in milliseconds. */
  next(): number {
    const ceiling = Math.min(this.maxMs, this.baseMs * 2 ** this.attempt);
    if (ceiling < this.maxMs) {
      this.attempt++;
    }
    return this.clock.random() * ceiling;
  }

  /** Starts over. */
  reset(): void {
    this.attempt = 0;
  }
}
