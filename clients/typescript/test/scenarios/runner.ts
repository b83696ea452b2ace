// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Does the steps of scenarios with this package, in Node and in browsers: see
// clients/scenarios/README.md.

import { type DescMethod, fromJson, type JsonObject, type JsonValue, type Message, toJson } from "@bufbuild/protobuf";
import type { CallOptions } from "@connectrpc/connect";
import { Stage, StageInputSchema, WatchRequestSchema } from "../../../../gen/ts/stage/v1/stage_pb.js";
import type { ActorClient, ActorConnection, ActorHandle } from "../../src/index.js";
import { difference, errorJson, match } from "./match.js";
import { Recording } from "./recording.js";
import type { CallStep, Result, Scenario, Step } from "./scenario.js";

/** Where a runner runs. */
export interface Place {
  /** The control of the scenarios' server. */
  control: string;
  protocol: "connect" | "grpc" | "grpc-web";
  /** Settings for every run. */
  settings: JsonObject;
  /** Makes a client of the server at baseUrl; get has it use HTTP GET where it can. */
  client(baseUrl: string, get: boolean): ActorClient;
}

type Handle = ActorHandle<typeof Stage>;
type Action = (request: Message, options?: CallOptions) => unknown;

/** How long any step may take, in milliseconds. */
const patience = 30_000;

/** How many scenarios are under way at one time: most of what they do is wait. */
const atOnce = 6;

/** Does scenarios, each with a server of its own; the results are in their order. */
export async function runScenarios(scenarios: Scenario[], place: Place): Promise<Result[]> {
  const results: Result[] = [];
  const left = scenarios.entries();
  const work = async () => {
    for (const [i, scenario] of left) {
      results[i] = await judged(scenario, place);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return results;
}

async function judged(scenario: Scenario, place: Place): Promise<Result> {
  const { name, only } = scenario;
  if (only !== undefined && !only.includes(place.protocol)) {
    return { name, verdict: "not for it" };
  }
  try {
    await runScenario(scenario, place);
    return { name, verdict: "passed" };
  } catch (error) {
    return { name, verdict: "failed", why: String((error as Error).stack ?? error) };
  }
}

async function runScenario(scenario: Scenario, place: Place): Promise<void> {
  const made = await post(`${place.control}/runs`, { ...place.settings, ...scenario.server });
  const { id, url, direct } = (await made.json()) as { id: string; url: string; direct: string };
  const run = `${place.control}/runs/${id}`;
  const performance = new Performance(place, run, url, direct);
  try {
    for (const [i, step] of scenario.steps.entries()) {
      try {
        await within(performance.perform(step));
      } catch (cause) {
        throw new Error(`step ${i + 1} (${step.do}): ${cause}`, { cause });
      }
    }
  } finally {
    performance.end();
    await fetch(run, { method: "DELETE" });
  }
}

/** One scenario under way. */
class Performance {
  private readonly handles = new Map<string, Handle>();
  private readonly clients = new Map<string, ActorClient>();
  private readonly getHandles = new Map<string, Handle>();
  private readonly connections = new Map<string, { connection: ActorConnection<typeof Stage>; recording: Recording }>();
  private readonly calls = new Map<string, { outcome: Promise<JsonValue>; abort: AbortController }>();
  private readonly saved = new Map<string, string>();
  private readonly client: ActorClient;
  private readonly direct: ActorClient;
  private readonly getter: ActorClient;

  constructor(
    place: Place,
    private readonly run: string,
    url: string,
    direct: string,
  ) {
    this.client = place.client(url, false);
    this.getter = place.client(url, true);
    this.direct = place.client(direct, false);
  }

  end(): void {
    for (const { connection } of this.connections.values()) {
      connection.dispose();
    }
    for (const { abort } of this.calls.values()) {
      abort.abort();
    }
  }

  async perform(step: Step): Promise<void> {
    switch (step.do) {
      case "handle":
        this.clients.set(step.as, step.direct ? this.direct : this.client);
        this.handles.set(step.as, this.makeHandle(step, find(this.clients, step.as)));
        this.getHandles.set(step.as, this.makeHandle(step, this.getter));
        break;
      case "create":
        await this.verdict(step, async () => {
          const input = step.input ? { input: fromJson(StageInputSchema, step.input) } : {};
          this.handles.set(step.as, await this.client.create(Stage, step.key, input));
          return {};
        });
        break;
      case "resolve":
        await this.verdict(step, async () => {
          const id = await find(this.handles, step.handle).resolve();
          match(step.is && this.text(step.is), id, "the id");
          return {};
        });
        break;
      case "destroy": {
        const id = await find(this.handles, step.handle).resolve();
        await find(this.clients, step.handle).lifecycle.destroy({ address: { id } });
        break;
      }
      case "call":
        await this.call(step);
        break;
      case "await":
        await this.verdict(step, () => find(this.calls, step.call).outcome);
        break;
      case "cancel":
        find(this.calls, step.call).abort.abort();
        break;
      case "stream":
        await this.stream(step);
        break;
      case "connect":
        this.connect(step);
        break;
      case "expect":
        await find(this.connections, step.connection).recording.expect(step.entries);
        break;
      case "status": {
        const { connection } = find(this.connections, step.connection);
        const is = () => (/^(connected|closed)$/.test(connection.status) ? connection.status : "lost");
        await until(() => is() === step.is);
        break;
      }
      case "dispose":
        find(this.connections, step.connection).connection.dispose();
        break;
      case "network":
      case "server":
        await post(`${this.run}/${step.act}${"ms" in step ? `?ms=${step.ms}` : ""}`);
        break;
      case "fetch": {
        const { method, headers, body } = step;
        const init = { ...(method && { method }), ...(headers && { headers }), ...(body && { body }) };
        const response = await find(this.handles, step.handle).fetch(step.path, init);
        const text = await response.text();
        match(step.status, response.status, "the status");
        match(step.json, step.json && (JSON.parse(text) as JsonValue), "the answer");
        break;
      }
      case "socket":
        await this.socket(step);
        break;
    }
  }

  private makeHandle(step: Extract<Step, { do: "handle" }>, client: ActorClient): Handle {
    const params = step.params ? { params: fromJson(WatchRequestSchema, step.params) } : {};
    switch (step.verb) {
      case "forId":
        return client.forId(Stage, this.text(step.id ?? ""), params);
      case "get":
        return client.get(Stage, step.key ?? [], params);
      default: {
        const input = step.input ? { input: fromJson(StageInputSchema, step.input) } : {};
        return client.getOrCreate(Stage, step.key ?? [], { ...params, ...input });
      }
    }
  }

  /** Checks what a step's work comes to: a reply that matches, or the error. */
  private async verdict(step: { reply?: JsonObject; error?: JsonObject }, work: () => Promise<JsonValue>) {
    let reply: JsonValue;
    try {
      reply = await work();
    } catch (thrown) {
      if (step.error === undefined) {
        throw thrown;
      }
      match(step.error, errorJson(thrown), "the error");
      return;
    }
    if (step.error !== undefined) {
      throw new Error(`it did not fail but gave ${JSON.stringify(reply)}`);
    }
    match(step.reply, reply, "the reply");
  }

  private async call(step: CallStep): Promise<void> {
    const abort = new AbortController();
    const once = () => this.callOnce(step, abort.signal);
    if (step.later !== undefined) {
      const outcome = once();
      outcome.catch(() => {}); // the await step looks at it
      this.calls.set(step.later, { outcome, abort });
    } else if (step.eventually) {
      await until(async () => difference(step.reply, await once(), "the reply") === undefined);
    } else {
      await this.verdict(step, once);
    }
  }

  private async callOnce(step: CallStep, signal: AbortSignal): Promise<JsonValue> {
    const { method, call } = this.action(step.on, step.method, step.get ?? false);
    let headers = new Headers();
    const reply = (await call(fromJson(method.input, step.request ?? {}), {
      signal,
      ...(step.timeoutMs ? { timeoutMs: step.timeoutMs } : {}),
      ...(step.idempotencyKey ? { headers: { "idempotency-key": step.idempotencyKey } } : {}),
      onHeader: (got) => {
        headers = got;
      },
    })) as Message;
    if (step.created !== undefined) {
      match(step.created, headers.get("actor-created") === "true", "created");
    }
    if (step.saveId) {
      this.saved.set(step.saveId, headers.get("actor-id") ?? "");
    }
    if (step.saveCursor) {
      this.saved.set(step.saveCursor, headers.get("actor-cursor") ?? "");
    }
    return toJson(method.output, reply);
  }

  private action(on: string, name: string, get: boolean): { method: DescMethod; call: Action } {
    const method = Stage.methods.find((candidate) => candidate.name === name);
    if (method === undefined) {
      throw new Error(`there is no method ${name}`);
    }
    const handle = get ? this.getHandles.get(on) : this.handles.get(on);
    const actions = handle?.rpc ?? find(this.connections, on).connection.actor;
    return { method, call: (actions as unknown as Record<string, Action>)[method.localName] as Action };
  }

  private async stream(step: Extract<Step, { do: "stream" }>): Promise<void> {
    const { method, call } = this.action(step.on, step.method, false);
    const got: JsonValue[] = [];
    await this.verdict(step, async () => {
      for await (const message of call(fromJson(method.input, step.request ?? {})) as AsyncIterable<Message>) {
        got.push(toJson(method.output, message));
        if (step.leave && got.length === step.messages.length) {
          break;
        }
      }
      return {};
    });
    match(step.messages, got, "the messages");
  }

  private connect(step: Extract<Step, { do: "connect" }>): void {
    const all = [step.params ?? {}].flat().map((params) => fromJson(WatchRequestSchema, params));
    let attempt = 0;
    const params = () => all[Math.min(attempt++, all.length - 1)] ?? {};
    const connection = find(this.handles, step.handle).connect(params, {
      backoffMaxMs: 1000,
      ...(step.events ? { events: step.events } : {}),
      ...(step.cursor ? { cursor: this.text(step.cursor) } : {}),
    });
    this.connections.set(step.as, { connection, recording: new Recording(connection) });
  }

  private async socket(step: Extract<Step, { do: "socket" }>): Promise<void> {
    const socket = find(this.handles, step.handle).webSocket(step.path);
    const received: string[] = [];
    await new Promise<void>((resolve, reject) => {
      socket.onopen = () => {
        for (const text of step.send) {
          socket.send(text);
        }
      };
      socket.onmessage = ({ data }) => received.push(String(data));
      socket.onerror = () => reject(new Error("the socket failed"));
      socket.onclose = () => resolve();
    });
    match(step.receive, received, "what came");
  }

  /** A text of a step, or what was saved under its name. */
  private text(text: string): string {
    return text.startsWith("$") ? find(this.saved, text.slice(1)) : text;
  }
}

function find<T>(all: Map<string, T>, name: string): T {
  const found = all.get(name);
  if (found === undefined) {
    throw new Error(`there is no ${name}`);
  }
  return found;
}

async function post(url: string, body?: JsonObject): Promise<Response> {
  const response = await fetch(url, { method: "POST", ...(body ? { body: JSON.stringify(body) } : {}) });
  if (!response.ok) {
    throw new Error(`${url}: ${await response.text()}`);
  }
  return response;
}

async function within(work: Promise<void>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing came of it in ${patience} ms`)), patience);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + patience; // within says that it is late
  while (Date.now() < end && !(await condition())) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
