// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeKey, encodeKey } from "../src/key.js";
import table from "./keys.json" with { type: "json" };

test("keys are encoded as in the table", () => {
  for (const { segments, text } of table.valid) {
    assert.equal(encodeKey(segments), text);
    assert.deepEqual(decodeKey(text), segments);
  }
});

test("texts that are not canonical are read too", () => {
  for (const { text, segments, canonical } of table.otherTexts) {
    assert.deepEqual(decodeKey(text), segments);
    assert.equal(encodeKey(segments), canonical);
  }
});

test("keys that cannot be are refused", () => {
  for (const { why, segments } of table.invalidSegments) {
    assert.throws(() => encodeKey(segments), RangeError, why);
  }
  assert.throws(() => encodeKey(["\ud800"]), RangeError, "a lone surrogate");
});

test("texts that name no key are refused", () => {
  for (const { why, text } of table.invalidTexts) {
    assert.throws(() => decodeKey(text), RangeError, `${why}: ${text}`);
  }
});

test("a string is a key of one segment", () => {
  assert.equal(encodeKey("a/b"), "a%2Fb");
  assert.equal(encodeKey(""), "~");
  assert.equal(encodeKey([]), "");
});
