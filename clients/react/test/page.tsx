// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import "./dom.js";
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { setTimeout } from "node:timers/promises";
import { act, Component, type ReactNode, StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { ActorProvider } from "../src/index.js";
import type { Room } from "./room.js";
import { settle } from "./settle.js";

/** A page with one root; the test's end empties it. */
export interface Page {
  readonly text: () => string;
  /** Renders something else in its place. */
  readonly render: (children: ReactNode) => Promise<void>;
  readonly click: (selector: string) => Promise<void>;
}

/** Renders under a provider, in React's strict mode. */
export async function mount(
  t: TestContext,
  room: Room,
  children: ReactNode,
  { releaseAfterMs = 5 }: { releaseAfterMs?: number } = {},
): Promise<Page> {
  const container = document.createElement("div");
  document.body.append(container);
  const root = createRoot(container);
  const render = async (content: ReactNode) => {
    await act(async () => {
      root.render(
        <StrictMode>
          <ActorProvider client={room.client} releaseAfterMs={releaseAfterMs}>
            {content}
          </ActorProvider>
        </StrictMode>,
      );
      await settle();
    });
  };
  t.after(async () => {
    await act(async () => root.unmount());
    container.remove();
    await eventually(() => assert.equal(room.streams.length, 0, "every stream ends with its page"));
  });
  await render(children);
  return {
    text: () => container.textContent ?? "",
    render,
    click: async (selector) => {
      await act(async () => {
        container.querySelector<HTMLElement>(selector)?.click();
        await settle();
      });
    },
  };
}

/** Does something and lets the page follow. */
export async function happens(what: () => unknown): Promise<void> {
  await act(async () => {
    await what();
    await settle();
  });
}

/** Repeats check until it throws no more. */
export async function eventually(check: () => void): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      check();
      return;
    } catch (error) {
      if (tries > 1000) {
        throw error;
      }
    }
    await act(async () => void (await setTimeout(10)));
  }
}

/** Shows what its children throw. */
export class Boundary extends Component<{ children: ReactNode }, { message?: string }> {
  override state: { message?: string } = {};

  static getDerivedStateFromError(error: Error) {
    return { message: error.message };
  }

  override render() {
    return this.state.message === undefined ? this.props.children : `caught: ${this.state.message}`;
  }
}
