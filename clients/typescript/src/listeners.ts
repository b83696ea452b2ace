// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

/** Ends what the call that returned it began. */
export type Unsubscribe = () => void;

/** Listeners, each as often as it was added. */
export type Listeners<L> = Set<{ readonly listener: L }>;

/** Adds a listener; the function returned takes it away again. */
export function subscribe<L>(listeners: Listeners<L>, listener: L): Unsubscribe {
  const added = { listener };
  listeners.add(added);
  return () => void listeners.delete(added);
}

/**
 * Calls every listener, but for those that one before has taken off, until what is
 * told is old.
 */
export function emit<T>(listeners: Listeners<(value: T) => void>, value: T, isOld = () => false): void {
  for (const added of [...listeners]) {
    if (listeners.has(added) && !isOld()) {
      guarded(() => added.listener(value));
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
