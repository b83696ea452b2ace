// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { Window } from "happy-dom";

// React looks for these when it is loaded, so this module comes first.
const window = new Window({ url: "http://localhost/" });
Object.assign(globalThis, {
  window,
  document: window.document,
  Node: window.Node,
  Element: window.Element,
  HTMLElement: window.HTMLElement,
  HTMLIFrameElement: window.HTMLIFrameElement,
  IS_REACT_ACT_ENVIRONMENT: true,
});
// Newer Nodes have one of their own, which cannot be assigned to.
Object.defineProperty(globalThis, "navigator", { value: window.navigator, configurable: true });
