// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

import { createClient } from "@troupe/client";
import { arrange, element, inside, make, paintAvatar } from "./dom.js";
import { renderFeed, resetFeed, scrollToEnd } from "./feed.js";
import { hashOf, type Place, placeOf } from "./place.js";
import { Session } from "./session.js";

const actors = createClient({ baseUrl: location.origin });

const welcome = element("welcome", "main");
const shell = element("shell", "div");
const text = element("text", "textarea");
const send = element("send", "button");
const pill = element("pill", "div");

/** The room that the page is in. */
let session: Session | undefined;
/** A render that is due; changes that come together are shown together. */
let due = false;

// A name belongs to its tab, so that two tabs can be two people. The last one
// used is offered to the next tab.
const identity = {
  get name(): string {
    return sessionStorage.getItem("troupe.name") ?? "";
  },
  get suggestion(): string {
    return localStorage.getItem("troupe.name") ?? "";
  },
  set name(name: string) {
    sessionStorage.setItem("troupe.name", name);
    localStorage.setItem("troupe.name", name);
  },
  forget(): void {
    sessionStorage.removeItem("troupe.name");
  },
};

/** Shows what the URL and the tab's name say: the welcome card or a room. */
function route(): void {
  const place = placeOf(location.hash);
  session?.dispose();
  session = undefined;
  resetFeed();
  if (place !== undefined && identity.name !== "") {
    enter(place);
  } else {
    showWelcome(place);
  }
}

function showWelcome(place: Place | undefined): void {
  shell.hidden = true;
  welcome.hidden = false;
  document.title = "Troupe chat";
  const name = element("name", "input");
  name.value ||= identity.suggestion;
  element("org", "input").value = place?.org ?? "acme";
  element("room", "input").value = place?.room ?? "general";
  name.focus();
  name.select();
}

function enter(place: Place): void {
  welcome.hidden = true;
  shell.hidden = false;
  shell.classList.remove("open");
  document.title = `${place.room} · Troupe chat`;
  element("title-org", "span").textContent = place.org;
  element("title-room", "span").textContent = place.room;
  element("my-name", "strong").textContent = identity.name;
  paintAvatar(element("my-avatar", "span"), identity.name);
  text.placeholder = `Message ${place.room}`;
  renderRooms(rememberRoom(place), place);
  session = new Session(actors, place, identity.name, () => {
    if (!due) {
      due = true;
      queueMicrotask(() => {
        due = false;
        render();
      });
    }
  });
  render();
  text.focus();
}

function render(): void {
  if (session === undefined) {
    return;
  }
  const { status, wasOpen } = session;
  pill.dataset.status = status;
  const words = { connected: "Connected", closed: "Disconnected" } as Record<string, string>;
  const label = words[status] ?? (wasOpen ? "Reconnecting…" : "Connecting…");
  const pillText = element("pill-text", "span");
  if (pillText.textContent !== label) {
    pillText.textContent = label;
  }
  element("retry", "button").hidden = status === "connected" || (status === "connecting" && !wasOpen);
  send.disabled = status !== "connected" || text.value.trim() === "";
  element("alert", "p").hidden = session.error === undefined;
  element("alert-text", "span").textContent = session.error ?? "";
  shell.classList.toggle("offline", status !== "connected");
  renderMembers(session);
  renderTyping(session.typing);
  renderFeed(session);
}

const memberItems = new Map<string, HTMLElement>();

function renderMembers({ members, user }: Session): void {
  for (const name of [...memberItems.keys()].filter((shown) => !members.includes(shown))) {
    memberItems.delete(name);
  }
  for (const name of members) {
    if (!memberItems.has(name)) {
      const avatar = make("span", "avatar");
      avatar.setAttribute("aria-hidden", "true");
      paintAvatar(avatar, name);
      const item = make("li", "", avatar, make("span", "name", name));
      item.dataset.testid = "member";
      item.dataset.user = name;
      memberItems.set(name, item);
    }
  }
  for (const [name, item] of memberItems) {
    const you = item.querySelector(".you");
    if (name === user && you === null) {
      item.append(make("span", "you", "you"));
    } else if (name !== user) {
      you?.remove();
    }
  }
  arrange(
    element("members", "ul"),
    members.flatMap((name) => memberItems.get(name) ?? []),
  );
  element("member-count", "span").textContent = members.length === 0 ? "" : String(members.length);
}

function renderTyping(users: readonly string[]): void {
  const names = users.length > 3 ? "Several people" : new Intl.ListFormat("en").format(users);
  const sentence = users.length === 0 ? "" : `${names} ${users.length === 1 ? "is" : "are"} typing…`;
  const line = element("typing", "p");
  if (line.textContent !== sentence) {
    line.textContent = sentence;
  }
}

function rememberRoom(place: Place): Place[] {
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

function renderRooms(places: readonly Place[], current: Place): void {
  const items = places.map((place) => {
    const link = make("a", "", make("span", "org", `${place.org} / `), place.room);
    link.href = hashOf(place);
    if (hashOf(place) === hashOf(current)) {
      link.setAttribute("aria-current", "page");
    }
    return make("li", "", link);
  });
  element("rooms", "ul").replaceChildren(...items);
}

/** Goes to a room, or says why that cannot be. */
function go(place: Place): string | undefined {
  try {
    const hash = hashOf(place);
    if (location.hash === hash) {
      route();
    } else {
      location.hash = hash; // route follows
    }
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

element("join", "form").addEventListener("submit", (submission) => {
  submission.preventDefault();
  const name = element("name", "input").value.trim();
  const org = element("org", "input").value.trim();
  const room = element("room", "input").value.trim();
  let problem: string | undefined;
  if (name === "" || org === "" || room === "") {
    problem = "Fill in a name, an organisation and a room.";
  } else {
    identity.name = name;
    problem = go({ org, room });
  }
  const error = element("join-error", "p");
  error.hidden = problem === undefined;
  error.textContent = problem ?? "";
});

element("go", "form").addEventListener("submit", (submission) => {
  submission.preventDefault();
  const input = element("go-room", "input");
  const [first = "", ...rest] = input.value.split("/").map((part) => part.trim());
  const place =
    rest.length === 0 ? { org: session?.place.org ?? "", room: first } : { org: first, room: rest.join("/") };
  if (place.org !== "" && place.room !== "" && go(place) === undefined) {
    input.value = "";
  }
});

element("composer", "form").addEventListener("submit", (submission) => {
  submission.preventDefault();
  const message = text.value.trim();
  if (session?.status !== "connected" || message === "") {
    return; // what is typed stays until it can be sent
  }
  text.value = "";
  resizeText();
  scrollToEnd();
  void session.send(message);
});

text.addEventListener("keydown", (key) => {
  if (key.key === "Enter" && !key.shiftKey && !key.isComposing) {
    key.preventDefault();
    element("composer", "form").requestSubmit();
  }
});

text.addEventListener("input", () => {
  resizeText();
  if (text.value.trim() !== "") {
    session?.typed();
  }
  render();
});

function resizeText(): void {
  text.style.height = "auto";
  text.style.height = `${text.scrollHeight}px`;
}

element("retry", "button").addEventListener("click", () => {
  if (session?.status === "closed") {
    route();
  } else {
    session?.connection.reconnectNow();
  }
});

element("alert-close", "button").addEventListener("click", () => {
  if (session !== undefined) {
    session.error = undefined;
    render();
  }
});

element("leave", "button").addEventListener("click", () => {
  identity.forget();
  route();
});

function openSide(open: boolean): void {
  shell.classList.toggle("open", open);
  element("open-side", "button").setAttribute("aria-expanded", String(open));
  (open ? element("close-side", "button") : text).focus();
}
element("open-side", "button").addEventListener("click", () => openSide(true));
element("close-side", "button").addEventListener("click", () => openSide(false));
element("veil", "div").addEventListener("click", () => openSide(false));
inside(shell, ".side").addEventListener("keydown", (key) => {
  if (key.key === "Escape" && shell.classList.contains("open")) {
    openSide(false);
  }
});

addEventListener("hashchange", route);
// The others see at once that a tab is gone, even one the browser keeps for later.
addEventListener("pagehide", () => session?.dispose());
addEventListener("pageshow", (shown) => {
  if (shown.persisted) {
    route();
  }
});
route();
