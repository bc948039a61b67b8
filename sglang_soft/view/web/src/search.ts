// Find text in a thought, across tokens.
import type { Texts } from "./texts";
import type { Thought } from "./thought";

/** The steps at which the text begins, in order. Case does not matter. */
export function matches(thought: Thought, texts: Texts, wanted: string): number[] {
  if (!wanted) return [];
  const starts = new Int32Array(thought.n);
  const pieces: string[] = [];
  let size = 0;
  for (let step = 0; step < thought.n; step++) {
    const piece = texts.shown(thought.emitted(step)).toLowerCase();
    starts[step] = size;
    size += piece.length;
    pieces.push(piece);
  }
  const all = pieces.join("");
  const found: number[] = [];
  const small = wanted.toLowerCase();
  let step = 0;
  for (let at = all.indexOf(small); at >= 0; at = all.indexOf(small, at + 1)) {
    while (step + 1 < thought.n && starts[step + 1]! <= at) step++;
    if (found.at(-1) !== step) found.push(step);
  }
  return found;
}
