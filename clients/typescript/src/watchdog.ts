// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import type { Clock } from "./backoff.js";

/** A stream is cut after this many heartbeat intervals of silence. */
export const missedHeartbeats = 2.5;

/** Calls bark after a silence. Frames only note the time, so that each stays cheap. */
export class Watchdog {
  private limitMs = 0;
  private last = 0;
  private timer: unknown;

  constructor(
    private readonly clock: Clock,
    private readonly bark: (silentMs: number) => void,
  ) {}

  /** Barks after limitMs of silence from now on; 0: never. */
  expect(limitMs: number): void {
    this.stop();
    this.limitMs = limitMs;
    this.last = this.clock.now();
    if (limitMs > 0) {
      this.timer = this.clock.setTimeout(() => this.check(), limitMs);
    }
  }

  /** Notes that something came. */
  fed(): void {
    this.last = this.clock.now();
  }

  stop(): void {
    this.clock.clearTimeout(this.timer);
    this.timer = undefined;
  }

  private check(): void {
    const silent = this.clock.now() - this.last;
    if (silent >= this.limitMs) {
      this.bark(silent);
    } else {
      this.timer = this.clock.setTimeout(() => this.check(), this.limitMs - silent);
    }
  }
}
