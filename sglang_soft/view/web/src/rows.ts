// Lines of tokens for a width in pixels. Heights are known before anything is drawn, so a thought of
// 32,000 steps scrolls like a short one.
import type { Texts } from "./texts";
import type { Thought } from "./thought";
import { parts, plain } from "./visible";

export interface Row {
  from: number;
  /** One after the last step. */
  to: number;
  height: number;
  /** The row begins at the first step that differs from the other thought's. */
  differs: boolean;
}

export interface Layout {
  width: number;
  /** Second weight from which on a step is a fork in the road. */
  fork: number;
  /** A row begins here; null: nowhere. */
  difference: number | null;
}

export const LINE = 28;
const ALTERNATIVE = 15;
const DIFFERENCE = 22;
export const PADDING = 2;
const FORK_PADDING = 4;

/** Widths of texts in the font of the tokens and, smaller, of the alternatives. */
export class Widths {
  private readonly context = document.createElement("canvas").getContext("2d")!;
  private readonly known: [Map<string, number>, Map<string, number>] = [new Map(), new Map()];

  private readonly sign: [number | undefined, number | undefined] = [undefined, undefined];

  constructor(private readonly fonts: [string, string]) {}

  of(text: string, small = false): number {
    const known = this.known[small ? 1 : 0];
    let width = known.get(text);
    if (width === undefined) {
      width = this.measured(plain(text), small ? 1 : 0);
      known.set(text, width);
    }
    return width;
  }

  private measured(text: string, font: 0 | 1): number {
    const printable = /^[ -~·]*$/.test(text); // of one width: the fonts are monospaced
    this.context.font = this.fonts[font];
    if (!printable) return this.context.measureText(text).width;
    this.sign[font] ??= this.context.measureText("0".repeat(100)).width / 100;
    return this.sign[font] * text.length;
  }
}

export const isFork = (thought: Thought, step: number, fork: number) =>
  thought.second[step]! >= fork && thought.second[step]! > 0;

export function widthOf(
  thought: Thought, step: number, texts: Texts, widths: Widths, fork: number,
): number {
  const own = widths.of(texts.shown(thought.emitted(step)));
  if (!isFork(thought, step, fork)) return own + PADDING;
  const other = widths.of(texts.shown(thought.alternative(step)), true);
  return Math.max(own, other) + PADDING + FORK_PADDING;
}

/** All rows of a thought. */
export function rowsOf(thought: Thought, texts: Texts, widths: Widths, layout: Layout): Row[] {
  const rows: Row[] = [];
  let [from, x, forks, differs] = [0, 0, false, false];
  const close = (to: number) => {
    if (to > from) {
      const height = LINE + (forks ? ALTERNATIVE : 0) + (differs ? DIFFERENCE : 0);
      rows.push({ from, to, height, differs });
    }
    [from, x, forks, differs] = [to, 0, false, false];
  };
  for (let step = 0; step < thought.n; step++) {
    const width = widthOf(thought, step, texts, widths, layout.fork);
    if (step === layout.difference) {
      close(step);
      differs = true;
    } else if (x + width > layout.width && step > from) {
      close(step);
    }
    x += width;
    forks ||= isFork(thought, step, layout.fork);
    if (endsLine(texts.get(thought.emitted(step)))) close(step + 1);
  }
  close(thought.n);
  return rows;
}

function endsLine(text: string | undefined): boolean {
  return text !== undefined && text.includes("\n") && parts(text).at(-1)!.mark;
}

/** The row of a step; -1: there is none. */
export function rowAt(rows: Row[], step: number): number {
  let [low, high] = [0, rows.length - 1];
  while (low <= high) {
    const middle = (low + high) >> 1;
    const row = rows[middle]!;
    if (step < row.from) high = middle - 1;
    else if (step >= row.to) low = middle + 1;
    else return middle;
  }
  return -1;
}
