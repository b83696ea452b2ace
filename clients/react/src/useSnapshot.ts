// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

"use client";

import type { DescService } from "@bufbuild/protobuf";
import { useCallback, useSyncExternalStore } from "react";
import type { Actor, UnaryName } from "./actor.js";
import type { Reply, Request, SnapshotDefinition, SnapshotStart } from "./define.js";
import { entryOf } from "./entry.js";
import { useActorCache } from "./provider.js";
import type { Snapshot, SnapshotStore } from "./store.js";

/** How a component uses a snapshot. */
export interface UseSnapshotOptions<D> {
  /** What a server has read, by readSnapshot: it is shown at once and followed from there. */
  start?: SnapshotStart<D> | undefined;
}

const nothing = () => {};

/**
 * A state as a method reads it, kept up to date by the actor's events. It follows
 * the events from exactly where the state was read: none is missed, none comes
 * twice. When events are missed for good, it is read anew.
 */
export function useSnapshot<S extends DescService, M extends UnaryName<S>>(
  actor: Actor<S>,
  definition: SnapshotDefinition<S, M>,
  request: Request<S, M>,
  options: UseSnapshotOptions<Reply<S, M>> = {},
): Snapshot<Reply<S, M>> {
  const { store, enabled } = useStore(actor, definition, request, options);
  return useFollowed(store, enabled, store.initial);
}

/**
 * As {@link useSnapshot}, for a component under a Suspense boundary: it waits
 * there until there is a state, and what the read fails with is thrown to the
 * nearest error boundary.
 */
export function useSuspenseSnapshot<S extends DescService, M extends UnaryName<S>>(
  actor: Actor<S>,
  definition: SnapshotDefinition<S, M>,
  request: Request<S, M>,
  options: UseSnapshotOptions<Reply<S, M>> = {},
): Snapshot<Reply<S, M>> & { readonly data: Reply<S, M> } {
  const { store, enabled } = useStore(actor, definition, request, options);
  const waiting = store.preload();
  if (waiting !== undefined) {
    throw waiting;
  }
  const snapshot = useFollowed(store, enabled, store.current);
  if (snapshot.data === undefined) {
    throw snapshot.error ?? store.preload();
  }
  return snapshot as Snapshot<Reply<S, M>> & { readonly data: Reply<S, M> };
}

function useStore<S extends DescService, M extends UnaryName<S>>(
  actor: Actor<S>,
  definition: SnapshotDefinition<S, M>,
  request: Request<S, M>,
  { start }: UseSnapshotOptions<Reply<S, M>>,
): { store: SnapshotStore<S, M>; enabled: boolean } {
  const { entry, enabled } = entryOf(actor);
  const store = useActorCache().store(entry, definition, request);
  if (start !== undefined) {
    store.seed(start);
  }
  return { store, enabled };
}

function useFollowed<S extends DescService, M extends UnaryName<S>>(
  store: SnapshotStore<S, M>,
  enabled: boolean,
  onServer: () => Snapshot<Reply<S, M>>,
): Snapshot<Reply<S, M>> {
  const subscribe = useCallback(
    (listener: () => void) => (enabled ? store.subscribe(listener) : nothing),
    [store, enabled],
  );
  return useSyncExternalStore(subscribe, store.current, onServer);
}
