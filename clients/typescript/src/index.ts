// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// What users name.

export { Code } from "@connectrpc/connect";
export { type ActorClient, type ClientOptions, createClient } from "./client.js";
export type { ActorConnection } from "./connection.js";
export {
  ActorError,
  type ActorErrorOptions,
  hasCode,
  isActorError,
  type Outcome,
  type Violation,
  wasNotExecuted,
} from "./errors.js";
export type { ActorHandle, Connectable, HandleBase, HandleOptions } from "./handle.js";
export type { CloseInfo, ConnectionStatus, ConnectOptions, ConnectParamsSource, GapInfo, OpenInfo } from "./options.js";
export type { RetryOptions } from "./retry.js";
export type { ActorEvent, ActorEvents, ConnectParams, Key } from "./types.js";

// What authors of other libraries need.

export { ActorService } from "../../../gen/ts/troupe/v1/actor_service_pb.js";
export { CloseReason, type EventInfo } from "../../../gen/ts/troupe/v1/events_pb.js";
export { decodeKey, encodeKey, maxKeyBytes, maxSegmentBytes, maxSegments } from "./key.js";
export type { Actions, EventMap, EventUnion, SubscriptionName } from "./types.js";
export { findSubscription, header, type Subscription } from "./wire.js";
