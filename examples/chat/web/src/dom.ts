// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

/** The element of an id. The page is wrong without it. */
export function element<K extends keyof HTMLElementTagNameMap>(id: string, tag: K): HTMLElementTagNameMap[K] {
  const found = document.getElementById(id);
  if (found?.localName !== tag) {
    throw new Error(`the page has no <${tag} id="${id}">`);
  }
  return found as HTMLElementTagNameMap[K];
}

/** The first element inside root that matches. */
export function inside<E extends HTMLElement>(root: ParentNode, selector: string): E {
  const found = root.querySelector<E>(selector);
  if (found === null) {
    throw new Error(`nothing matches ${selector}`);
  }
  return found;
}

/** Makes an element. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className: string,
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...children);
  return made;
}

/** Makes children the children of parent and touches none that is in its place already. */
export function arrange(parent: Element, children: readonly Element[]): void {
  const wanted = new Set(children);
  for (const child of [...parent.children]) {
    if (!wanted.has(child)) {
      child.remove();
    }
  }
  children.forEach((child, i) => {
    const present = parent.children[i];
    if (present !== child) {
      parent.insertBefore(child, present ?? null);
    }
  });
}

/** Makes an avatar of a name: its initials on a colour of its own. */
export function paintAvatar(avatar: HTMLElement, name: string): void {
  const words = name.trim().split(/\s+/);
  const letters =
    words.length > 1 ? [words[0], words.at(-1)].map((word) => [...(word ?? "")][0]) : [...name.trim()].slice(0, 2);
  avatar.textContent = letters.join("").toUpperCase();
  let hash = 0;
  for (const c of name) {
    hash = (hash * 31 + (c.codePointAt(0) ?? 0)) >>> 0;
  }
  avatar.style.setProperty("--hue", String((hash % 24) * 15));
}

/** A text with its web addresses as links. */
export function linkify(text: string): (Node | string)[] {
  return text.split(/(https?:\/\/[^\s<>"]*[^\s<>".,;:!?)\]}'])/g).map((part, i) => {
    if (i % 2 === 0) {
      return part;
    }
    const link = make("a", "", part);
    link.href = part;
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    return link;
  });
}
