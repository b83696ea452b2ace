// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { createMutableRegistry, type DescService, type Message, type MutableRegistry } from "@bufbuild/protobuf";
import {
  type CallOptions,
  type Client,
  Code,
  createClient as createStockClient,
  type Transport,
} from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { ActorService } from "../../../gen/ts/troupe/v1/actor_service_pb.js";
import { type Clock, systemClock } from "./backoff.js";
import { Carriers } from "./carrier.js";
import { clientError } from "./errors.js";
import { type ActorHandle, type Address, type Context, createHandle, type HandleOptions, packInput } from "./handle.js";
import { encodeKey, keySegments } from "./key.js";
import { type RetryOptions, RetryPolicy } from "./retry.js";
import { type Binding, bindTransport } from "./transport.js";
import type { Key } from "./types.js";
import { checkNamespace, encodeInput } from "./wire.js";

/** Where the server is, and how to speak to it. */
export interface ClientOptions {
  /** The server's URL. Required unless a transport is given, and for the URLs of handles. */
  baseUrl?: string;
  /** Any Connect transport, instead of the one over baseUrl, fetch and json. */
  transport?: Transport;
  /** The tenant. Default "default". */
  namespace?: string;
  /** Sent with every call and connection; a function is asked anew for every attempt. */
  headers?: HeadersInit | (() => HeadersInit | Promise<HeadersInit>);
  /** Used instead of the global fetch. */
  fetch?: typeof globalThis.fetch;
  /** Speaks JSON instead of protobuf's binary encoding: easier to read in developer tools. Default false. */
  json?: boolean;
  /** How failed calls are repeated; false: never. */
  retry?: RetryOptions | false;
  /**
   * Gives every call of a method that may have effects an idempotency key, under
   * which the server runs it once, so that it is repeated even when its outcome
   * is unknown. Default true.
   */
  idempotencyKeys?: boolean;
  /**
   * Has all connections of this client share one stream, for each 64 of them. A
   * browser opens six connections to an origin over HTTP/1.1, and no more: without
   * it, a page's sixth connection to an actor would stop every call. Default: in
   * a browser, if baseUrl is http, because browsers speak HTTP/2 over TLS only.
   */
  sharedStream?: boolean;
  /** Used instead of the global WebSocket, which Node has from version 22. */
  webSocket?: typeof globalThis.WebSocket;
  /** @internal */
  clock?: Clock;
}

/** A server's actors. It holds nothing open and needs no closing. */
export interface ActorClient {
  /** The actor of a key; a call creates it if it is absent. */
  getOrCreate<S extends DescService>(service: S, key: Key, options?: HandleOptions<S>): ActorHandle<S>;
  /** The actor of a key; a call fails with not_found if it is absent. */
  get<S extends DescService>(service: S, key: Key, options?: Pick<HandleOptions<S>, "params">): ActorHandle<S>;
  /** Creates an actor now; already_exists if its key is taken. The handle is of this incarnation only. */
  create<S extends DescService>(
    service: S,
    key: Key,
    options?: HandleOptions<S> & { signal?: AbortSignal },
  ): Promise<ActorHandle<S>>;
  /** One incarnation of an actor. */
  forId<S extends DescService>(service: S, id: string, options?: Pick<HandleOptions<S>, "params">): ActorHandle<S>;
  /** The id of a key's present incarnation; not_found if there is none. */
  resolve(service: DescService, key: Key, options?: CallOptions): Promise<string>;
  /** The server's lifecycle API: create, describe, destroy and list actors of every type. */
  readonly lifecycle: Client<typeof ActorService>;
}

/** Makes a client. It sends nothing yet. */
export function createClient(options: ClientOptions): ActorClient {
  const clock = options.clock ?? systemClock;
  const namespace = options.namespace ?? "default";
  checkNamespace(namespace);
  const inputs = createMutableRegistry();
  const transport = options.transport ?? defaultTransport(options, inputs);
  const retry = new RetryPolicy(clock, options.retry ?? {});
  const shared = {
    transport,
    clock,
    retry,
    namespace,
    idempotencyKeys: options.idempotencyKeys ?? true,
    headers: () => userHeaders(options.headers),
  };
  const lifecycle = createStockClient(ActorService, bindTransport({ ...shared, idempotencyKeys: false }));
  const context: Context = {
    ...shared,
    lifecycle,
    carriers: (options.sharedStream ?? fewSockets(options.baseUrl)) ? carriers(shared, lifecycle) : undefined,
    inputs,
    baseUrl: options.baseUrl,
    fetch: options.fetch,
    webSocket: options.webSocket,
  };

  return {
    lifecycle,
    getOrCreate: (service, key, handleOptions = {}) =>
      createHandle(context, service, byKey(key, "get-or-create"), handleOptions),
    get: (service, key, handleOptions = {}) => createHandle(context, service, byKey(key, "get"), handleOptions),
    forId: (service, id, handleOptions = {}) => createHandle(context, service, byId(id), handleOptions),
    async create<S extends DescService>(
      service: S,
      key: Key,
      { input, signal, ...handleOptions }: HandleOptions<S> & { signal?: AbortSignal } = {},
    ) {
      const request = { address: wireAddress(namespace, service, key), input: optionalInput(inputs, service, input) };
      const { actor } = await lifecycle.create(request, signal ? { signal } : {});
      return createHandle<S>(context, service, byId(actor?.id ?? ""), handleOptions as HandleOptions<S>);
    },
    async resolve(service, key, callOptions) {
      return (await lifecycle.resolve({ address: wireAddress(namespace, service, key) }, callOptions)).id;
    },
  };
}

/** Whether this is a browser that speaks HTTP/1.1 to the server. */
function fewSockets(baseUrl: string | undefined): boolean {
  const page = globalThis.location?.href;
  return baseUrl !== undefined && page !== undefined && new URL(baseUrl, page).protocol === "http:";
}

function carriers(shared: Binding & { clock: Clock }, calls: Client<typeof ActorService>): Carriers {
  // Whoever wants a stream tries again itself.
  const once = { ...shared, idempotencyKeys: false, retry: new RetryPolicy(shared.clock, false) };
  return new Carriers(createStockClient(ActorService, bindTransport(once)), calls, shared.clock);
}

function defaultTransport(options: ClientOptions, registry: MutableRegistry): Transport {
  if (options.baseUrl === undefined) {
    throw new TypeError("createClient needs a baseUrl or a transport");
  }
  return createConnectTransport({
    baseUrl: options.baseUrl,
    useBinaryFormat: !options.json,
    jsonOptions: { registry },
    ...(options.fetch ? { fetch: options.fetch } : {}),
  });
}

async function userHeaders(source: ClientOptions["headers"]): Promise<Headers> {
  try {
    return new Headers(typeof source === "function" ? await source() : source);
  } catch (cause) {
    throw clientError(`the headers option failed: ${cause}`, Code.Unknown, "headers_failed", { cause });
  }
}

function byKey(key: Key, resolve: "get-or-create" | "get"): Address {
  return { key: [...keySegments(key)], resolve };
}

function byId(id: string): Address {
  if (id === "") {
    throw new TypeError("an actor id is empty");
  }
  return { id };
}

function wireAddress(namespace: string, service: DescService, key: Key) {
  encodeKey(key); // throws for a key that cannot be
  return { namespace, type: service.typeName, key: [...keySegments(key)] };
}

function optionalInput(registry: MutableRegistry, service: DescService, input: Message | undefined) {
  return input === undefined ? undefined : packInput(registry, encodeInput(service, input));
}
