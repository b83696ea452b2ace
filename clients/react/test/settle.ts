// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { setImmediate } from "node:timers/promises";

/** Lets everything that can happen without time happen. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 40; i++) {
    await setImmediate();
  }
}
