// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import type { DescMethodUnary, DescService, Message } from "@bufbuild/protobuf";
import type {
  ActorConnection,
  ActorError,
  ActorHandle,
  ConnectionStatus,
  ConnectParamsSource,
  Key,
} from "@troupe/client";

/** Which actor: its key, or the id of one incarnation. */
export type ActorAddress = Key | { readonly id: string };

/** How a component uses an actor. */
export interface ActorOptions<S extends DescService> {
  /**
   * The connection's parameters: a message, or a function that makes one for
   * every attempt to connect, such as one with a fresh token. Components whose
   * parameters are equal share one connection; functions count as equal, and the
   * newest one is asked.
   */
  params?: ConnectParamsSource<S>;
  /** Sets apart a connection that would be shared otherwise. */
  connectionKey?: string;
  /** Given to the actor if this creates it: a message of the type that the service names as its input. */
  input?: Message;
  /** Whether an absent actor is created. Default true; otherwise it is not_found. */
  create?: boolean;
  /** Whether to connect. Default true. */
  enabled?: boolean;
}

/** An actor as a component sees it. It is a new object whenever something about it changes. */
export interface Actor<S extends DescService> {
  /** For calls outside the connection, and everything else that a handle can do. */
  readonly handle: ActorHandle<S>;
  /** Where the connection stands; idle if there is to be none. */
  readonly status: ConnectionStatus | "idle";
  /** What went wrong last, until the connection is open again. */
  readonly error: ActorError | undefined;
  /** The connection itself. It is undefined in the first render, when idle, and on a server. */
  readonly connection: ActorConnection<S> | undefined;
  /** Tries to connect at once; a connection that is over is made anew. */
  readonly reconnect: () => void;
}

/** The names of a service's unary methods. */
export type UnaryName<S extends DescService> = {
  [K in keyof S["method"]]: S["method"][K] extends DescMethodUnary ? K : never;
}[keyof S["method"]] &
  string;
