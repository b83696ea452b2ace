// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import type { JsonValue } from "@bufbuild/protobuf";
import { ActorError, Code } from "../../src/index.js";

/** What an error is, as scenarios write it. */
export function errorJson(thrown: unknown): JsonValue {
  if (!(thrown instanceof ActorError)) {
    throw thrown;
  }
  return {
    code: (Code[thrown.code] ?? "").replace(/([a-z])([A-Z])/g, "$1_$2").toLowerCase(),
    reason: thrown.reason,
    domain: thrown.domain,
    message: thrown.rawMessage,
    metadata: { ...thrown.metadata },
    outcome: thrown.outcome,
    violations: thrown.violations.map(({ field, ruleId }) => ({ field, rule: ruleId })),
    correlated: thrown.correlationId !== "",
  };
}

/** Throws unless got has everything that want names; see the README of the scenarios. */
export function match(want: JsonValue | undefined, got: JsonValue | undefined, where: string): void {
  const why = difference(want, got, where);
  if (why !== undefined) {
    throw new Error(`${why}; it is ${JSON.stringify(got)}`);
  }
}

export function difference(want: JsonValue | undefined, got: JsonValue | undefined, where: string): string | undefined {
  if (want === undefined) {
    return undefined;
  }
  if (want === null || want === "" || want === 0 || want === false) {
    return isDefault(got) ? undefined : `${where} should be absent`;
  }
  if (Array.isArray(want)) {
    if (!Array.isArray(got) || got.length !== want.length) {
      return `${where} should be ${JSON.stringify(want)}`;
    }
    return firstOf(want.map((item, i) => difference(item, got[i], `${where}[${i}]`)));
  }
  if (typeof want === "object") {
    if (typeof got !== "object" || got === null || Array.isArray(got)) {
      return `${where} should be an object`;
    }
    return firstOf(Object.entries(want).map(([name, value]) => difference(value, got[name], `${where}.${name}`)));
  }
  return want === got ? undefined : `${where} should be ${JSON.stringify(want)}`;
}

function firstOf(found: (string | undefined)[]): string | undefined {
  return found.find((why) => why !== undefined);
}

function isDefault(value: JsonValue | undefined): boolean {
  return !value || (Array.isArray(value) && value.length === 0);
}
