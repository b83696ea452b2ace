// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

/**
 * Counts who uses something. It begins with the first lease and ends some time
 * after the last one was given back, so that a component that comes back at once,
 * as React's strict mode has it, finds everything as it was.
 */
export class Leases {
  private count = 0;
  private held = false;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly delayMs: () => number,
    private readonly begin: () => void,
    private readonly end: () => void,
  ) {}

  /** Whether there is a lease, or was one a moment ago. */
  get active(): boolean {
    return this.held;
  }

  /** Takes a lease. The function returned gives it back; with now, the end is not put off. */
  take(): (now?: boolean) => void {
    clearTimeout(this.timer);
    this.count++;
    if (!this.held) {
      this.held = true;
      this.begin();
    }
    let mine = true;
    return (now = false) => {
      if (!mine) {
        return;
      }
      mine = false;
      if (--this.count > 0) {
        return;
      }
      if (now) {
        this.finish();
      } else {
        this.timer = setTimeout(() => this.finish(), this.delayMs());
      }
    };
  }

  private finish(): void {
    this.held = false;
    this.end();
  }
}
