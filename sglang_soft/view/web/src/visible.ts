// What a model emits, as text that a person can see and that does nothing.

/** A piece of text; mark: it stands for something that has no sign of its own. */
export interface Part {
  text: string;
  mark: boolean;
}

// Controls, format characters (bidirectional, zero-width, tags, BOM, soft hyphen), line and paragraph
// separators, lone surrogates, private use, fillers that are drawn as nothing, variation selectors.
const HIDDEN =
  /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0\ufe00-\ufe0f\u{e0100}-\u{e01ef}]/u;
// Spaces other than U+0020 look like it, or like nothing.
const SPACE = /[\p{Zs}\u2800]/u;

const cache = new Map<string, Part[]>();

/** The parts of a token's text. Spaces in the middle stay as they are. */
export function parts(text: string): Part[] {
  let found = cache.get(text);
  if (!found) {
    found = split(text);
    if (cache.size < 300_000) cache.set(text, found);
  }
  return found;
}

export const plain = (text: string) => parts(text).map((part) => part.text).join("");

function split(text: string): Part[] {
  const found: Part[] = [];
  const add = (piece: string, mark: boolean) => {
    const last = found.at(-1);
    if (last && last.mark === mark && !mark) last.text += piece;
    else found.push({ text: piece, mark });
  };
  const inner = text.replace(/^ +/, "").replace(/ +$/, "");
  const leading = inner ? text.indexOf(inner[0]!) : text.length;
  for (let i = 0; i < leading; i++) add("·", true);
  for (const sign of inner) add(...sighted(sign));
  for (let i = leading + inner.length; i < text.length; i++) add("·", true);
  if (!text) add("∅", true);
  return found;
}

function sighted(sign: string): [string, boolean] {
  const code = sign.codePointAt(0)!;
  if (sign === "\n") return ["⏎", true];
  if (sign === "\t") return ["⇥", true];
  if (code < 0x20) return [String.fromCharCode(0x2400 + code), true];
  if (code === 0x7f) return ["␡", true];
  if (HIDDEN.test(sign) || (code !== 0x20 && SPACE.test(sign))) {
    return [`\\u{${code.toString(16).toUpperCase()}}`, true];
  }
  return [sign, false];
}

/** Puts a token's text into an element, as text nodes. */
export function write(element: HTMLElement, text: string): void {
  for (const part of parts(text)) {
    if (part.mark) {
      const mark = document.createElement("span");
      mark.className = "mark";
      mark.textContent = part.text;
      element.append(mark);
    } else {
      element.append(part.text);
    }
  }
}

/** Running text, such as an answer: lines stay lines, and single spaces are no marks. */
export function writeText(element: HTMLElement, text: string): void {
  element.replaceChildren();
  for (const [at, line] of text.split("\n").entries()) {
    if (at) element.append("\n");
    for (const [i, word] of line.split(" ").entries()) {
      if (i) element.append(" ");
      if (word) write(element, word);
    }
  }
}
