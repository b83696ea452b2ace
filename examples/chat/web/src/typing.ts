// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { type Actor, useAction, useEvent } from "@troupe/react";
import { useCallback, useEffect, useRef, useState } from "react";
import type { ChatRoom } from "../../../../gen/ts/chat/v1/chat_pb.js";

/** A member who stops typing without saying so stops after this. */
const typingMs = 6000;
/** While one types the others are told again after this. */
const typingEveryMs = 2500;

/** Who else is typing. */
export function useTypists(actor: Actor<typeof ChatRoom>, user: string): readonly string[] {
  const [typists, setTypists] = useState<readonly string[]>([]);
  const timers = useRef(new Map<string, ReturnType<typeof setTimeout>>());

  const stop = useCallback((name: string) => {
    clearTimeout(timers.current.get(name));
    timers.current.delete(name);
    setTypists((all) => (all.includes(name) ? all.filter((other) => other !== name) : all));
  }, []);
  useEvent(actor, "memberTyping", ({ user: name, typing }) => {
    stop(name);
    if (typing && name !== user) {
      timers.current.set(
        name,
        setTimeout(() => stop(name), typingMs),
      );
      setTypists((all) => [...all, name]);
    }
  });
  useEvent(actor, "messagePosted", ({ message }) => stop(message?.author ?? ""));
  useEvent(actor, "memberLeft", ({ user: name }) => stop(name));
  useEffect(() => {
    const all = timers.current;
    return () => {
      for (const timer of all.values()) {
        clearTimeout(timer);
      }
    };
  }, []);
  return actor.status === "connected" ? typists : [];
}

/** Tells the others, now and then, that the user types; and that it is over. */
export function useTyping(actor: Actor<typeof ChatRoom>): { typed: () => void; stopped: () => void } {
  const { run } = useAction(actor, "setTyping");
  const since = useRef<number | undefined>(undefined);
  const end = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const connected = actor.status === "connected";

  const stopped = useCallback(() => {
    clearTimeout(end.current);
    if (since.current !== undefined) {
      since.current = undefined;
      run({ typing: false }, { timeoutMs: 5000 }); // nothing hangs on it: a failure is not worth a word
    }
  }, [run]);
  const typed = useCallback(() => {
    if (!connected) {
      return;
    }
    const now = Date.now();
    if (since.current === undefined || now - since.current > typingEveryMs) {
      since.current = now;
      run({ typing: true }, { timeoutMs: 5000 });
    }
    clearTimeout(end.current);
    end.current = setTimeout(stopped, typingMs / 2);
  }, [connected, run, stopped]);
  useEffect(() => () => clearTimeout(end.current), []);
  return { typed, stopped };
}

/** One sentence about who types. */
export function typingSentence(users: readonly string[]): string {
  const names = users.length > 3 ? "Several people" : new Intl.ListFormat("en").format(users);
  return users.length === 0 ? "" : `${names} ${users.length === 1 ? "is" : "are"} typing…`;
}
