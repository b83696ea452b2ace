// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// The scenarios and the exceptions have the form that their README describes. What
// they say is run by test/e2e.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import type { Exception, Scenario } from "./scenarios/scenario.js";

// The tests run from the package's folder.
const folder = "../scenarios";
const read = (path: string) => JSON.parse(readFileSync(path, "utf8"));
const files = readdirSync(`${folder}/list`).map((name) => [name, read(`${folder}/list/${name}`)] as const);
const scenarios: Scenario[] = files.flatMap(([, file]) => file.scenarios);

test("every file of scenarios fits the schema", () => {
  const ajv = new Ajv2020({ allErrors: true, strict: true, allowUnionTypes: true });
  const validate = ajv.compile(read(`${folder}/schema.json`));
  for (const [name, file] of files) {
    assert.ok(validate(file), `${name}: ${ajv.errorsText(validate.errors)}`);
  }
  assert.equal(validate({ about: "x", scenarios: [{ name: "x", steps: [{ do: "dance" }] }] }), false);
  assert.equal(
    validate({ about: "x", scenarios: [{ name: "x", steps: [{ do: "cancel", call: "c", more: 1 }] }] }),
    false,
  );
});

test("no two scenarios share a name, and exceptions name scenarios", () => {
  const names = scenarios.map(({ name }) => name);
  assert.deepEqual(
    names.filter((name, i) => names.indexOf(name) !== i),
    [],
  );
  for (const client of ["go", "typescript"]) {
    const exceptions: Exception[] = read(`../${client}/scenarios.exceptions.json`);
    assert.deepEqual(
      exceptions.filter(({ name, why }) => !names.includes(name) || !why),
      [],
      client,
    );
  }
});
