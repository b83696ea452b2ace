// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { create, type DescMessage, type DescService, type MessageInitShape } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { clientError } from "./errors.js";
import type { ConnectParamsSource } from "./options.js";
import type { Subscription } from "./wire.js";

/** Gives the connection's parameters, for each attempt anew. */
export function paramsSource<S extends DescService>(
  subscription: Subscription,
  source: ConnectParamsSource<S> | undefined,
): () => Promise<MessageInitShape<DescMessage>> {
  if (typeof source !== "function") {
    const params = create(subscription.method.input, source ?? {}); // throws at once for what cannot be
    return async () => params;
  }
  return async () => {
    try {
      return await source();
    } catch (cause) {
      throw clientError(`the connection's parameters failed: ${cause}`, Code.Unknown, "params_failed", { cause });
    }
  };
}
