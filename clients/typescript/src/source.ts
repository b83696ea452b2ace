// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import type { Message } from "@bufbuild/protobuf";
import type { Binding } from "./transport.js";
import { header, type Subscription } from "./wire.js";

/** What one stream of a connection is to bring. */
export interface Wish {
  readonly subscription: Subscription;
  /** The subscription's request. */
  readonly params: Message;
  /** The cursor to go on from. */
  readonly resume: string | undefined;
  /** The names of the events wanted; undefined: all. */
  readonly events: readonly string[] | undefined;
}

/**
 * Opens a stream to one actor: the messages of its event union, until it ends or
 * signal is aborted.
 */
export type Source = (wish: Wish, signal: AbortSignal) => Promise<AsyncIterable<Message>>;

/** Opens a stream of its own for each wish. */
export function ownStreams(binding: Binding): Source {
  return async ({ subscription: { method }, params, resume, events }, signal) => {
    const headers = await binding.headers(signal);
    if (resume !== undefined) {
      headers.set(header.resume, resume);
    }
    if (events?.length) {
      headers.set(header.events, events.join(","));
    }
    const request = (async function* () {
      yield params;
    })();
    // 0: no time limit, whatever the transport's default is.
    const response = await binding.transport.stream(method, signal, 0, headers, request as AsyncIterable<never>);
    return response.message;
  };
}
