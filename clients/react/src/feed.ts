// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import type { DescService } from "@bufbuild/protobuf";
import type { ActorConnection, ActorError, EventInfo } from "@troupe/client";

/** Where the events come from: the shared connection, or one of the follower's own. */
export interface Feed<S extends DescService> {
  readonly connection: ActorConnection<S>;
  readonly own: boolean;
  stop(): void;
}

/** What is told of a feed. */
export interface Told<S extends DescService> {
  seen(name: string, value: unknown, info: EventInfo): void;
  /** Own and shared are at the same place: the shared one will do from here. */
  met(own: ActorConnection<S>, shared: ActorConnection<S>): void;
  missed(): void;
  failed(error: ActorError): void;
}

/** Follows events by the shared connection. */
export function followShared<S extends DescService>(
  connection: ActorConnection<S>,
  names: readonly string[],
  told: Told<S>,
): Feed<S> {
  const offs = names.map((name) => on(connection, name, (value, info) => told.seen(name, value, info)));
  return { connection, own: false, stop: () => endAll(offs) };
}

/** Follows events by a connection of its own, which it disposes of. */
export function followApart<S extends DescService>(
  connection: ActorConnection<S>,
  shared: ActorConnection<S> | undefined,
  names: readonly string[],
  told: Told<S>,
): Feed<S> {
  const meet = (other: ActorConnection<S> | undefined, { cursor }: EventInfo) => {
    if (other?.position === cursor && shared !== undefined && shared.closed === undefined) {
      told.met(connection, shared);
    }
  };
  const offs = names.flatMap((name) => [
    on(connection, name, (value, info) => {
      told.seen(name, value, info);
      meet(shared, info);
    }),
    shared === undefined ? () => {} : on(shared, name, (_, info) => meet(connection, info)),
  ]);
  offs.push(
    connection.onGap(() => told.missed()),
    connection.onClose(({ error }) => {
      if (error !== undefined) {
        told.failed(error);
      }
    }),
  );
  return {
    connection,
    own: true,
    stop: () => {
      endAll(offs);
      connection.dispose();
    },
  };
}

function on<S extends DescService>(
  connection: ActorConnection<S>,
  event: string,
  listener: (value: unknown, info: EventInfo) => void,
): () => void {
  return connection.on(event as never, listener as never);
}

function endAll(offs: readonly (() => void)[]): void {
  for (const off of offs) {
    off();
  }
}
