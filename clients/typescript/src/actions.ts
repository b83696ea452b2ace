// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import type { DescService } from "@bufbuild/protobuf";
import { type CallOptions, createClient, type Transport } from "@connectrpc/connect";
import type { Actions } from "./types.js";
import { findSubscription } from "./wire.js";

/** The actions of an actor over a transport bound to it. */
export function createActions<S extends DescService>(service: S, transport: Transport): Actions<S> {
  const client = createClient(service, transport) as Record<string, AnyMethod>;
  const subscription = findSubscription(service)?.method;
  const actions: Record<string, AnyMethod> = {};
  for (const method of service.methods) {
    const call = client[method.localName];
    if (call === undefined || method === subscription) {
      continue;
    }
    actions[method.localName] = method.methodKind === "server_streaming" ? cancelOnReturn(call as StreamMethod) : call;
  }
  return actions as Actions<S>;
}

type AnyMethod = (input: never, options?: CallOptions) => unknown;
type StreamMethod = (input: never, options?: CallOptions) => AsyncIterable<unknown>;

/** Connect's streams go on when a loop over them is left; ours end. */
function cancelOnReturn(call: StreamMethod): StreamMethod {
  return (input, options) => ({
    async *[Symbol.asyncIterator]() {
      const left = new AbortController();
      const signal = options?.signal ? AbortSignal.any([options.signal, left.signal]) : left.signal;
      try {
        yield* call(input, { ...options, signal });
      } finally {
        left.abort();
      }
    },
  });
}
