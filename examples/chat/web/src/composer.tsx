// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { type FormEvent, type KeyboardEvent, type RefObject, useLayoutEffect, useState } from "react";
import { Icon } from "./parts.js";

interface Props {
  readonly room: string;
  readonly connected: boolean;
  readonly input: RefObject<HTMLTextAreaElement | null>;
  readonly onSend: (text: string) => void;
  readonly onTyped: () => void;
}

/** Where one writes. What is typed stays until it can be sent. */
export function Composer({ room, connected, input, onSend, onTyped }: Props) {
  const [text, setText] = useState("");
  const ready = connected && text.trim() !== "";

  // It grows with its text.
  // biome-ignore lint/correctness/useExhaustiveDependencies: the height hangs on the text
  useLayoutEffect(() => {
    const element = input.current;
    if (element !== null) {
      element.style.height = "auto";
      element.style.height = `${element.scrollHeight}px`;
    }
  }, [text, input]);

  const send = () => {
    if (ready) {
      setText("");
      onSend(text.trim());
    }
  };
  const submit = (submission: FormEvent) => {
    submission.preventDefault();
    send();
  };
  const pressed = (key: KeyboardEvent) => {
    if (key.key === "Enter" && !key.shiftKey && !key.nativeEvent.isComposing) {
      key.preventDefault();
      send();
    }
  };
  return (
    <form className="composer" data-testid="composer" autoComplete="off" onSubmit={submit}>
      <textarea
        data-testid="composer-input"
        ref={input}
        rows={1}
        maxLength={4000}
        aria-label={`Message ${room}`}
        placeholder={`Message ${room}`}
        enterKeyHint="send"
        value={text}
        onChange={(change) => {
          setText(change.target.value);
          if (change.target.value.trim() !== "") {
            onTyped();
          }
        }}
        onKeyDown={pressed}
      />
      <button type="submit" className="primary send" data-testid="send-button" aria-label="Send" disabled={!ready}>
        <Icon path="M10 16V4M5 9l5-5 5 5" />
      </button>
    </form>
  );
}
