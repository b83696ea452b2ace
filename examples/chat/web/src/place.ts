// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { decodeKey, encodeKey } from "@troupe/client";

/** Which room the page shows: the key of its actor. */
export interface Place {
  readonly org: string;
  readonly room: string;
}

/** The URL hash of a room. It is the text of the key, as on the wire. */
export function hashOf({ org, room }: Place): string {
  return `#/${encodeKey([org, room])}`;
}

/** The room that a URL hash names, if it names one. */
export function placeOf(hash: string): Place | undefined {
  try {
    const [org, room, ...rest] = decodeKey(hash.replace(/^#\/?/, ""));
    return org && room && rest.length === 0 ? { org, room } : undefined;
  } catch {
    return undefined;
  }
}
