// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

"use client";

import type { DescService } from "@bufbuild/protobuf";
import { useCallback, useInsertionEffect, useMemo, useSyncExternalStore } from "react";
import type { Actor, ActorAddress, ActorOptions } from "./actor.js";
import { ActorCache } from "./cache.js";
import { useActorCache } from "./provider.js";

const nothing = () => {};

/**
 * An actor, connected while a component that uses it is mounted, and a moment
 * longer. All components that name the same actor with equal parameters share one
 * connection. Rendering opens nothing, on a server or anywhere else.
 */
export function useActor<S extends DescService>(
  service: S,
  address: ActorAddress,
  options: ActorOptions<S> = {},
): Actor<S> {
  const cache = useActorCache();
  const enabled = options.enabled ?? true;
  const id = ActorCache.idOf(service, address, options);
  // An entry is found by its id, which says all that makes it what it is.
  // biome-ignore lint/correctness/useExhaustiveDependencies: address and options are in the id
  const entry = useMemo(() => cache.entry(id, service, address, options), [cache, service, id, enabled]);
  useInsertionEffect(() => entry.renew(options));
  const subscribe = useCallback(
    (listener: () => void) => (enabled ? entry.subscribe(listener) : nothing),
    [entry, enabled],
  );
  return useSyncExternalStore(
    subscribe,
    enabled ? entry.current : () => entry.idle,
    enabled ? () => entry.initial : () => entry.idle,
  );
}
