// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import {
  create,
  type DescFile,
  type DescMessage,
  type DescMethodServerStreaming,
  type DescService,
  getOption,
  hasOption,
  type Message,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import { action, actor } from "../../../gen/ts/troupe/v1/annotations_pb.js";

/** The metadata that addresses an actor. */
export const header = {
  key: "actor-key",
  id: "actor-id",
  resolve: "actor-resolve",
  input: "actor-input-bin",
  namespace: "actor-namespace",
  params: "actor-params-bin",
  conn: "actor-conn",
  resume: "actor-resume",
  events: "actor-events",
  idempotencyKey: "idempotency-key",
  cursor: "actor-cursor",
  created: "actor-created",
} as const;

/** Bounds a decoded -bin header. */
export const maxBinaryHeaderBytes = 4096;

const eventInfoType = "troupe.v1.EventInfo";

/** What a connection needs to know of an actor type's subscription. */
export interface Subscription {
  readonly method: DescMethodServerStreaming;
  /** The property of the union message that is its EventInfo. */
  readonly infoField: string;
  /** The property of the union message that is its oneof of events. */
  readonly oneof: string;
  /** The names of the events. */
  readonly events: ReadonlySet<string>;
}

/**
 * Finds the subscription of an actor type: the method marked as such, else the
 * only server-streaming method whose messages carry an EventInfo. Undefined if
 * there is none.
 */
export function findSubscription(service: DescService): Subscription | undefined {
  const streams = service.methods.filter(
    (method): method is DescMethodServerStreaming => method.methodKind === "server_streaming",
  );
  const marked = streams.filter((method) => getOption(method, action).subscription);
  const candidates = marked.length > 0 ? marked : streams.filter((method) => infoFieldOf(method.output) !== undefined);
  const [method] = candidates;
  if (method === undefined || candidates.length > 1) {
    return undefined;
  }
  const infoField = infoFieldOf(method.output);
  const oneof = method.output.oneofs[0];
  if (infoField === undefined || oneof === undefined) {
    return undefined;
  }
  const events = new Set(oneof.fields.map((field) => field.localName));
  return { method, infoField, oneof: oneof.localName, events };
}

function infoFieldOf(union: DescMessage): string | undefined {
  return union.fields.find((field) => field.fieldKind === "message" && field.message.typeName === eventInfoType)
    ?.localName;
}

/**
 * Encodes the input of a creation. The message must be of the type that the
 * service names as its input. Throws a TypeError otherwise.
 */
export function encodeInput(service: DescService, input: Message): { desc: DescMessage; bytes: Uint8Array } {
  const name = hasOption(service, actor) ? getOption(service, actor).input : "";
  if (name === "") {
    throw new TypeError(`${service.typeName} takes no input`);
  }
  const scope = service.file.proto.package;
  const desc = findMessage(service.file, `${scope}.${name}`) ?? findMessage(service.file, name);
  if (desc === undefined) {
    throw new TypeError(`${service.typeName} names the input ${name}, which its file does not know`);
  }
  if (input.$typeName !== desc.typeName) {
    throw new TypeError(`the input of ${service.typeName} is a ${desc.typeName}, not a ${input.$typeName}`);
  }
  return { desc, bytes: toBinary(desc, input) };
}

/** Encodes connection parameters for the actor-params-bin header. */
export function encodeParams(service: DescService, params: MessageInitShape<DescMessage>): Uint8Array {
  const method = findSubscription(service)?.method;
  if (method === undefined) {
    throw new TypeError(`${service.typeName} has no subscription and so takes no parameters`);
  }
  const bytes = toBinary(method.input, create(method.input, params));
  if (bytes.length > maxBinaryHeaderBytes) {
    throw new RangeError(`parameters have at most ${maxBinaryHeaderBytes} bytes, these have ${bytes.length}`);
  }
  return bytes;
}

function findMessage(file: DescFile, typeName: string, seen = new Set<DescFile>()): DescMessage | undefined {
  if (seen.has(file)) {
    return undefined;
  }
  seen.add(file);
  return (
    findNested(file.messages, typeName) ??
    file.dependencies.reduce<DescMessage | undefined>(
      (found, dependency) => found ?? findMessage(dependency, typeName, seen),
      undefined,
    )
  );
}

function findNested(messages: readonly DescMessage[], typeName: string): DescMessage | undefined {
  for (const message of messages) {
    const found = message.typeName === typeName ? message : findNested(message.nestedMessages, typeName);
    if (found !== undefined) {
      return found;
    }
  }
  return undefined;
}

/** Throws a RangeError unless text can be a namespace. */
export function checkNamespace(text: string): void {
  if (text.length === 0 || text.length > 64 || !/^[a-z0-9][a-z0-9._-]*$/.test(text)) {
    throw new RangeError(`a namespace has 1 to 64 characters and matches [a-z0-9][a-z0-9._-]*; "${text}" does not`);
  }
}
