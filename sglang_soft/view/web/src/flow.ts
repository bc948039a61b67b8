// A thought as tokens: a list of which only the rows in sight are in the document.
import {
  elementScroll, observeElementOffset, observeElementRect, Virtualizer,
} from "@tanstack/virtual-core";
import { type Row, type Widths, isFork, rowAt, rowsOf, widthOf } from "./rows";
import type { Texts } from "./texts";
import type { Thought } from "./thought";
import { plain, write } from "./visible";

export interface FlowEvents {
  /** A step was chosen. */
  onSelect(step: number): void;
  /** The pointer is on a step, or on none. */
  onHover(step: number | null): void;
  onKey(event: KeyboardEvent): void;
  onScroll(top: number): void;
}

/** Least first weight, or fraction of certainty, of each class b0 to b5. */
const BOUNDS = [0.99, 0.9, 0.75, 0.5, 0.3];
export const bin = (weight: number) => BOUNDS.filter((bound) => weight < bound).length;

export class Flow {
  readonly element = document.createElement("div");
  rows: Row[] = [];
  fork = 0.25;
  difference: number | null = null;
  byEntropy = false;
  selected = 0;
  private readonly inner = document.createElement("div");
  private readonly drawn = new Map<number, { row: Row; element: HTMLElement; missing: boolean }>();
  private readonly virtual: Virtualizer<HTMLElement, HTMLElement>;
  private readonly cleanUp: () => void;
  private readonly observer: ResizeObserver;
  private width = 0;

  constructor(
    readonly thought: Thought, private readonly texts: Texts, private readonly widths: Widths,
    private readonly name: string, events: FlowEvents,
  ) {
    this.element.className = "flow";
    this.element.tabIndex = 0;
    this.element.setAttribute("role", "listbox");
    this.inner.className = "rows";
    this.inner.setAttribute("role", "presentation");
    this.element.append(this.inner);
    this.virtual = new Virtualizer<HTMLElement, HTMLElement>({
      count: 0, getScrollElement: () => this.element, estimateSize: (i) => this.rows[i]!.height,
      overscan: 4, observeElementRect, observeElementOffset, scrollToFn: elementScroll,
      onChange: () => this.draw(),
    });
    this.cleanUp = this.virtual._didMount();
    this.observer = new ResizeObserver(() => this.fit());
    this.observer.observe(this.element);
    this.element.addEventListener("click", (event) => {
      const step = stepOf(event.target);
      if (step !== null) events.onSelect(step);
    });
    this.element.addEventListener("pointerover", (event) => {
      if (event.pointerType === "mouse") events.onHover(stepOf(event.target));
    });
    this.element.addEventListener("pointerleave", () => events.onHover(null));
    this.element.addEventListener("keydown", (event) => events.onKey(event));
    this.element.addEventListener("scroll", () => events.onScroll(this.element.scrollTop));
  }

  end(): void {
    this.observer.disconnect();
    this.cleanUp();
  }

  /** Compute the rows again: there are more steps, more texts, or another threshold. */
  layOut(again = false): void {
    this.element.setAttribute("aria-label", `${this.name}, ${this.thought.n} steps`);
    if (this.width <= 0) return;
    const layout = { width: this.width, fork: this.fork, difference: this.difference };
    this.rows = rowsOf(this.thought, this.texts, this.widths, layout);
    if (again) {
      for (const { element } of this.drawn.values()) element.remove();
      this.drawn.clear();
    }
    this.virtual.setOptions({ ...this.virtual.options, count: this.rows.length });
    this.virtual.measure();
    this.virtual._willUpdate();
    this.draw();
  }

  /** reveal: scroll to it. */
  select(step: number, reveal: boolean): void {
    this.chip(this.selected)?.setAttribute("aria-selected", "false");
    this.selected = step;
    const row = rowAt(this.rows, step);
    if (reveal && row >= 0) this.virtual.scrollToIndex(row, { align: "auto" });
    this.draw();
    const chip = this.chip(step);
    chip?.setAttribute("aria-selected", "true");
    if (chip) this.element.setAttribute("aria-activedescendant", chip.id);
    else this.element.removeAttribute("aria-activedescendant");
  }

  /** The step above (-1) or below (1) another one. */
  vertical(step: number, by: number): number {
    const at = rowAt(this.rows, step);
    const [own, other] = [this.rows[at], this.rows[at + by]];
    if (!own || !other) return step;
    let x = 0;
    for (let i = own.from; i < step; i++) x += this.widthOf(i);
    for (let i = other.from; i < other.to - 1; i++) {
      x -= this.widthOf(i);
      if (x < 0) return i;
    }
    return other.to - 1;
  }

  private widthOf(step: number): number {
    return widthOf(this.thought, step, this.texts, this.widths, this.fork);
  }

  get pageRows(): number {
    return Math.max(1, Math.floor(this.element.clientHeight / 32) - 1);
  }

  /** To the width that there is. */
  fit(): void {
    const style = getComputedStyle(this.element);
    const width = this.element.clientWidth - parseFloat(style.paddingLeft) * 2;
    if (width === this.width) return;
    this.width = width;
    this.layOut(true);
    this.select(this.selected, this.selected > 0);
  }

  private chip(step: number): HTMLElement | null {
    return this.element.querySelector(`#${this.idOf(step)}`);
  }

  private idOf(step: number): string {
    return `${this.name.replace(/\W/g, "")}-${step}`;
  }

  private draw(): void {
    this.inner.style.height = `${this.virtual.getTotalSize()}px`;
    const items = this.virtual.getVirtualItems();
    const wanted = new Set(items.map((item) => item.index));
    for (const [index, { element }] of this.drawn) {
      if (!wanted.has(index)) {
        element.remove();
        this.drawn.delete(index);
      }
    }
    for (const item of items) {
      const row = this.rows[item.index];
      if (!row) continue;
      let found = this.drawn.get(item.index);
      const same = found && found.row.from === row.from && found.row.to === row.to &&
        found.row.height === row.height && !found.missing;
      if (!found || !same) {
        const made = { row, ...this.made(row) };
        if (found) found.element.replaceWith(made.element);
        else this.inner.append(made.element);
        this.drawn.set(item.index, (found = made));
      }
      found.element.style.transform = `translateY(${item.start}px)`;
    }
  }

  private made(row: Row): { element: HTMLElement; missing: boolean } {
    const element = document.createElement("div");
    element.className = "row";
    element.setAttribute("role", "presentation");
    if (row.differs) {
      const label = document.createElement("span");
      label.className = "differs";
      label.setAttribute("role", "presentation");
      label.textContent = "first difference";
      element.append(label);
    }
    const line = document.createElement("div");
    line.className = "line";
    line.setAttribute("role", "presentation");
    element.append(line);
    const wanted: number[] = [];
    for (let step = row.from; step < row.to; step++) {
      wanted.push(this.thought.emitted(step));
      line.append(this.token(step, wanted));
    }
    this.texts.want(wanted);
    const missing = wanted.some((id) => this.texts.get(id) === undefined);
    return { element, missing: missing && this.texts.lookup !== null };
  }

  private token(step: number, wanted: number[]): HTMLElement {
    const { thought, texts } = this;
    const chip = document.createElement("span");
    const weight = thought.first[step]!;
    const value = this.byEntropy ? Math.exp(-thought.entropy[step]!) : weight;
    const text = texts.shown(thought.emitted(step));
    const fork = isFork(thought, step, this.fork);
    const colour = `b${bin(value)}`;
    chip.className = fork ? "token fork" : `token ${colour}`;
    chip.id = this.idOf(step);
    chip.dataset.step = String(step);
    chip.setAttribute("role", "option");
    chip.setAttribute("aria-selected", String(step === this.selected));
    chip.setAttribute("aria-posinset", String(step + 1));
    chip.setAttribute("aria-setsize", String(thought.n));
    const own = fork ? document.createElement("span") : chip;
    if (fork) {
      own.className = `own ${colour}`;
      chip.append(own);
    }
    write(own, text);
    let label = `${spoken(text)}, weight ${weight.toFixed(2)}`;
    if (fork) {
      const id = thought.alternative(step);
      wanted.push(id);
      const other = document.createElement("span");
      other.className = "other";
      write(other, texts.shown(id));
      chip.append(other);
      label += `; fork in the road, or ${spoken(texts.shown(id))}, weight ${thought.second[step]!.toFixed(2)}`;
    }
    chip.setAttribute("aria-label", label);
    return chip;
  }
}

const spoken = (text: string) => plain(text).replaceAll("·", " ").trim() || "space";

function stepOf(target: EventTarget | null): number | null {
  const chip = target instanceof Element ? target.closest<HTMLElement>(".token") : null;
  return chip ? Number(chip.dataset.step) : null;
}
