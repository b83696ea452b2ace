// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Looks for barriers in a page by axe-core: roles, names, contrast and the like.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What axe says is wrong with the page, as "rule: where". */
export async function findBarriers(page) {
  // The pages allow no scripts of others: this one comes by the debugger.
  await page.evaluate(axe);
  return await page.evaluate(async () => {
    const { violations } = await window.axe.run(document, {
      runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    });
    return violations.flatMap(({ id, nodes }) =>
      nodes.map(({ target, any }) => `${id}: ${target} ${any[0]?.message ?? ""}`),
    );
  });
}
