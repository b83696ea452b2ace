// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import type { DescService } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { CloseReason, type ConnectionClosing } from "../../../gen/ts/troupe/v1/events_pb.js";
import { type ActorError, clientError } from "./errors.js";
import type { ConnectParams } from "./types.js";

/**
 * Where a connection stands.
 *
 * - connecting: an attempt is under way.
 * - connected: events flow.
 * - disconnected: it waits for its next attempt.
 * - closed: it is over; see {@link CloseInfo}.
 */
export type ConnectionStatus = "connecting" | "connected" | "disconnected" | "closed";

/** Connection parameters, or how to make them for each attempt. */
export type ConnectParamsSource<S extends DescService> =
  | ConnectParams<S>
  | (() => ConnectParams<S> | Promise<ConnectParams<S>>);

/** How a connection behaves. */
export interface ConnectOptions {
  /** Disposes of the connection. */
  signal?: AbortSignal;
  /** Resumes after the last event seen, so that a reconnect misses nothing; see onGap. Otherwise it starts afresh. Default true. */
  resume?: boolean;
  /** Where to begin: the cursor of an event, or the actor-cursor header of a reply. Default: now. */
  cursor?: string;
  /** The names of the events wanted. Default: all. */
  events?: readonly string[];
  /** The most events a loop over the connection may lag behind. Default 1024. */
  buffer?: number;
  /** The ceiling of the first wait before a reconnect, in milliseconds; it doubles. Default 250. */
  backoffBaseMs?: number;
  /** The ceiling of every wait, in milliseconds. Default 30000. */
  backoffMaxMs?: number;
  /** The back-off starts over after a connection that lasted so long, in milliseconds. Default 5000. */
  stableMs?: number;
  /** How long an attempt may take, in milliseconds; 0: for ever. Default 15000. */
  openTimeoutMs?: number;
}

/** What the server said of a connection that it opened. */
export interface OpenInfo {
  readonly connectionId: string;
  /** The actor's incarnation. */
  readonly actorId: string;
  /** Whether the stream goes on where the last one ended. If not, and reconnected is true, events may be missing: read the state anew. */
  readonly resumed: boolean;
  /** Whether the connection was open before. */
  readonly reconnected: boolean;
}

/** Events that a connection has missed. It goes on from the actor's present; a copy of its state is to be read anew. */
export interface GapInfo {
  /** The last cursor seen before the gap. */
  readonly cursor: string;
  /** What the server said. */
  readonly error?: ActorError;
}

/** Why a connection is over. */
export interface CloseInfo {
  /** disposed: by this program. error: see error. Anything else is the server's reason. */
  readonly reason:
    | "disposed"
    | "error"
    | "unspecified"
    | "shutdown"
    | "slow"
    | "destroyed"
    | "disconnected"
    | "expired"
    | "restarted"
    | "moved";
  /** For people; may be empty. */
  readonly message: string;
  /** With disconnected: why, as the actor's author put it for programs. */
  readonly code?: string;
  /** Set unless the connection was disposed of. */
  readonly error?: ActorError;
}

/** What a closing frame that asks for no reconnect says. */
export function closeInfoOf(closing: ConnectionClosing): CloseInfo {
  const reason = (CloseReason[closing.reason] ?? "UNSPECIFIED").toLowerCase() as CloseInfo["reason"];
  const message = closing.message || `the server closed the connection: ${reason}`;
  const code = reason === "destroyed" ? Code.NotFound : Code.FailedPrecondition;
  const error = clientError(message, code, `connection_${reason}`);
  return { reason, message: closing.message, ...(closing.code ? { code: closing.code } : {}), error };
}
