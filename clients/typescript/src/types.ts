// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import type {
  DescMessage,
  DescMethodServerStreaming,
  DescService,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import type { EventInfo } from "../../../gen/ts/troupe/v1/events_pb.js";

/** An actor's key: its segments. A string is one segment, [] the empty key. */
export type Key = string | readonly string[];

/** Whether a message has a field of type troupe.v1.EventInfo. */
type HasInfo<T> = true extends {
  [P in keyof T]-?: NonNullable<T[P]> extends EventInfo ? true : never;
}[keyof T]
  ? true
  : false;

/** The name of a service's subscription: the server-streaming method whose messages carry EventInfo. */
export type SubscriptionName<S extends DescService> = {
  [K in keyof S["method"]]: S["method"][K] extends DescMethodServerStreaming<DescMessage, infer O>
    ? HasInfo<MessageShape<O>> extends true
      ? K
      : never
    : never;
}[keyof S["method"]];

/** The parameters of a connection: the subscription's request. */
export type ConnectParams<S extends DescService> = MessageInitShape<S["method"][SubscriptionName<S>]["input"]>;

/** The union message of an actor type's events: the subscription's response. */
export type EventUnion<S extends DescService> = MessageShape<S["method"][SubscriptionName<S>]["output"]>;

type OneofOf<U> = {
  [P in keyof U]-?: U[P] extends { case: string | undefined; value?: unknown } ? U[P] : never;
}[keyof U];

type SetCase<U> = Extract<OneofOf<U>, { case: string; value: unknown }>;

/** The events of a union message: from the name of each to its payload. */
export type EventMap<U> = { [E in SetCase<U> as E["case"]]: E["value"] };

/** The events of an actor type: from the name of each to its payload. */
export type ActorEvents<S extends DescService> = EventMap<EventUnion<S>>;

/** One event, as async iteration over a connection yields it. */
export type ActorEvent<S extends DescService> = {
  [C in keyof ActorEvents<S>]: { case: C; value: ActorEvents<S>[C]; info: EventInfo };
}[keyof ActorEvents<S>];

/** The actions of an actor type: every method but the subscription. */
export type Actions<S extends DescService> = Omit<Client<S>, SubscriptionName<S>>;
