// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { hashOf, type Place, placeOf } from "./place.js";

// A name belongs to its tab, so that two tabs can be two people. The last one used
// is offered to the next tab.

export const nameOfTab = (): string => sessionStorage.getItem("troupe.name") ?? "";

export const suggestedName = (): string => localStorage.getItem("troupe.name") ?? "";

export function setName(name: string): void {
  sessionStorage.setItem("troupe.name", name);
  localStorage.setItem("troupe.name", name);
}

export function forgetName(): void {
  sessionStorage.removeItem("troupe.name");
}

/** The rooms that this browser was in, and this one. */
export function rememberRoom(place: Place): Place[] {
  let rooms: string[] = [];
  try {
    rooms = JSON.parse(localStorage.getItem("troupe.rooms") ?? "[]");
  } catch {
    // Somebody else's; it is written anew.
  }
  const hash = hashOf(place);
  rooms = rooms.includes(hash) ? rooms : [hash, ...rooms].slice(0, 8);
  localStorage.setItem("troupe.rooms", JSON.stringify(rooms));
  return rooms.flatMap((room) => placeOf(room) ?? []);
}
