// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

/** Ends what the call that returned it began. */
export type Unsubscribe = () => void;

/** Adds a listener; the function returned takes it away again. */
export function subscribe<T>(listeners: Set<T>, listener: T): Unsubscribe {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

/**
 * Calls every listener, but for those that one before has taken off, until what is
 * told is old.
 */
export function emit<T>(listeners: ReadonlySet<(value: T) => void>, value: T, isOld = () => false): void {
  for (const listener of [...listeners]) {
    if (listeners.has(listener) && !isOld()) {
      guarded(() => listener(value));
    }
  }
}

/** Runs a listener; what it throws reaches the platform's handler of uncaught errors. */
export function guarded(run: () => void): void {
  try {
    run();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
