// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import type { DescMessage, DescMethod, MessageInitShape } from "@bufbuild/protobuf";
import { Code, type StreamResponse, type Transport } from "@connectrpc/connect";
import type { Clock } from "./backoff.js";
import { ActorError, canceledError, clientError, unlessCanceled } from "./errors.js";
import type { RetryPolicy } from "./retry.js";
import { header as names } from "./wire.js";

/** What a bound transport adds to calls. */
export interface Binding {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly retry: RetryPolicy;
  /** Gives every call of a writing method an idempotency key. */
  readonly idempotencyKeys: boolean;
  /** The headers of one attempt; called for each. */
  headers(signal: AbortSignal | undefined): Promise<Headers>;
}

/**
 * A Connect transport bound to one actor: it adds the actor's address to every
 * call, repeats what may be repeated and throws ActorError. Any stock client
 * works over it.
 */
export function bindTransport(binding: Binding): Transport {
  return {
    async unary(method, signal, timeoutMs, header, input, contextValues) {
      const own = withKey(binding, method, header);
      return await binding.retry.run(method, own.has(names.idempotencyKey), signal, timeoutMs, async (left) => {
        const headers = merge(own, await headersInTime(binding, signal, left()));
        return await binding.transport.unary(method, signal, left(), headers, input, contextValues);
      });
    },
    async stream(method, signal, timeoutMs, header, input, contextValues) {
      const own = new Headers(header);
      if (method.methodKind !== "server_streaming") {
        const headers = merge(own, await headersInTime(binding, signal, timeoutMs));
        return convert(
          await rethrow(binding.transport.stream(method, signal, timeoutMs, headers, input, contextValues)),
          signal,
        );
      }
      // A stream that fails before its first message is as good as unopened,
      // so the first message is awaited here and the stream may be repeated.
      const request = await collect(input);
      return await binding.retry.run(method, false, signal, timeoutMs, async (left) => {
        const headers = merge(own, await headersInTime(binding, signal, left()));
        const messages = repeat<MessageInitShape<typeof method.input>>(request);
        return await peek(
          await binding.transport.stream(method, signal, left(), headers, messages, contextValues),
          signal,
        );
      });
    },
  };
}

/**
 * The headers of one attempt. Who makes them need not heed the signal, and knows no
 * time limit: a call ends with both all the same, and nothing was sent.
 */
export function headersInTime(
  { clock, headers }: Pick<Binding, "clock" | "headers">,
  signal: AbortSignal | undefined,
  timeoutMs: number | undefined,
): Promise<Headers> {
  return new Promise<Headers>((resolve, reject) => {
    if (signal?.aborted) {
      reject(canceledError(signal));
      return;
    }
    let timer: unknown;
    const abort = () => end(() => reject(canceledError(signal as AbortSignal)));
    const end = (settle: () => void) => {
      clock.clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      settle();
    };
    signal?.addEventListener("abort", abort);
    if (timeoutMs !== undefined && timeoutMs > 0) {
      const late = clientError("the call's headers did not come in time", Code.DeadlineExceeded, "headers_late");
      timer = clock.setTimeout(() => end(() => reject(late)), timeoutMs);
    }
    headers(signal).then(
      (made) => end(() => resolve(made)),
      (thrown) => end(() => reject(thrown)),
    );
  });
}

/** The headers of a call, with an idempotency key if it needs one. */
export function withKey(binding: Binding, method: DescMethod, header: HeadersInit | undefined): Headers {
  const headers = new Headers(header);
  if (headers.get(names.idempotencyKey) === "") {
    headers.delete(names.idempotencyKey); // to the server it is none
  }
  // 0 is IDEMPOTENCY_UNKNOWN: the method may have effects that add up.
  if (binding.idempotencyKeys && method.idempotency === 0 && !headers.has(names.idempotencyKey)) {
    headers.set(names.idempotencyKey, `auto-${randomId()}`);
  }
  return headers;
}

/** 128 random bits in hexadecimal. crypto.randomUUID would need a secure context. */
function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}

/** A call's own headers win over the client's, and the actor's address over both. */
function merge(own: Headers, bound: Headers): Headers {
  const merged = new Headers(own);
  bound.forEach((value, name) => {
    if (addressing.has(name) || !own.has(name)) {
      merged.set(name, value);
    }
  });
  return merged;
}

const addressing: ReadonlySet<string> = new Set([names.key, names.id, names.namespace, names.resolve, names.conn]);

async function collect<T>(input: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const message of input) {
    all.push(message);
  }
  return all;
}

async function* repeat<T>(messages: readonly T[]): AsyncGenerator<T> {
  yield* messages;
}

async function peek<I extends DescMessage, O extends DescMessage>(
  response: StreamResponse<I, O>,
  signal: AbortSignal | undefined,
): Promise<StreamResponse<I, O>> {
  const rest = response.message[Symbol.asyncIterator]();
  const first = await rest.next();
  const message = (async function* () {
    for (let result = first; !result.done; result = await rest.next()) {
      yield result.value;
    }
  })();
  return convert({ ...response, message }, signal);
}

/** Makes the stream's messages throw ActorError. */
function convert<I extends DescMessage, O extends DescMessage>(
  response: StreamResponse<I, O>,
  signal: AbortSignal | undefined,
): StreamResponse<I, O> {
  return {
    ...response,
    message: (async function* () {
      try {
        yield* response.message;
      } catch (thrown) {
        throw unlessCanceled(ActorError.from(thrown), signal);
      }
    })(),
  };
}

async function rethrow<T>(promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (thrown) {
    throw ActorError.from(thrown);
  }
}
