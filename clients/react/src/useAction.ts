// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

"use client";

import { create, type DescService, type MessageShape } from "@bufbuild/protobuf";
import type { CallOptions } from "@connectrpc/connect";
import { ActorError, Code, header } from "@troupe/client";
import { useCallback, useInsertionEffect, useRef, useState } from "react";
import type { Actor, UnaryName } from "./actor.js";
import { actionOf, inputOf, type Reply, type Request } from "./define.js";
import { entryOf } from "./entry.js";
import { type Optimistic, type Snapshot, storeOf } from "./store.js";

/** A request as the message that is sent. */
type Sent<S extends DescService, M extends UnaryName<S>> = MessageShape<S["method"][M]["input"]>;

/** What an action changes in a snapshot before its reply is there. */
export interface ActionOptions<S extends DescService, M extends UnaryName<S>, D> {
  /** What the action changes. */
  snapshot: Snapshot<D>;
  /** The state as it will be. It is shown until the reply comes, and taken back when the action fails. */
  optimistic: (state: D, request: Sent<S, M>) => D;
  /**
   * Puts the reply into the state in place of what was expected; without it, what
   * was expected is shown until the action's event is here. The event may come
   * before or after, and others between: add by id, and leave to the event what
   * another may change meanwhile.
   */
  confirmed?: (state: D, reply: Reply<S, M>, request: Sent<S, M>) => D;
}

/** An action as a component uses it. */
export interface ActionState<S extends DescService, M extends UnaryName<S>> {
  /** Runs the action. What it fails with is in error; nothing is thrown. */
  readonly run: (request: Request<S, M>, options?: CallOptions) => void;
  /** Runs the action and waits for it; it rejects with an ActorError, or with what confirmed throws. */
  readonly call: (request: Request<S, M>, options?: CallOptions) => Promise<Reply<S, M>>;
  /** Whether calls are under way. */
  readonly pending: boolean;
  /** What the newest call failed with. */
  readonly error: ActorError | undefined;
  /** What the newest call returned. */
  readonly data: Reply<S, M> | undefined;
  /** Forgets error and data. */
  readonly reset: () => void;
}

/**
 * One of an actor's actions. It is called as the connection; while that is not
 * there calls wait for it, within their timeoutMs and signal.
 */
export function useAction<S extends DescService, M extends UnaryName<S>, D = never>(
  actor: Actor<S>,
  method: M,
  options?: ActionOptions<S, M, D>,
): ActionState<S, M> {
  const { entry } = entryOf(actor);
  const [state, setState] = useState<{ error?: ActorError; data?: Reply<S, M> }>({});
  const [pending, setPending] = useState(0);
  const newest = useRef(options);
  const newestCall = useRef(0);
  useInsertionEffect(() => {
    newest.current = options;
  });

  const call = useCallback(
    async (request: Request<S, M>, callOptions?: CallOptions): Promise<Reply<S, M>> => {
      const number = ++newestCall.current;
      const finish = (result: { error?: ActorError; data?: Reply<S, M> }) => {
        // Also while the component is hidden: it may be shown again. One that is gone takes no harm.
        setPending((n) => n - 1);
        if (number === newestCall.current) {
          setState(result);
        }
      };
      const sent = create(inputOf(entry.service, method), request as never) as Sent<S, M>;
      const effect = newest.current;
      let change: Optimistic<D> | undefined;
      let reply: Reply<S, M>;
      let cursor = "";
      setPending((n) => n + 1);
      setState({});
      try {
        try {
          change = effect && storeOf(effect.snapshot).optimistic((shown) => effect.optimistic(shown, sent));
        } catch (cause) {
          throw new ActorError(`optimistic: ${cause}`, Code.Unknown, {
            reason: "optimistic_failed",
            domain: "troupe.client",
            outcome: "not_executed",
            cause,
          });
        }
        reply = await actionOf<S, M>(await entry.calls(), method)(sent as Request<S, M>, {
          ...callOptions,
          onHeader(headers) {
            cursor = headers.get(header.cursor) ?? "";
            callOptions?.onHeader?.(headers);
          },
        });
      } catch (thrown) {
        const error = ActorError.from(thrown);
        change?.rollBack();
        finish({ error });
        throw error;
      }
      finish({ data: reply });
      const { confirmed } = effect ?? {};
      change?.confirm(cursor, confirmed && ((shown) => confirmed(shown, reply, sent)));
      return reply;
    },
    [entry, method],
  );
  const run = useCallback(
    (request: Request<S, M>, callOptions?: CallOptions) =>
      void call(request, callOptions).catch((thrown: unknown) => {
        if (!(thrown instanceof ActorError)) {
          throw thrown; // a mistake of the page: it reaches the platform's handler
        }
      }),
    [call],
  );
  const reset = useCallback(() => {
    newestCall.current++;
    setState({});
  }, []);
  return { run, call, pending: pending > 0, error: state.error, data: state.data, reset };
}
