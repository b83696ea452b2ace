// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { defineSnapshot } from "@troupe/react";
import { ChatRoom, type HistoryResponse, type Message } from "../../../../gen/ts/chat/v1/chat_pb.js";

/** A history with one more message, unless it is there. */
export function addMessage(state: HistoryResponse, message: Message | undefined): HistoryResponse {
  return message === undefined || state.messages.some(({ id }) => id === message.id)
    ? state
    : { ...state, messages: [...state.messages, message] };
}

/** What was said. */
export const history = defineSnapshot(ChatRoom, "history", {
  messagePosted: (state, { message }) => addMessage(state, message),
});

/**
 * Who is there. It hangs on the connections, so it is read again when this one was
 * lost: nobody says goodbye to a server that died.
 */
export const members = defineSnapshot(
  ChatRoom,
  "members",
  {
    memberJoined: (state, { user }) => ({ ...state, users: [...new Set([...state.users, user])].sort() }),
    memberLeft: "reread", // who left on one connection may be there on another
  },
  { rereadOnReconnect: true },
);

/** What the room is about. */
export const topic = defineSnapshot(ChatRoom, "topic", {
  topicChanged: (state, { topic: changed }) => ({ ...state, topic: changed }),
});
