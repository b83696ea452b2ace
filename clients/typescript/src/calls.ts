// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { Code, type Transport } from "@connectrpc/connect";
import type { Clock } from "./backoff.js";
import { ActorError, doubted, isActorError } from "./errors.js";
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

/**
 * Makes a call over the open link. When the server knows the link no more the
 * call had no effect: it is repeated once, over the next link.
 */
async function asConnection<T>(
  { clock, gate, drop }: Links,
  signal: AbortSignal | undefined,
  timeoutMs: number | undefined,
  call: (link: OpenLink, timeoutMs: number | undefined) => Promise<T>,
): Promise<T> {
  const started = clock.now();
  const left = () => (timeoutMs ? Math.max(1, Math.ceil(timeoutMs - (clock.now() - started))) : timeoutMs);
  const link = await gate.wait(signal, timeoutMs);
  try {
    return await call(link, left());
  } catch (thrown) {
    if (!isActorError(thrown, "connection_gone") || thrown.code !== Code.FailedPrecondition) {
      throw thrown;
    }
    drop(link);
    try {
      return await call(await gate.wait(signal, left()), left());
    } catch (again) {
      throw thrown.outcome === "unknown" ? doubted(ActorError.from(again)) : again;
    }
  }
}
