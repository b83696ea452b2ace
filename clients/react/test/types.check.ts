// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// What the compiler must accept and refuse. Nothing here is called; a line that
// is expected to fail and compiles fails the type check.

import { ChatRoom, type HistoryResponse, type Message, type SendResponse } from "../../../gen/ts/chat/v1/chat_pb.js";
import { Counter } from "../../../gen/ts/counter/v1/counter_pb.js";
import {
  defineSnapshot,
  type UnaryName,
  useAction,
  useActor,
  useEvent,
  useSnapshot,
  useSuspenseSnapshot,
} from "../src/index.js";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function is<T extends true>(_?: T): void {}

is<Equal<UnaryName<typeof ChatRoom>, "send" | "history" | "members" | "setTyping" | "topic" | "setTopic" | "remind">>();

const history = defineSnapshot(ChatRoom, "history", {
  messagePosted: (state, { message }, info) => {
    is<Equal<typeof state, HistoryResponse>>();
    is<Equal<typeof message, Message | undefined>>();
    is<Equal<typeof info.head, bigint>>();
    return state;
  },
  memberJoined: "reread",
});
// @ts-expect-error an event that is not there
defineSnapshot(ChatRoom, "history", { memberShouted: "reread" });
// @ts-expect-error a method that is not there
defineSnapshot(ChatRoom, "read", {});
// @ts-expect-error the subscription is not read
defineSnapshot(ChatRoom, "subscribe", {});
// @ts-expect-error a state of another type
defineSnapshot(ChatRoom, "history", { messagePosted: () => 1 });

export function useIt() {
  const room = useActor(ChatRoom, ["acme", "general"], { params: { user: "Ada" } });
  useActor(ChatRoom, { id: "1" }, { params: async () => ({ user: "Ada" }), enabled: false });
  useActor(Counter, "c");
  // @ts-expect-error parameters of another type
  useActor(ChatRoom, "x", { params: { name: "Ada" } });
  // @ts-expect-error a key of numbers
  useActor(ChatRoom, [1]);

  useEvent(room, "memberTyping", ({ user, typing }) => `${user} ${typing}`);
  // @ts-expect-error an event that is not there
  useEvent(room, "memberShouted", () => {});
  // @ts-expect-error the payload of another event
  useEvent(room, "memberLeft", ({ typing }) => typing);

  const shown = useSnapshot(room, history, { limit: 10 });
  is<Equal<typeof shown.data, HistoryResponse | undefined>>();
  const { data } = useSuspenseSnapshot(room, history, {});
  is<Equal<typeof data, HistoryResponse>>();
  // @ts-expect-error a field that is not there
  useSnapshot(room, history, { most: 10 });
  // @ts-expect-error the snapshot of another actor
  useSnapshot(useActor(Counter, "c"), history, {});

  const send = useAction(room, "send", {
    snapshot: shown,
    optimistic: (state, { text }) => ({
      ...state,
      messages: state.messages.filter((message) => message.text !== text),
    }),
    confirmed: (state, { message }) => (message === undefined ? state : { ...state, messages: [message] }),
  });
  send.run({ text: "hi" });
  is<Equal<Awaited<ReturnType<typeof send.call>>, SendResponse>>();
  // @ts-expect-error a value of the wrong type
  send.run({ text: 1 });
  // @ts-expect-error a method that is not there
  useAction(room, "shout");
  // @ts-expect-error a state of another type
  useAction(room, "send", { snapshot: shown, optimistic: () => 1 });
}
