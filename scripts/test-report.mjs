// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Reads a test run on standard input, prints what a person wants to see of it and
// appends "passed failed skipped" to a file. Exits with 1 if a test failed or none ran.
//
//   go test -json … | node scripts/test-report.mjs go TALLY
//   npm test        | node scripts/test-report.mjs node TALLY
//   scripts/…       | node scripts/test-report.mjs lines TALLY

import { appendFileSync } from "node:fs";
import { createInterface } from "node:readline";

const [format, tallyFile] = process.argv.slice(2);
const tally = { pass: 0, fail: 0, skip: 0 };
const print = (text) => process.stdout.write(text);

// Go: one line for a package, the whole output of a test that failed. A test with
// subtests is not counted itself, unless it fails and none of them did.
function goReport() {
  const packages = new Map();
  const builds = new Map();

  function testOf(pkg, name) {
    let test = pkg.tests.get(name);
    if (!test) {
      test = { output: [], result: undefined, children: 0, failedChildren: 0 };
      pkg.tests.set(name, test);
      const slash = name.lastIndexOf("/");
      if (slash > 0) testOf(pkg, name.slice(0, slash)).children++;
    }
    return test;
  }

  function close(path, pkg, event) {
    const failures = [];
    const count = { pass: 0, fail: 0, skip: 0 };
    // Subtests come after their parent in the map: from the last to the first.
    for (const [name, test] of [...pkg.tests].reverse()) {
      // A benchmark that went well has no result; a test that has none never ended.
      test.result ??= event.Action === "fail" && !name.startsWith("Benchmark") ? "fail" : "pass";
      const failed = test.result === "fail";
      if (test.children === 0 || (failed && test.failedChildren === 0)) count[test.result]++;
      if (!failed) continue;
      failures.unshift(test.output.join(""));
      const slash = name.lastIndexOf("/");
      if (slash > 0) testOf(pkg, name.slice(0, slash)).failedChildren++;
    }
    if (event.Action === "fail") {
      if (count.fail === 0) count.fail = 1; // the build, TestMain, an exit
      print(`${failures.join("")}${pkg.output.join("")}${builds.get(event.FailedBuild)?.join("") ?? ""}`);
    }
    for (const key of Object.keys(tally)) tally[key] += count[key];
    const tests = Object.values(count).reduce((a, b) => a + b);
    if (tests > 0) {
      const word = event.Action === "fail" ? "FAIL" : "ok";
      print(`${word.padEnd(5)} ${path}  ${tests} tests  ${(event.Elapsed ?? 0).toFixed(1)}s\n`);
    }
    packages.delete(path);
  }

  return (line) => {
    let event;
    try {
      event = JSON.parse(line);
    } catch {
      print(`${line}\n`); // the go command itself has something to say
      return;
    }
    if (event.Action === "build-output") {
      builds.set(event.ImportPath, [...(builds.get(event.ImportPath) ?? []), event.Output]);
      return;
    }
    if (!event.Package) return;
    if (!packages.has(event.Package)) packages.set(event.Package, { tests: new Map(), output: [] });
    const pkg = packages.get(event.Package);
    const of = event.Test ? testOf(pkg, event.Test) : pkg;
    const ended = ["pass", "fail", "skip"].includes(event.Action);
    if (event.Action === "output") of.output.push(event.Output);
    else if (ended && event.Test) {
      of.result = event.Action;
      if (event.Action !== "fail") of.output = [];
    } else if (ended) close(event.Package, pkg, event);
  };
}

// Node, in the TAP that its runner writes when nobody watches: everything but what only
// announces a test and the timings under one that passed.
function nodeReport() {
  const counted = { pass: "pass", fail: "fail", cancelled: "fail", skipped: "skip", todo: "skip" };
  let detail = "print"; // or "expect" or "drop"
  return (line) => {
    const summary = /^(?:#|ℹ) (pass|fail|cancelled|skipped|todo) (\d+)$/.exec(line);
    if (summary) tally[counted[summary[1]]] += Number(summary[2]);
    if (detail === "expect") detail = /^\s*---$/.test(line) ? "drop" : "print";
    if (detail === "print" && !/^\s*# Subtest: /.test(line)) print(`${line}\n`);
    if (detail === "drop" && /^\s*\.\.\.$/.test(line)) detail = "print";
    if (/^\s*ok \d+/.test(line)) detail = "expect";
  };
}

// A script that closes with "name: 3 passed, 0 failed, 0 skipped".
function linesReport() {
  return (line) => {
    print(`${line}\n`);
    const counts = /^[a-z]+: (\d+) passed, (\d+) failed, (\d+) skipped$/.exec(line);
    for (const [i, key] of ["pass", "fail", "skip"].entries()) tally[key] += Number(counts?.[i + 1] ?? 0);
  };
}

const report = { go: goReport, node: nodeReport, lines: linesReport }[format]();
for await (const line of createInterface({ input: process.stdin })) report(line);

if (tally.pass + tally.fail === 0) {
  print("no test ran\n");
  tally.fail = 1;
}
appendFileSync(tallyFile, `${tally.pass} ${tally.fail} ${tally.skip}\n`);
process.exitCode = tally.fail > 0 ? 1 : 0;
