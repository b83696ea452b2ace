// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import type { ConnectionClosing, ConnectionOpened, EventInfo } from "../../../gen/ts/troupe/v1/events_pb.js";
import type { Clock } from "./backoff.js";
import { ActorError, clientError } from "./errors.js";
import type { Source } from "./source.js";
import { missedHeartbeats, Watchdog } from "./watchdog.js";
import type { Subscription } from "./wire.js";

/** Codes that another attempt would only meet again. */
export const finalCodes: ReadonlySet<Code> = new Set([
  Code.InvalidArgument,
  Code.Unauthenticated,
  Code.PermissionDenied,
  Code.NotFound,
  Code.FailedPrecondition,
  Code.AlreadyExists,
  Code.Unimplemented,
]);

/** How one stream of a connection is opened, and who listens. */
export interface LinkOptions {
  readonly source: Source;
  readonly clock: Clock;
  readonly subscription: Subscription;
  readonly params: () => Promise<MessageInitShape<DescMessage>>;
  /** The cursor to go on from. */
  readonly resume: string | undefined;
  /** The names of the events wanted; undefined: all. */
  readonly events: readonly string[] | undefined;
  /** How long the first frame may take; 0: for ever. */
  readonly openTimeoutMs: number;
  /** Ends the link. */
  readonly signal: AbortSignal;
  onOpened(opened: ConnectionOpened): void;
  onEvent(name: string, value: unknown, info: EventInfo): void;
  /** Called for every frame, after the others. */
  onCursor(cursor: string): void;
}

/** How a link ended. */
export type LinkEnd =
  | { readonly kind: "aborted" }
  | { readonly kind: "closing"; readonly closing: ConnectionClosing }
  | { readonly kind: "failed"; readonly error: ActorError };

/**
 * Runs one stream of a connection from its opening to its end. It never rejects
 * and calls no listener after it has resolved.
 */
export async function runLink(options: LinkOptions): Promise<LinkEnd> {
  if (options.signal.aborted) {
    return { kind: "aborted" };
  }
  const cut = new AbortController();
  const watchdog = new Watchdog(options.clock, (silentMs) => {
    cut.abort(clientError(`nothing came for ${Math.round(silentMs)} ms`, Code.Unavailable, "heartbeat_missed"));
  });
  const abort = () => cut.abort();
  options.signal.addEventListener("abort", abort, { once: true });
  // A transport need not notice an abort: the race does not depend on it.
  const aborted = new Promise<never>((_, reject) => {
    cut.signal.addEventListener("abort", () => reject(cut.signal.reason), { once: true });
  });
  try {
    watchdog.expect(options.openTimeoutMs);
    return await Promise.race([aborted, follow(options, cut.signal, watchdog)]);
  } catch (thrown) {
    if (options.signal.aborted) {
      return { kind: "aborted" };
    }
    return { kind: "failed", error: ActorError.from(cut.signal.aborted ? cut.signal.reason : thrown) };
  } finally {
    watchdog.stop();
    options.signal.removeEventListener("abort", abort);
    cut.abort(); // for a stream that goes on after its closing frame
  }
}

async function follow(options: LinkOptions, signal: AbortSignal, watchdog: Watchdog): Promise<LinkEnd> {
  const { subscription, resume, events } = options;
  const { method, infoField, oneof } = subscription;
  const params = create(method.input, await options.params());
  const messages = await options.source({ subscription, params, resume, events }, signal);
  for await (const message of messages) {
    if (signal.aborted) {
      break;
    }
    watchdog.fed();
    const frame = message as unknown as Record<string, unknown>;
    const info = frame[infoField] as EventInfo | undefined;
    if (info === undefined) {
      continue;
    }
    const { control } = info;
    switch (control.case) {
      case "opened": {
        const { heartbeatInterval } = control.value;
        watchdog.expect(heartbeatInterval ? durationMs(heartbeatInterval) * missedHeartbeats : 0);
        options.onOpened(control.value);
        break;
      }
      case "closing":
        options.onCursor(info.cursor);
        return { kind: "closing", closing: control.value };
      case undefined: {
        const event = frame[oneof] as { case: string | undefined; value?: unknown };
        // An event newer than this client's schema has no case.
        if (event.case !== undefined) {
          options.onEvent(event.case, event.value, info);
        }
        break;
      }
    }
    if (signal.aborted) {
      break; // a listener ended the connection
    }
    options.onCursor(info.cursor);
  }
  const error = clientError("the stream ended without a closing frame", Code.Unavailable, "stream_ended");
  return { kind: "failed", error };
}

/** A protobuf duration in milliseconds. */
export function durationMs(duration: { seconds: bigint; nanos: number }): number {
  return Number(duration.seconds) * 1000 + duration.nanos / 1e6;
}
