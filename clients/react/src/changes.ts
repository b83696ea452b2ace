// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

/** How many places of the stream are remembered, and how long a change waits for its own. */
const [recentPlaces, lingerMs] = [64, 1000];

type Change<D> = (state: D) => D;

/** Changes of a state that are shown before they are made, and until their events are here. */
export class Changes<D> {
  private readonly shown = new Set<Change<D>>();
  /** Those that are made and whose events are not here yet, with their cursors. */
  private readonly lingering = new Map<Change<D>, string>();
  /** Where the events stood lately. */
  private readonly recent: string[] = [];

  add(change: Change<D>): void {
    this.shown.add(change);
  }

  /** Returns whether it was shown. */
  remove(change: Change<D>): boolean {
    this.lingering.delete(change);
    return this.shown.delete(change);
  }

  /** Keeps a change that is made until the events are at cursor; false if it need not be. */
  keepUntil(cursor: string, change: Change<D>, over: () => void): boolean {
    if (this.recent.includes(cursor) || !this.shown.has(change)) {
      return false;
    }
    this.lingering.set(change, cursor);
    setTimeout(over, lingerMs);
    return true;
  }

  /** The events are at cursor. */
  reached(cursor: string): void {
    this.recent.push(cursor);
    this.recent.splice(0, this.recent.length - recentPlaces);
    for (const [change, made] of this.lingering) {
      if (made === cursor) {
        this.remove(change);
      }
    }
  }

  /** The state as it is shown. */
  applyTo(state: D | undefined): D | undefined {
    let shown = state;
    for (const change of this.shown) {
      shown = shown === undefined ? undefined : change(shown);
    }
    return shown;
  }

  clear(): void {
    this.shown.clear();
    this.lingering.clear();
  }
}
