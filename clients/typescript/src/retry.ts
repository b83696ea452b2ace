// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import type { DescMethod } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { Backoff, type Clock, sleep } from "./backoff.js";
import { ActorError, doubted, unlessCanceled } from "./errors.js";

/** How a client repeats failed calls by itself. */
export interface RetryOptions {
  /** The most attempts for one call, the first included. Default 4. */
  maxAttempts?: number;
  /** The ceiling of the first wait, in milliseconds; it doubles. Default 100. */
  baseMs?: number;
  /** The ceiling of every wait, in milliseconds; a call that the server asks to wait longer fails. Default 5000. */
  maxMs?: number;
}

/** Retries may add this share to the calls of a client… */
const budgetShare = 0.1;
/** …plus these to begin with, and never more than these saved up. */
const budgetCap = 10;

/** What a client's calls may spend on retries. All handles of a client share it. */
export class RetryPolicy {
  readonly maxAttempts: number;
  private budget = budgetCap;

  constructor(
    private readonly clock: Clock,
    private readonly options: RetryOptions | false,
  ) {
    this.maxAttempts = options === false ? 1 : (options.maxAttempts ?? 4);
  }

  /**
   * Runs attempt until it succeeds, fails for good or the attempts, the budget
   * or the time are used up. It throws ActorError only.
   *
   * attempt gets what tells how much of timeoutMs is left.
   */
  async run<T>(
    method: DescMethod,
    idempotencyKey: boolean,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    attempt: (left: () => number | undefined) => Promise<T>,
  ): Promise<T> {
    const limit = timeoutMs !== undefined && timeoutMs > 0 ? timeoutMs : undefined;
    const started = this.clock.now();
    // Whole, and never 0, which would mean no limit at all.
    const left = () => (limit === undefined ? timeoutMs : Math.max(1, Math.ceil(limit - (this.clock.now() - started))));
    const longest = this.optionsOr("maxMs", 5000);
    const backoff = new Backoff(this.clock, this.optionsOr("baseMs", 100), longest);
    this.budget = Math.min(budgetCap, this.budget + budgetShare);
    const harmless = method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
    /** Whether an attempt before may have had its effects. */
    let inDoubt = false;
    const whole = (error: ActorError) => (inDoubt && !harmless ? doubted(error) : error);
    for (let n = 1; ; n++) {
      try {
        return await attempt(left);
      } catch (thrown) {
        const error = unlessCanceled(ActorError.from(thrown), signal);
        if (n >= this.maxAttempts || this.budget < 1 || signal?.aborted || !mayRetry(error, method, idempotencyKey)) {
          throw whole(error);
        }
        const wait = Math.max(backoff.next(), error.retryAfterMs ?? 0);
        if (wait > longest || (limit !== undefined && wait >= (left() ?? 0))) {
          throw whole(error);
        }
        inDoubt ||= error.outcome === "unknown";
        this.budget--;
        await sleep(this.clock, wait, signal);
        if (signal?.aborted) {
          throw new ActorError("the call was canceled", Code.Canceled, {
            outcome: whole(error).outcome,
            cause: error,
          });
        }
      }
    }
  }

  private optionsOr(name: "baseMs" | "maxMs", fallback: number): number {
    return this.options === false ? fallback : (this.options[name] ?? fallback);
  }
}

/**
 * Whether a failed call may be repeated without its caller knowing: the server
 * was only busy, moving or gone, and a second run does no harm.
 */
export function mayRetry(error: ActorError, method: DescMethod, idempotencyKey: boolean): boolean {
  const harmless =
    error.outcome === "not_executed" ||
    (error.outcome === "unknown" &&
      (idempotencyKey || method.idempotency !== MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN));
  switch (error.code) {
    case Code.Unavailable:
      return harmless && error.domain !== method.parent.typeName;
    case Code.Aborted:
      return harmless && error.domain !== method.parent.typeName;
    case Code.ResourceExhausted:
      return harmless && error.retryAfterMs !== undefined;
    default:
      return false;
  }
}
