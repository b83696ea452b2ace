// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { base64Encode } from "@bufbuild/protobuf/wire";
import type { Clock } from "./backoff.js";
import { ActorError } from "./errors.js";
import { encodeKey } from "./key.js";
import { headersInTime } from "./transport.js";

/** What a URL of an actor is made of. */
export interface RawOptions {
  readonly clock: Clock;
  readonly baseUrl: string | undefined;
  readonly namespace: string;
  /** The full name of the actor's service. */
  readonly type: string;
  /** The actor's key; undefined for a handle of one incarnation. */
  readonly key: readonly string[] | undefined;
  readonly resolve: "get-or-create" | "get" | undefined;
  /** The encoded connection parameters, if the handle has any. */
  readonly params: Uint8Array | undefined;
  readonly fetch: typeof globalThis.fetch | undefined;
  readonly webSocket: typeof globalThis.WebSocket | undefined;
  headers(signal: AbortSignal | undefined): Promise<Headers>;
}

/** The URL of the actor's own HTTP handler, with path, which begins with a slash and may have a query. */
export function actorUrl(options: RawOptions, path: string): string {
  const { baseUrl, key, resolve, params } = options;
  if (baseUrl === undefined) {
    throw new TypeError("URLs need a client with a baseUrl");
  }
  if (key === undefined) {
    throw new TypeError("a URL names an actor by key, not by id");
  }
  if (!path.startsWith("/")) {
    throw new TypeError(`the path "${path}" does not begin with a slash`);
  }
  const actor = [options.namespace, ...(key.length > 0 ? [encodeKey(key)] : []), "@", options.type, "http"];
  const query = [
    ...(resolve === "get" ? ["resolve=get"] : []),
    ...(params === undefined ? [] : [`params=${base64Encode(params, "url")}`]),
  ].join("&");
  const separator = path.includes("?") ? "&" : "?";
  return `${baseUrl.replace(/\/+$/, "")}/actors/${actor.join("/")}${path}${query && separator}${query}`;
}

/** Sends a plain request. It is sent once; only a broken network is an error. */
export async function rawFetch(options: RawOptions, path: string, init: RequestInit = {}): Promise<Response> {
  const url = actorUrl(options, path);
  const headers = await headersInTime(options, init.signal ?? undefined, undefined);
  new Headers(init.headers).forEach((value, name) => {
    headers.set(name, value);
  });
  try {
    return await (options.fetch ?? globalThis.fetch)(url, { ...init, headers });
  } catch (thrown) {
    throw ActorError.from(thrown);
  }
}

/** Opens a WebSocket. */
export function rawWebSocket(options: RawOptions, path: string, protocols?: string | string[]): WebSocket {
  const Socket = options.webSocket ?? globalThis.WebSocket;
  if (Socket === undefined) {
    throw new TypeError("this platform has no WebSocket: give the client one by its option webSocket");
  }
  const url = new URL(actorUrl(options, path), globalThis.location?.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return new Socket(url, protocols);
}
