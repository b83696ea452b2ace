// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { ActorError } from "@troupe/client";
import type { CSSProperties } from "react";

/** The two masks of the sign. */
export function Mark() {
  return (
    <svg className="mark" viewBox="0 0 48 48" aria-hidden="true">
      <path className="mark-back" d="M25 11c6 2 12 2 18-1 1 14-1 25-11 30-4-2-7-5-9-9" />
      <path className="mark-front" d="M5 8c8 4 16 4 24 0 2 17-1 28-12 33C6 36 3 25 5 8z" />
      <path className="mark-face" d="M10 18q2.5-2.5 5 0M19 18q2.5-2.5 5 0M10.5 26q6.5 8 13 0" />
    </svg>
  );
}

/** A line drawing in a button. */
export function Icon({ path }: { path: string }) {
  return (
    <svg viewBox="0 0 20 20" aria-hidden="true">
      <path d={path} />
    </svg>
  );
}

/** The initials of a name on a colour of its own. */
export function Avatar({ name }: { name: string }) {
  const words = name.trim().split(/\s+/);
  const letters =
    words.length > 1 ? [words[0], words.at(-1)].map((word) => [...(word ?? "")][0]) : [...name.trim()].slice(0, 2);
  let hash = 0;
  for (const c of name) {
    hash = (hash * 31 + (c.codePointAt(0) ?? 0)) >>> 0;
  }
  return (
    <span className="avatar" aria-hidden="true" style={{ "--hue": (hash % 24) * 15 } as CSSProperties}>
      {letters.join("").toUpperCase()}
    </span>
  );
}

/** A text with its web addresses as links. */
export function Linked({ text }: { text: string }) {
  const parts = text.split(/(https?:\/\/[^\s<>"]*[^\s<>".,;:!?)\]}'])/g);
  return parts.map((part, i) =>
    i % 2 === 0 ? (
      part
    ) : (
      // biome-ignore lint/suspicious/noArrayIndexKey: the parts of a text never change places
      <a key={i} href={part} target="_blank" rel="noopener noreferrer">
        {part}
      </a>
    ),
  );
}

/** What went wrong, for people. */
export function describe(thrown: unknown): string {
  if (!(thrown instanceof ActorError)) {
    return String(thrown);
  }
  const violations = thrown.violations.map(({ field, message }) => `${field}: ${message}`);
  return violations.length > 0 ? violations.join("; ") : thrown.rawMessage.replace(/\.$/, "") || "no reason was given";
}
