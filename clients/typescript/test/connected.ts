// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { ChatRoom } from "../../../gen/ts/chat/v1/chat_pb.js";
import { type CloseInfo, type ConnectOptions, type ConnectParamsSource, createClient } from "../src/index.js";
import { FakeClock } from "./clock.js";
import { FakeRoom } from "./room.js";

/** A connection to a fake room, and what it tells. */
export function setup(options?: ConnectOptions, params: ConnectParamsSource<typeof ChatRoom> = { user: "ada" }) {
  const room = new FakeRoom();
  const clock = new FakeClock();
  clock.chance = 1;
  const actors = createClient({ transport: room.transport(), clock });
  const connection = actors.getOrCreate(ChatRoom, ["acme", "general"]).connect(params, options);
  const statuses: string[] = [connection.status];
  connection.onStatusChange((status) => statuses.push(status));
  const closes: CloseInfo[] = [];
  connection.onClose((info) => closes.push(info));
  return { room, clock, actors, connection, statuses, closes };
}
