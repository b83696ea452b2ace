// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { create, type DescService, type Message } from "@bufbuild/protobuf";
import { base64Encode } from "@bufbuild/protobuf/wire";
import { AnySchema } from "@bufbuild/protobuf/wkt";
import type { CallOptions, Client, Transport } from "@connectrpc/connect";
import type { ActorService } from "../../../gen/ts/troupe/v1/actor_service_pb.js";
import { createActions } from "./actions.js";
import type { Clock } from "./backoff.js";
import { ActorConnection } from "./connection.js";
import { encodeKey } from "./key.js";
import type { ConnectOptions, ConnectParamsSource } from "./options.js";
import type { RetryPolicy } from "./retry.js";
import { type Binding, bindTransport } from "./transport.js";
import type { Actions, ConnectParams, SubscriptionName } from "./types.js";
import { encodeInput, encodeParams, header, maxBinaryHeaderBytes } from "./wire.js";

/** Whom a handle addresses: a key, or one incarnation by its id. */
export type Address =
  | { readonly key: readonly string[]; readonly resolve: "get-or-create" | "get" }
  | { readonly id: string };

/** What a handle may add to its calls. */
export interface HandleOptions<S extends DescService = DescService> {
  /** Given to the actor if a call creates it: a message of the type that the service names as its input. */
  input?: Message;
  /** Connection parameters for calls made outside a connection: at most 4 KiB encoded. */
  params?: ConnectParams<S>;
}

/** What every handle has beside the actor's own methods. */
export interface HandleBase<S extends DescService> {
  /** The actor type. */
  readonly service: S;
  /** Every action by its own name, even one that a property of the handle hides. */
  readonly rpc: Actions<S>;
  /** A Connect transport bound to the actor, for any stock client. */
  readonly transport: Transport;
  /** The id of the actor's present incarnation; not_found if there is none. */
  resolve(options?: CallOptions): Promise<string>;
}

/** What a handle of an actor type with a subscription can do. */
export interface Connectable<S extends DescService> {
  /**
   * Opens a connection: it follows the actor's events and reconnects by itself
   * until it is disposed of. Parameters may be a function; it is called for
   * every attempt.
   */
  connect(params?: ConnectParamsSource<S>, options?: ConnectOptions): ActorConnection<S>;
}

/** One actor. Its methods are the actor's actions; a handle holds nothing open and needs no closing. */
export type ActorHandle<S extends DescService> = HandleBase<S> &
  ([SubscriptionName<S>] extends [never] ? unknown : Connectable<S>) &
  Omit<Actions<S>, keyof HandleBase<S> | keyof Connectable<S> | "then">;

/** What the handles of one client share. */
export interface Context {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly retry: RetryPolicy;
  readonly namespace: string;
  readonly idempotencyKeys: boolean;
  readonly lifecycle: Client<typeof ActorService>;
  /** The user's own headers. */
  headers(signal: AbortSignal | undefined): Promise<Headers>;
}

/** Makes a handle. Throws TypeError or RangeError for an address that cannot be. */
export function createHandle<S extends DescService>(
  context: Context,
  service: S,
  address: Address,
  options: HandleOptions<S>,
): ActorHandle<S> {
  const headers = addressHeaders(context, service, address, options);
  const binding: Binding = { ...context, headers };
  const outside =
    options.params === undefined ? undefined : encodeParams(service, options.params as ConnectParams<DescService>);
  const transport = bindTransport({
    ...binding,
    headers: async (signal) => withHeader(await headers(signal), header.params, outside),
  });
  const base: HandleBase<S> & Connectable<S> = {
    service,
    transport,
    rpc: createActions(service, transport),
    async resolve(callOptions) {
      if ("id" in address) {
        return address.id;
      }
      const wireAddress = { namespace: context.namespace, type: service.typeName, key: [...address.key] };
      return (await context.lifecycle.resolve({ address: wireAddress }, callOptions)).id;
    },
    connect(params, connectOptions) {
      return new ActorConnection<S>(binding, context.clock, service, params, connectOptions);
    },
  };
  // An RPC named "then" would make the handle look like a promise.
  const { then: _, ...actions } = base.rpc as Record<string, unknown>;
  return { ...actions, ...base } as unknown as ActorHandle<S>;
}

function addressHeaders<S extends DescService>(
  context: Context,
  service: S,
  address: Address,
  options: HandleOptions<S>,
): Binding["headers"] {
  const fixed = new Headers({ [header.namespace]: context.namespace });
  if ("id" in address) {
    fixed.set(header.id, address.id);
  } else {
    const key = encodeKey(address.key);
    if (key !== "") {
      fixed.set(header.key, key);
    }
    fixed.set(header.resolve, address.resolve);
  }
  // An input too large for a header goes ahead through the lifecycle API, once.
  let createFirst: (() => Promise<unknown>) | undefined;
  let created: Promise<unknown> | undefined;
  if (options.input !== undefined && "key" in address) {
    const input = encodeInput(service, options.input);
    if (input.bytes.length <= maxBinaryHeaderBytes) {
      fixed.set(header.input, base64Encode(input.bytes, "std_raw"));
    } else {
      const request = {
        address: { namespace: context.namespace, type: service.typeName, key: [...address.key] },
        input: packInput(input),
      };
      createFirst = () => context.lifecycle.getOrCreate(request);
    }
  }
  return async (signal) => {
    if (createFirst !== undefined) {
      created ??= createFirst().catch((error: unknown) => {
        created = undefined;
        throw error;
      });
      await created;
    }
    const headers = await context.headers(signal);
    fixed.forEach((value, name) => {
      headers.set(name, value);
    });
    return headers;
  };
}

/** An input as the lifecycle API takes it. */
export function packInput(input: { typeName: string; bytes: Uint8Array }) {
  return create(AnySchema, { typeUrl: `type.googleapis.com/${input.typeName}`, value: input.bytes });
}

function withHeader(headers: Headers, name: string, value: string | undefined): Headers {
  if (value !== undefined) {
    headers.set(name, value);
  }
  return headers;
}
