// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// What users name. Modules with hooks say "use client" themselves, so that what
// has none can be used in server components too.

export type { Actor, ActorAddress, ActorOptions, UnaryName } from "./actor.js";
export {
  defineSnapshot,
  type Reducer,
  type Reducers,
  type Reply,
  type Request,
  readSnapshot,
  type SnapshotDefinition,
  type SnapshotOptions,
  type SnapshotStart,
} from "./define.js";
export { ActorProvider, type ActorProviderProps, useActorClient } from "./provider.js";
export type { Snapshot } from "./store.js";
export { type ActionOptions, type ActionState, useAction } from "./useAction.js";
export { useActor } from "./useActor.js";
export { useEvent } from "./useEvent.js";
export { type UseSnapshotOptions, useSnapshot, useSuspenseSnapshot } from "./useSnapshot.js";
