// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { create, type DescMessage, type DescService, type Message, type MutableRegistry } from "@bufbuild/protobuf";
import { base64Encode } from "@bufbuild/protobuf/wire";
import { AnySchema } from "@bufbuild/protobuf/wkt";
import type { CallOptions, Client, Transport } from "@connectrpc/connect";
import type { ActorService } from "../../../gen/ts/troupe/v1/actor_service_pb.js";
import { Subscription_Resolve as Resolve } from "../../../gen/ts/troupe/v1/watch_pb.js";
import { createActions } from "./actions.js";
import type { Clock } from "./backoff.js";
import type { Carriers, Request } from "./carrier.js";
import { ActorConnection } from "./connection.js";
import { encodeKey } from "./key.js";
import type { ConnectOptions, ConnectParamsSource } from "./options.js";
import { actorUrl, type RawOptions, rawFetch, rawWebSocket } from "./raw.js";
import type { RetryPolicy } from "./retry.js";
import { ownStreams } from "./source.js";
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
  /**
   * The URL of the actor's own HTTP handler: for tags, links and other programs.
   * path begins with a slash and may have a query. The handle's parameters become
   * part of the URL: whoever sees it sees them. Throws a TypeError for a handle by
   * id, and for a client without a baseUrl.
   */
  url(path: string): string;
  /**
   * Sends a plain HTTP request to the actor's own handler, once, with the client's
   * headers. Whatever it answers is the result; ActorError says that nothing came.
   */
  fetch(path: string, init?: RequestInit): Promise<Response>;
  /** Opens a WebSocket to the actor's own handler. It has no headers: see the handle's parameters. */
  webSocket(path: string, protocols?: string | string[]): WebSocket;
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
  /** What connections share; undefined: each has a stream of its own. */
  readonly carriers: Carriers | undefined;
  /** The types of inputs that went through the lifecycle API. */
  readonly inputs: MutableRegistry;
  readonly baseUrl: string | undefined;
  readonly fetch: typeof globalThis.fetch | undefined;
  readonly webSocket: typeof globalThis.WebSocket | undefined;
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
  const creation = planCreation(context, service, address, options.input);
  const headers = addressHeaders(context, address, creation);
  const binding: Binding = { ...context, headers };
  const params =
    options.params === undefined ? undefined : encodeParams(service, options.params as ConnectParams<DescService>);
  const outside = params && base64Encode(params, "std_raw");
  const transport = bindTransport({
    ...binding,
    headers: async (signal) => withHeader(await headers(signal), header.params, outside),
  });
  const source =
    context.carriers?.source(async () => {
      await creation?.ahead?.();
      return sharedAddress(context, service, address, creation);
    }) ?? ownStreams(binding);
  const raw: RawOptions = {
    ...context,
    type: service.typeName,
    key: "key" in address ? address.key : undefined,
    resolve: "key" in address ? address.resolve : undefined,
    params,
  };
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
      return new ActorConnection<S>(binding, source, context.clock, service, params, connectOptions);
    },
    url: (path) => actorUrl(raw, path),
    fetch: (path, init) => rawFetch(raw, path, init),
    webSocket: (path, protocols) => rawWebSocket(raw, path, protocols),
  };
  // An RPC named "then" would make the handle look like a promise.
  const { then: _, ...actions } = base.rpc as Record<string, unknown>;
  return { ...actions, ...base } as unknown as ActorHandle<S>;
}

/** How the input of a creation gets to the actor. */
interface Creation {
  /** The encoded input, if it fits into a header. */
  readonly input?: Uint8Array;
  /** Creates the actor, once, with an input that is too large for one. */
  readonly ahead?: () => Promise<unknown>;
}

function planCreation(
  context: Context,
  service: DescService,
  address: Address,
  message: Message | undefined,
): Creation | undefined {
  if (message === undefined || "id" in address) {
    return undefined;
  }
  const input = encodeInput(service, message);
  if (input.bytes.length <= maxBinaryHeaderBytes) {
    return { input: input.bytes };
  }
  const request = {
    address: { namespace: context.namespace, type: service.typeName, key: [...address.key] },
    input: packInput(context.inputs, input),
  };
  let created: Promise<unknown> | undefined;
  return {
    ahead: () => {
      created ??= context.lifecycle.getOrCreate(request).catch((error: unknown) => {
        created = undefined;
        throw error;
      });
      return created;
    },
  };
}

function addressHeaders(context: Context, address: Address, creation: Creation | undefined): Binding["headers"] {
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
  if (creation?.input !== undefined) {
    fixed.set(header.input, base64Encode(creation.input, "std_raw"));
  }
  return async (signal) => {
    await creation?.ahead?.();
    const headers = await context.headers(signal);
    fixed.forEach((value, name) => {
      headers.set(name, value);
    });
    return headers;
  };
}

/** The same address, as a shared stream has it. */
function sharedAddress(
  context: Context,
  service: DescService,
  address: Address,
  creation: Creation | undefined,
): Request {
  const common = { namespace: context.namespace, type: service.typeName };
  if ("id" in address) {
    return { ...common, id: address.id };
  }
  return {
    ...common,
    key: [...address.key],
    resolve: address.resolve === "get" ? Resolve.GET : Resolve.GET_OR_CREATE,
    ...(creation?.input ? { input: { encoding: { case: "binary", value: creation.input } } } : {}),
  };
}

/** An input as the lifecycle API takes it. The registry learns its type, which JSON asks for. */
export function packInput(registry: MutableRegistry, { desc, bytes }: { desc: DescMessage; bytes: Uint8Array }) {
  registry.add(desc);
  return create(AnySchema, { typeUrl: `type.googleapis.com/${desc.typeName}`, value: bytes });
}

function withHeader(headers: Headers, name: string, value: string | undefined): Headers {
  if (value !== undefined) {
    headers.set(name, value);
  }
  return headers;
}
