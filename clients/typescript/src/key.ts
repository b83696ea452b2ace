// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import type { Key } from "./types.js";

/** Bounds one segment of a key, in UTF-8 bytes. */
export const maxSegmentBytes = 128;
/** Bounds all segments of a key together, in UTF-8 bytes. */
export const maxKeyBytes = 1024;
/** Bounds the number of segments of a key. */
export const maxSegments = 32;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The segments of a key; a string is one segment. */
export function keySegments(key: Key): readonly string[] {
  return typeof key === "string" ? [key] : key;
}

/**
 * The canonical text of a key: its segments joined by "/", every byte outside
 * A-Z a-z 0-9 - . _ ~ percent-encoded, and one "~" put in front of a segment
 * that is empty, "." or ".." or begins with "~". The encoding is injective and
 * survives URLs. The empty key is the empty string.
 *
 * Throws a RangeError if the key breaks a limit.
 */
export function encodeKey(key: Key): string {
  const segments = keySegments(key);
  checkKey(segments);
  return segments.map((segment) => (needsTilde(segment) ? "~" : "") + percentEncode(segment)).join("/");
}

/**
 * The inverse of encodeKey. It takes any valid percent-encoding, canonical or
 * not, and throws a RangeError for anything else.
 */
export function decodeKey(text: string): string[] {
  if (text === "") {
    return [];
  }
  const parts = text.split("/");
  if (parts.length > maxSegments) {
    throw new RangeError(`a key has at most ${maxSegments} segments, this one has ${parts.length}`);
  }
  const segments = parts.map(decodeSegment);
  checkKey(segments);
  return segments;
}

function percentEncode(segment: string): string {
  // encodeURIComponent works on UTF-8 bytes and leaves !'()* alone, which are
  // not unreserved.
  return encodeURIComponent(segment).replace(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`,
  );
}

function decodeSegment(part: string): string {
  if (part === "") {
    throw new RangeError("a key segment is empty; an empty segment is written ~");
  }
  const marked = part.startsWith("~");
  const text = marked ? part.slice(1) : part;
  const bytes: number[] = [];
  for (let i = 0; i < text.length; i++) {
    const c = text.charAt(i);
    if (c === "%") {
      const hex = text.slice(i + 1, i + 3);
      if (!/^[0-9A-Fa-f]{2}$/.test(hex)) {
        throw new RangeError(`key segment "${part}" has a % that two hexadecimal digits do not follow`);
      }
      bytes.push(Number.parseInt(hex, 16));
      i += 2;
    } else if (/[A-Za-z0-9\-._~]/.test(c)) {
      bytes.push(c.charCodeAt(0));
    } else {
      throw new RangeError(`key segment "${part}" has the character "${c}", which must be percent-encoded`);
    }
  }
  let segment: string;
  try {
    segment = decoder.decode(Uint8Array.from(bytes));
  } catch {
    throw new RangeError(`key segment "${part}" is not UTF-8`);
  }
  if (marked && !needsTilde(segment)) {
    throw new RangeError(
      `key segment "${part}" begins with ~, which only marks a segment that is empty, "." or ".." or begins with ~`,
    );
  }
  if (!marked && needsTilde(segment)) {
    throw new RangeError(`key segment "${part}" must be written with one ~ in front`);
  }
  return segment;
}

function needsTilde(segment: string): boolean {
  return segment === "" || segment === "." || segment === ".." || segment.startsWith("~");
}

function checkKey(segments: readonly string[]): void {
  if (segments.length > maxSegments) {
    throw new RangeError(`a key has at most ${maxSegments} segments, this one has ${segments.length}`);
  }
  let total = 0;
  segments.forEach((segment, i) => {
    const size = encoder.encode(segment).length;
    if (size > maxSegmentBytes) {
      throw new RangeError(`a key segment has at most ${maxSegmentBytes} bytes, segment ${i} has ${size}`);
    }
    if (/\p{Cs}/u.test(segment)) {
      throw new RangeError(`key segment ${i} is not UTF-8`);
    }
    if (/\p{Cc}/u.test(segment)) {
      throw new RangeError(`key segment ${i} has a control character`);
    }
    total += size;
  });
  if (total > maxKeyBytes) {
    throw new RangeError(`a key has at most ${maxKeyBytes} bytes, this one has ${total}`);
  }
}
