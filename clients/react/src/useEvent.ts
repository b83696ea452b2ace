// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

"use client";

import type { DescService } from "@bufbuild/protobuf";
import type { ActorEvents, EventInfo } from "@troupe/client";
import { useEffect, useInsertionEffect, useRef } from "react";
import type { Actor } from "./actor.js";
import { entryOf } from "./entry.js";

/**
 * Calls listener for every event of this name while the component is mounted,
 * always the listener of the newest render. After a reconnect it gets the durable
 * events that were missed, if the actor still has them.
 */
export function useEvent<S extends DescService, C extends keyof ActorEvents<S> & string>(
  actor: Actor<S>,
  event: C,
  listener: (value: ActorEvents<S>[C], info: EventInfo) => void,
): void {
  const { entry, enabled } = entryOf(actor);
  const newest = useRef(listener);
  useInsertionEffect(() => {
    newest.current = listener;
  });
  useEffect(() => {
    if (!enabled) {
      return undefined;
    }
    return entry.listen(event, (value: ActorEvents<S>[C], info) => newest.current(value, info));
  }, [entry, enabled, event]);
}
