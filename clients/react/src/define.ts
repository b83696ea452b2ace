// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import {
  create,
  type DescMethod,
  type DescService,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { base64Encode } from "@bufbuild/protobuf/wire";
import type { CallOptions } from "@connectrpc/connect";
import { ActorError, type ActorEvents, type ActorHandle, Code, type EventInfo, header } from "@troupe/client";
import type { UnaryName } from "./actor.js";

/** The reply of a method. */
export type Reply<S extends DescService, M extends UnaryName<S>> = MessageShape<S["method"][M]["output"]>;

/** The request of a method, as it is written down. */
export type Request<S extends DescService, M extends UnaryName<S>> = MessageInitShape<S["method"][M]["input"]>;

/**
 * What an event does to what was read before: a function that returns the new
 * state and leaves the old one as it is, or "reread" for what is easier read than
 * worked out.
 */
export type Reducer<D, E> = ((state: D, event: E, info: EventInfo) => D) | "reread";

/** The events that a snapshot follows. */
export type Reducers<S extends DescService, D> = {
  readonly [C in keyof ActorEvents<S>]?: Reducer<D, ActorEvents<S>[C]>;
};

/** How a snapshot behaves. */
export interface SnapshotOptions {
  /**
   * Reads anew whenever the connection was lost, even though no event is missing:
   * for what hangs on the connections themselves, such as presence.
   */
  rereadOnReconnect?: boolean;
}

/** A reading method and the events that change what it returns. */
export interface SnapshotDefinition<S extends DescService, M extends UnaryName<S>> {
  readonly service: S;
  readonly method: M;
  readonly events: Reducers<S, Reply<S, M>>;
  readonly options: SnapshotOptions;
}

/** What was read, and where to follow from. */
export interface SnapshotStart<D> {
  readonly reply: D;
  /** The actor-cursor header of the reply. */
  readonly cursor: string;
}

/**
 * Says which method reads a state and what each event does to it. Write it once,
 * outside components: components that use the same definition and request share
 * what is read.
 */
export function defineSnapshot<S extends DescService, M extends UnaryName<S>>(
  service: S,
  method: M,
  events: Reducers<S, Reply<S, M>>,
  options: SnapshotOptions = {},
): SnapshotDefinition<S, M> {
  return { service, method, events, options };
}

/** Reads what a snapshot begins with: on a server, to hand it to the page as its start. */
export async function readSnapshot<S extends DescService, M extends UnaryName<S>>(
  handle: ActorHandle<S>,
  definition: SnapshotDefinition<S, M>,
  request: Request<S, M>,
  options: CallOptions = {},
): Promise<SnapshotStart<Reply<S, M>>> {
  return await readFrom(handle.rpc, definition, request, options);
}

/** Calls a reading method among actions. */
export async function readFrom<S extends DescService, M extends UnaryName<S>>(
  actions: object,
  { service, method }: SnapshotDefinition<S, M>,
  request: Request<S, M>,
  options: CallOptions = {},
): Promise<SnapshotStart<Reply<S, M>>> {
  let cursor = "";
  const reply = await actionOf<S, M>(actions, method)(request, {
    ...options,
    onHeader(headers) {
      cursor = headers.get(header.cursor) ?? "";
      options.onHeader?.(headers);
    },
  });
  if (cursor === "") {
    const message = `the reply of ${service.typeName}/${method} has no ${header.cursor} header: does a proxy take it away?`;
    throw new ActorError(message, Code.Internal, { reason: "no_cursor", domain: "troupe.client" });
  }
  return { reply, cursor };
}

/** One action of an actor, by its name. */
export function actionOf<S extends DescService, M extends UnaryName<S>>(
  actions: object,
  method: M,
): (request: Request<S, M>, options?: CallOptions) => Promise<Reply<S, M>> {
  type Call = (request: Request<S, M>, options?: CallOptions) => Promise<Reply<S, M>>;
  return (actions as Record<M, Call>)[method];
}

/** A message as text: equal for equal messages. */
export function textOf(desc: DescMethod["input"], message: MessageInitShape<DescMethod["input"]>): string {
  return base64Encode(toBinary(desc, create(desc, message)));
}

/** The request message of a method. */
export function inputOf(service: DescService, method: string): DescMethod["input"] {
  const desc = service.method[method];
  if (desc === undefined) {
    throw new TypeError(`${service.typeName} has no method "${method}"`);
  }
  return desc.input;
}
