// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import type { DescService } from "@bufbuild/protobuf";
import { type ActorClient, encodeKey, findSubscription } from "@troupe/client";
import type { ActorAddress, ActorOptions, UnaryName } from "./actor.js";
import { inputOf, type Request, type SnapshotDefinition, textOf } from "./define.js";
import { ActorEntry } from "./entry.js";
import { SnapshotStore } from "./store.js";

/** What nobody uses is forgotten after so long, when something else is asked for. */
const keepMs = 60_000;

interface Kept {
  readonly active: boolean;
  lastUsed: number;
}

/** What the components under the providers of one client share. */
export class ActorCache {
  /** How long a connection that nobody uses is kept, in milliseconds. */
  releaseAfterMs = 1000;
  private readonly entries = new Map<string, ActorEntry<DescService>>();
  private readonly stores = new Map<string, SnapshotStore<DescService, never>>();

  constructor(private readonly client: ActorClient) {}

  /** What tells apart the actors that components use. It throws for what cannot be. */
  static idOf<S extends DescService>(service: S, address: ActorAddress, options: ActorOptions<S>): string {
    const whom =
      typeof address === "object" && "id" in address
        ? `id ${address.id}`
        : `${options.create === false ? "get" : "key"} ${encodeKey(address)}`;
    const { params, connectionKey = "" } = options;
    const method = findSubscription(service)?.method;
    const who =
      typeof params === "function" || params === undefined || method === undefined
        ? typeof params
        : textOf(method.input, params);
    return JSON.stringify([service.typeName, whom, who, connectionKey]);
  }

  entry<S extends DescService>(id: string, service: S, address: ActorAddress, options: ActorOptions<S>): ActorEntry<S> {
    return find(this.entries, id, () => {
      const connects = findSubscription(service) !== undefined;
      return new ActorEntry(this.client, service, address, { ...options }, connects, () => this.releaseAfterMs);
    });
  }

  store<S extends DescService, M extends UnaryName<S>>(
    entry: ActorEntry<S>,
    definition: SnapshotDefinition<S, M>,
    request: Request<S, M>,
  ): SnapshotStore<S, M> {
    const id = `${numberOf(entry)} ${numberOf(definition)} ${textOf(inputOf(definition.service, definition.method), request)}`;
    return find(this.stores, id, () => new SnapshotStore(entry, definition, request, () => this.releaseAfterMs));
  }
}

/** The value of a key, made if it is absent. Making one is the time to forget what nobody uses. */
function find<V extends Kept>(kept: object, key: string, make: () => V): V {
  const values = kept as Map<string, V>; // what is under a key is of the type that its id says
  const now = Date.now();
  let value = values.get(key);
  if (value === undefined) {
    for (const [other, { active, lastUsed }] of values) {
      if (!active && now - lastUsed > keepMs) {
        values.delete(other);
      }
    }
    value = make();
    values.set(key, value);
  }
  value.lastUsed = now;
  return value;
}

const numbers = new WeakMap<object, number>();
let count = 0;

/** A number for an object: the same one each time. */
function numberOf(object: object): number {
  let number = numbers.get(object);
  if (number === undefined) {
    number = ++count;
    numbers.set(object, number);
  }
  return number;
}

const caches = new WeakMap<ActorClient, ActorCache>();

/** The cache of a client. */
export function cacheOf(client: ActorClient): ActorCache {
  let cache = caches.get(client);
  if (cache === undefined) {
    cache = new ActorCache(client);
    caches.set(client, cache);
  }
  return cache;
}
