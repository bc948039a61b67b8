// Small helpers to make elements. Text goes into text nodes only.

import { plain } from "./visible";

type Child = Node | string | null | undefined | false;

/** options: properties of the element, but `class`, `data-*`, `aria-*` and `role` as attributes. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K, options: Record<string, unknown> = {}, ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || value === null) continue;
    if (/^(class|role|for|list)$|-/.test(name)) element.setAttribute(name, String(value));
    else (element as any)[name] = value;
  }
  element.append(...children.filter((child): child is Node | string => Boolean(child)));
  return element;
}

/** An element of the page's own markup. */
export function the<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found as T;
}

/** Tells what happened, to eyes and screen readers alike. */
export function say(text: string, bad = false): void {
  const status = the("status");
  status.classList.toggle("bad", bad);
  status.textContent = plain(text);
}
