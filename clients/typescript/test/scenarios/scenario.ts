// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import type { JsonObject, JsonValue } from "@bufbuild/protobuf";

/** One entry of an expect step. */
export interface Entry {
  opened?: JsonObject;
  closed?: JsonObject;
  event?: string;
  value?: JsonObject;
  from?: number;
  to?: number;
  reopens?: number;
  skip?: boolean;
}

type Verdict = { reply?: JsonObject; error?: JsonObject };

/** A step, by its "do". The README of the scenarios says what each does. */
export type Step =
  | {
      do: "handle";
      as: string;
      key?: string[];
      verb?: "getOrCreate" | "get" | "forId";
      id?: string;
      input?: JsonObject;
      params?: JsonObject;
      direct?: boolean;
    }
  | { do: "create"; as: string; key: string[]; input?: JsonObject; error?: JsonObject }
  | { do: "resolve"; handle: string; is?: string; error?: JsonObject }
  | { do: "destroy"; handle: string }
  | CallStep
  | ({ do: "await"; call: string } & Verdict)
  | { do: "cancel"; call: string }
  | {
      do: "stream";
      on: string;
      method: string;
      request?: JsonObject;
      messages: JsonObject[];
      leave?: boolean;
      error?: JsonObject;
    }
  | {
      do: "connect";
      as: string;
      handle: string;
      params?: JsonObject | JsonObject[];
      events?: string[];
      cursor?: string;
    }
  | { do: "expect"; connection: string; entries: Entry[] }
  | { do: "status"; connection: string; is: "connected" | "lost" | "closed" }
  | { do: "dispose"; connection: string }
  | { do: "network"; act: string; ms?: number }
  | { do: "server"; act: string }
  | {
      do: "fetch";
      handle: string;
      path: string;
      method?: string;
      headers?: Record<string, string>;
      body?: string;
      status: number;
      json?: JsonObject;
    }
  | { do: "socket"; handle: string; path: string; send: string[]; receive: string[] };

export type CallStep = {
  do: "call";
  on: string;
  method: string;
  request?: JsonObject;
  created?: boolean;
  saveId?: string;
  saveCursor?: string;
  timeoutMs?: number;
  idempotencyKey?: string;
  get?: boolean;
  eventually?: boolean;
  later?: string;
} & Verdict;

export interface Scenario {
  name: string;
  only?: ("connect" | "grpc" | "grpc-web")[];
  server?: JsonObject;
  steps: Step[];
}

/** An exception: a scenario that a client cannot pass. */
export interface Exception {
  name: string;
  why: string;
  over?: string[];
}

/** What has become of a scenario. */
export interface Result {
  name: string;
  verdict: "passed" | "failed" | "not for it";
  why?: string;
}

export type { JsonObject, JsonValue };
