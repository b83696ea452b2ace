// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { Code, type Transport } from "@connectrpc/connect";
import type { Clock } from "./backoff.js";
import { ActorError, clientError, doubted } from "./errors.js";
import type { Gate } from "./gate.js";
import type { OpenInfo } from "./options.js";
import { type Binding, withKey } from "./transport.js";

/** The link that a connection has open. */
export interface OpenLink {
  /** For calls that belong to the connection. */
  readonly transport: Transport;
  readonly openedAt: number;
  readonly info: OpenInfo;
}

/** What the calls of a connection share with it. */
export interface Links {
  readonly binding: Binding;
  readonly clock: Clock;
  /** The open link. */
  readonly gate: Gate<OpenLink>;
  /** Ends a link that the server knows no more. */
  drop(link: OpenLink): void;
}

/** A transport whose calls belong to a connection. */
export function callsOver(links: Links): Transport {
  return {
    unary: async (method, signal, timeoutMs, headers, input, contextValues) => {
      // One key for the call over every link: its answer may be lost with one.
      const keyed = withKey(links.binding, method, headers);
      return asConnection(links, signal, timeoutMs, ({ transport }, left) =>
        transport.unary(method, signal, left, keyed, input, contextValues),
      );
    },
    stream: (method, signal, timeoutMs, headers, input, contextValues) =>
      asConnection(links, signal, timeoutMs, ({ transport }, left) =>
        transport.stream(method, signal, left, headers, input, contextValues),
      ),
  };
}

/** How often a call is made, each time over another link. */
const maxLinks = 3;

/** The error of an attempt that is not sent, because its link has gone. */
export function linkGone(): ActorError {
  return clientError("the connection of this call is not open", Code.FailedPrecondition, "connection_gone");
}

/**
 * Makes a call over the open link. When the link is gone, by the server or before a
 * repetition, that attempt had no effect: the call is made again over the next link.
 */
async function asConnection<T>(
  { clock, gate, drop }: Links,
  signal: AbortSignal | undefined,
  timeoutMs: number | undefined,
  call: (link: OpenLink, timeoutMs: number | undefined) => Promise<T>,
): Promise<T> {
  const started = clock.now();
  const left = () => (timeoutMs ? Math.max(1, Math.ceil(timeoutMs - (clock.now() - started))) : timeoutMs);
  /** Whether an attempt before may have had its effects. */
  let inDoubt = false;
  for (let n = 1; ; n++) {
    let link: OpenLink | undefined;
    try {
      link = await gate.wait(signal, left());
      return await call(link, left());
    } catch (thrown) {
      const error = ActorError.from(thrown);
      const gone = error.reason === "connection_gone" && error.code === Code.FailedPrecondition;
      if (!gone || link === undefined || n === maxLinks) {
        throw inDoubt ? doubted(error) : error;
      }
      inDoubt ||= error.outcome === "unknown";
      drop(link);
    }
  }
}
