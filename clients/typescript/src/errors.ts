// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";
import { OutcomeSchema, Outcome_Outcome as WireOutcome } from "../../../gen/ts/troupe/v1/errors_pb.js";

/**
 * What became of a failed action's effects on the actor.
 *
 * - not_executed: none, and there will be none.
 * - committed: they are durable; only the reply is missing.
 * - unknown: nobody can say.
 */
export type Outcome = "not_executed" | "committed" | "unknown";

/** One rule that a request broke. */
export interface Violation {
  /** The path of the field, such as `members[2].name`; empty for the whole message. */
  readonly field: string;
  /** The rule, such as `string.min_len`. */
  readonly ruleId: string;
  readonly message: string;
}

/** The parts of an ActorError that may be left out. */
export interface ActorErrorOptions {
  reason?: string;
  domain?: string;
  metadata?: Readonly<Record<string, string>>;
  outcome?: Outcome;
  violations?: readonly Violation[];
  correlationId?: string;
  retryAfterMs?: number;
  cause?: unknown;
}

/**
 * The one error that this package throws for a failed call or connection.
 * Misuse, such as a key over its limits, throws TypeError or RangeError.
 */
export class ActorError extends Error {
  override readonly name = "ActorError";
  /** The class of the error. */
  readonly code: Code;
  /** The message without the code in front. */
  readonly rawMessage: string;
  /** What programs branch on: the author's or the runtime's error code, or "". */
  readonly reason: string;
  /** Who made the reason: the actor's service, "troupe.v1" for the runtime, "troupe.client" for this package. */
  readonly domain: string;
  /** Whatever else programs need, from the error's author. */
  readonly metadata: Readonly<Record<string, string>>;
  /** What became of the action's effects. */
  readonly outcome: Outcome;
  /** The rules that the request broke. */
  readonly violations: readonly Violation[];
  /** Names the server's log entry about an internal error, or "". */
  readonly correlationId: string;
  /** How long the server asks to wait before another try. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, code: Code, options: ActorErrorOptions = {}) {
    const label = options.reason ? `${codeName(code)}: ${options.reason}` : codeName(code);
    super(`[${label}] ${message}`, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.rawMessage = message;
    this.reason = options.reason ?? "";
    this.domain = options.domain ?? "";
    this.metadata = options.metadata ?? {};
    this.outcome = options.outcome ?? "unknown";
    this.violations = options.violations ?? [];
    this.correlationId = options.correlationId ?? "";
    this.retryAfterMs = options.retryAfterMs;
  }

  /** Makes an ActorError of anything that a transport throws. */
  static from(thrown: unknown): ActorError {
    if (thrown instanceof ActorError) {
      return thrown;
    }
    const error = ConnectError.from(thrown);
    const details = readDetails(error);
    // fetch reports a connection that failed or broke as a TypeError, Node's
    // sockets by their codes, and Connect's transports a reply that stops too
    // early as a string.
    const broken = error.cause instanceof TypeError || typeof error.cause === "string" || isOfSocket(error.cause);
    const code =
      broken && (error.code === Code.Unknown || error.code === Code.Internal) ? Code.Unavailable : error.code;
    return new ActorError(error.rawMessage, code, { ...details, cause: error });
  }
}

/** Whether an error of Node's says that a socket broke, such as EPIPE. */
function isOfSocket(cause: unknown): boolean {
  if (!(cause instanceof Error)) {
    return false;
  }
  const { code } = cause as { code?: unknown };
  return typeof code === "string" && /^(E[A-Z0-9]+|ERR_HTTP2_\w+|ERR_STREAM_\w+)$/.test(code);
}

/**
 * Over HTTP/2 a call whose connection breaks looks as if it was canceled. It was
 * not, unless its signal is aborted or the server says so.
 */
export function unlessCanceled(error: ActorError, signal: AbortSignal | undefined): ActorError {
  return error.code === Code.Canceled && error.domain === "" && !signal?.aborted
    ? new ActorError(error.rawMessage, Code.Unavailable, { ...error, cause: error.cause })
    : error;
}

/** Whether thrown is an ActorError, with this reason if one is given. */
export function isActorError(thrown: unknown, reason?: string): thrown is ActorError {
  return thrown instanceof ActorError && (reason === undefined || thrown.reason === reason);
}

/** Whether thrown is an ActorError of this code. */
export function hasCode(thrown: unknown, code: Code): thrown is ActorError {
  return thrown instanceof ActorError && thrown.code === code;
}

/** Whether the call certainly had no effect, so that repeating it is safe. */
export function wasNotExecuted(thrown: unknown): thrown is ActorError {
  return thrown instanceof ActorError && thrown.outcome === "not_executed";
}

/** An error that this package makes itself. */
export function clientError(message: string, code: Code, reason: string, options: ActorErrorOptions = {}): ActorError {
  return new ActorError(message, code, { outcome: "not_executed", ...options, reason, domain: "troupe.client" });
}

/**
 * What the last attempt of a call failed with, as the error of the whole call: an
 * attempt before may have had its effects.
 */
export function doubted(error: ActorError): ActorError {
  return error.outcome === "not_executed"
    ? new ActorError(error.rawMessage, error.code, { ...error, outcome: "unknown", cause: error })
    : error;
}

/** The error of a call whose signal was aborted before anything happened. */
export function canceledError(signal: AbortSignal): ActorError {
  return clientError("the call was canceled", Code.Canceled, "canceled", { cause: signal.reason });
}

function codeName(code: Code): string {
  return (Code[code] ?? "Unknown").replace(/([a-z])([A-Z])/g, "$1_$2").toLowerCase();
}

function readDetails(error: ConnectError): ActorErrorOptions {
  const options: ActorErrorOptions = {};
  for (const detail of error.details) {
    const [type, value] =
      "desc" in detail
        ? [detail.desc.typeName, toBinary(detail.desc, create(detail.desc, detail.value))]
        : [detail.type, detail.value];
    try {
      readDetail(options, type, value);
    } catch {
      // A detail that cannot be read is left out: the error itself matters more.
    }
  }
  return options;
}

function readDetail(options: ActorErrorOptions, type: string, value: Uint8Array): void {
  switch (type) {
    case "google.rpc.ErrorInfo":
      readErrorInfo(options, value);
      break;
    case "google.rpc.RetryInfo":
      readRetryInfo(options, value);
      break;
    case "buf.validate.Violations":
      options.violations = readViolations(value);
      break;
    case OutcomeSchema.typeName: {
      const { outcome, correlationId } = fromBinary(OutcomeSchema, value);
      options.outcome = outcomes[outcome] ?? "unknown";
      options.correlationId = correlationId;
      break;
    }
  }
}

const outcomes: Partial<Record<WireOutcome, Outcome>> = {
  [WireOutcome.NOT_EXECUTED]: "not_executed",
  [WireOutcome.COMMITTED]: "committed",
};

// The messages below belong to others and are read by hand, so that this
// package carries no descriptors of theirs.

/** Calls read for every field of a message; read returns false for a field it does not know. */
function eachField(bytes: Uint8Array, read: (field: number, reader: BinaryReader) => boolean): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (!read(field, reader)) {
      reader.skip(wireType, field);
    }
  }
}

/** google.rpc.ErrorInfo: reason = 1, domain = 2, metadata = 3 (a map). */
function readErrorInfo(options: ActorErrorOptions, bytes: Uint8Array): void {
  const metadata: Record<string, string> = {};
  eachField(bytes, (field, reader) => {
    switch (field) {
      case 1:
        options.reason = reader.string();
        return true;
      case 2:
        options.domain = reader.string();
        return true;
      case 3: {
        let key = "";
        let value = "";
        eachField(reader.bytes(), (part, entry) => {
          if (part === 1) key = entry.string();
          else if (part === 2) value = entry.string();
          return part === 1 || part === 2;
        });
        metadata[key] = value;
        return true;
      }
    }
    return false;
  });
  options.metadata = metadata;
}

/** google.rpc.RetryInfo: retry_delay = 1 (a Duration: seconds = 1, nanos = 2). */
function readRetryInfo(options: ActorErrorOptions, bytes: Uint8Array): void {
  eachField(bytes, (field, reader) => {
    if (field !== 1) {
      return false;
    }
    let ms = 0;
    eachField(reader.bytes(), (part, duration) => {
      if (part === 1) ms += Number(duration.int64()) * 1000;
      else if (part === 2) ms += duration.int32() / 1e6;
      return part === 1 || part === 2;
    });
    options.retryAfterMs = Math.max(0, ms);
    return true;
  });
}

/** buf.validate.Violations: violations = 1. */
function readViolations(bytes: Uint8Array): Violation[] {
  const violations: Violation[] = [];
  eachField(bytes, (field, reader) => {
    if (field === 1) {
      violations.push(readViolation(reader.bytes()));
    }
    return field === 1;
  });
  return violations;
}

/** buf.validate.Violation: rule_id = 2, message = 3, field = 5 (a FieldPath: elements = 1). */
function readViolation(bytes: Uint8Array): Violation {
  const path: string[] = [];
  let ruleId = "";
  let message = "";
  eachField(bytes, (field, reader) => {
    switch (field) {
      case 2:
        ruleId = reader.string();
        return true;
      case 3:
        message = reader.string();
        return true;
      case 5:
        eachField(reader.bytes(), (part, elements) => {
          if (part === 1) {
            path.push(readPathElement(elements.bytes()));
          }
          return part === 1;
        });
        return true;
    }
    return false;
  });
  return { field: path.join("."), ruleId, message };
}

/** buf.validate.FieldPathElement: field_name = 2; index = 6, bool_key = 7, int_key = 8, uint_key = 9, string_key = 10. */
function readPathElement(bytes: Uint8Array): string {
  let name = "";
  let subscript = "";
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 2) name = reader.string();
    else if (field === 6 || field === 9) subscript = `[${reader.uint64()}]`;
    else if (field === 7) subscript = `[${reader.bool()}]`;
    else if (field === 8) subscript = `[${reader.int64()}]`;
    else if (field === 10 && wireType === WireType.LengthDelimited) subscript = `[${JSON.stringify(reader.string())}]`;
    else reader.skip(wireType, field);
  }
  return name + subscript;
}
