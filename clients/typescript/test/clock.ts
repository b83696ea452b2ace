// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { setImmediate } from "node:timers/promises";
import type { Clock } from "../src/backoff.js";

interface Timer {
  at: number;
  run: () => void;
}

/** A clock that stands still until a test moves it. */
export class FakeClock implements Clock {
  private time = 0;
  private timers = new Set<Timer>();
  /** What random answers. */
  chance = 0.999;

  now(): number {
    return this.time;
  }

  setTimeout(run: () => void, ms: number): Timer {
    const timer = { at: this.time + ms, run };
    this.timers.add(timer);
    return timer;
  }

  clearTimeout(timer: unknown): void {
    this.timers.delete(timer as Timer);
  }

  random(): number {
    return this.chance;
  }

  get pending(): number {
    return this.timers.size;
  }

  /** Moves the clock, running what becomes due in order of time. */
  async advance(ms: number): Promise<void> {
    const end = this.time + ms;
    await settle();
    for (;;) {
      const due = [...this.timers].filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) {
        break;
      }
      this.timers.delete(due);
      this.time = Math.max(this.time, due.at);
      due.run();
      await settle();
    }
    this.time = end;
  }
}

/** Lets everything that can happen without time happen. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 100; i++) {
    await setImmediate();
  }
}
