// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

"use client";

import type { ActorClient } from "@troupe/client";
import { createContext, createElement, type ReactNode, useContext } from "react";
import { type ActorCache, cacheOf } from "./cache.js";

/** The properties of an {@link ActorProvider}. */
export interface ActorProviderProps {
  /** Where the actors are. On a server, make one for each request. */
  client: ActorClient;
  /** How long a connection that no component uses any more is kept, in milliseconds. Default 1000. */
  releaseAfterMs?: number;
  children?: ReactNode;
}

const ClientContext = createContext<ActorClient | undefined>(undefined);

/** Gives the components below it their actors. */
export function ActorProvider({ client, releaseAfterMs, children }: ActorProviderProps) {
  if (releaseAfterMs !== undefined) {
    cacheOf(client).releaseAfterMs = releaseAfterMs;
  }
  return createElement(ClientContext.Provider, { value: client }, children);
}

/** The client of the nearest {@link ActorProvider}. */
export function useActorClient(): ActorClient {
  const client = useContext(ClientContext);
  if (client === undefined) {
    throw new Error("there is no ActorProvider above this component");
  }
  return client;
}

/** What is shared under the nearest provider. */
export function useActorCache(): ActorCache {
  return cacheOf(useActorClient());
}
