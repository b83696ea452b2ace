// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { type JsonObject, type JsonValue, type Message, toJson } from "@bufbuild/protobuf";
import { type Stage, StageEventSchema } from "../../../../gen/ts/stage/v1/stage_pb.js";
import type { ActorConnection } from "../../src/index.js";
import { difference, errorJson } from "./match.js";
import type { Entry } from "./scenario.js";

type Recorded = { opened: JsonObject } | { closed: JsonObject } | { event: string; value: JsonValue };

/** What a connection goes through, in order. */
export class Recording {
  private readonly entries: Recorded[] = [];
  private position = 0;
  private wake: () => void = () => {};

  constructor(connection: ActorConnection<typeof Stage>) {
    let opened: JsonObject = {};
    connection.onOpen(({ resumed }) => {
      opened = { resumed, gap: false };
      this.add({ opened });
    });
    connection.onGap(() => {
      opened.gap = true;
    });
    connection.onClose(({ reason, code, message, error }) => {
      const why: JsonObject = error === undefined ? {} : { error: errorJson(error) };
      this.add({ closed: { reason, code: code ?? "", message, ...why } });
    });
    for (const field of StageEventSchema.oneofs[0]?.fields ?? []) {
      if (field.fieldKind === "message") {
        connection.on(field.localName as "noted", (value) => {
          this.add({ event: field.localName, value: toJson(field.message, value as Message) });
        });
      }
    }
  }

  /** Takes the next entries. */
  async expect(wanted: Entry[]): Promise<void> {
    for (const entry of wanted) {
      if (entry.opened ?? entry.closed) {
        const { opened, closed } = entry;
        fits({ ...(opened && { opened }), ...(closed && { closed }) }, await this.next());
        continue;
      }
      const values =
        entry.from === undefined
          ? [entry.value]
          : Array.from({ length: (entry.to ?? 0) - entry.from + 1 }, (_, i) => ({ n: (entry.from ?? 0) + i }));
      let reopened = 0;
      for (const value of values) {
        const want: JsonObject = { event: entry.event ?? "", ...(value === undefined ? {} : { value }) };
        let got = await this.next();
        while (
          (entry.reopens !== undefined && "opened" in got) ||
          (entry.skip && "event" in got && got.event === entry.event && misfit(want, got) !== undefined)
        ) {
          if ("opened" in got) {
            fits({ opened: { resumed: true, gap: false } }, got);
            reopened++;
          }
          got = await this.next();
        }
        fits(want, got);
      }
      if (reopened < (entry.reopens ?? 0)) {
        throw new Error(`the connection opened again ${reopened} times, not ${entry.reopens}`);
      }
    }
  }

  private add(entry: Recorded): void {
    this.entries.push(entry);
    this.wake();
  }

  private async next(): Promise<Recorded> {
    for (;;) {
      const entry = this.entries[this.position];
      if (entry !== undefined) {
        this.position++;
        return entry;
      }
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }
}

function misfit(want: JsonObject, got: Recorded): string | undefined {
  return difference(want, got as JsonObject, "the entry");
}

function fits(want: JsonObject, got: Recorded): void {
  const why = misfit(want, got);
  if (why !== undefined) {
    throw new Error(`${why}; want ${JSON.stringify(want)}, got ${JSON.stringify(got).slice(0, 500)}`);
  }
}
