// What is shown: one thought, or two next to each other, and the step under the cursor.
import { Chart } from "./chart";
import { make, say, the } from "./dom";
import { htmlOf, jsonOf, npzOf, save, whole } from "./files";
import { Flow } from "./flow";
import { isFork, rowAt, Widths } from "./rows";
import { matches } from "./search";
import { showStep, type StepActions } from "./step";
import { facts, showAnswer, type Timing } from "./summary";
import { Texts } from "./texts";
import { firstDifference, type Thought } from "./thought";
import { writeText } from "./visible";

/** Milliseconds between two drawings of a thought that grows: as fast as one reads, and the engine
 * may share the machine. */
const DRAW_EVERY = 100;

export class App {
  readonly texts = new Texts();
  thoughts: Thought[] = [];
  /** Set by the live page. */
  actions: StepActions | null = null;
  readonly timings = new Map<Thought, Timing>();
  private flows: Flow[] = [];
  private active = 0;
  private step = 0;
  private hover: number | null = null;
  private fork = 0.25;
  private frame = 0;
  private dirty = false;
  /** What the card of a step was made from. */
  private card = "";
  private readonly chart = new Chart(the("chart"), (step) => this.select(step, true));
  private readonly widths = fontsOf();

  constructor() {
    this.texts.onMore = () => this.grew();
    const fork = the<HTMLInputElement>("fork");
    fork.addEventListener("input", () => {
      this.fork = Number(fork.value);
      the("fork-value").textContent = fork.value;
      for (const flow of this.flows) flow.fork = this.fork;
      this.relay();
    });
    the("colour").addEventListener("change", () => this.relay());
    the("next-fork").addEventListener("click", () => this.toFork(1));
    the("previous-fork").addEventListener("click", () => this.toFork(-1));
    const search = the<HTMLInputElement>("search");
    search.addEventListener("input", () => this.find(0));
    search.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.find(event.shiftKey ? -1 : 1);
      else if (event.key === "Escape") this.flows[this.active]?.element.focus();
      else return;
      event.preventDefault();
    });
    document.addEventListener("keydown", (event) => {
      if (event.target === document.body && event.key === "/") this.key(event);
    });
    this.onSave("save-html", async () => {
      save(await htmlOf(this.thoughts, this.texts), "thought.html", "text/html");
    });
    this.onSave("save-npz", () => {
      save(npzOf(this.current) as BlobPart, "trace.npz", "application/octet-stream");
    });
    this.onSave("save-json", () => save(jsonOf(this.current), "trace.json", "application/json"));
  }

  get current(): Thought {
    const found = this.thoughts[this.active];
    if (!found) throw new Error("there is no thought yet.");
    return found;
  }

  /** One or two thoughts, in place of what was there. */
  show(thoughts: Thought[], step = 0): void {
    for (const flow of this.flows) flow.end();
    this.thoughts = thoughts;
    this.active = Math.min(this.active, thoughts.length - 1);
    this.step = step;
    document.body.classList.toggle("compare", thoughts.length > 1);
    document.body.classList.add("has-thought");
    this.flows = thoughts.map((thought, i) => new Flow(thought, this.texts, this.widths,
      thoughts.length > 1 ? `Thought ${i + 1}: ${thought.name}` : "Thought", {
        onSelect: (at) => { this.active = i; this.select(at, true); },
        onHover: (at) => this.point(at),
        onKey: (event) => { this.active = i; this.key(event); },
        onScroll: (top) => this.scrolled(i, top),
      }));
    the("flows").replaceChildren(...this.flows.map((flow, i) => make("div", { class: "flow-box" },
      thoughts.length > 1 && make("h3", { class: `name n${i}` }, thoughts[i]!.name), flow.element)));
    for (const flow of this.flows) {
      flow.fork = this.fork;
      flow.byEntropy = document.body.classList.contains("by-entropy");
      flow.fit();
    }
    the("answers").replaceChildren(...thoughts.map((thought, i) => make("div", { class: "answer-box" },
      thoughts.length > 1 && make("h3", { class: `name n${i}` }, thought.name),
      make("p", { class: "answer", id: `answer${i}` }))));
    const question = thoughts[0]?.question ?? null;
    the("question").hidden = question === null;
    writeText(the("question-text"), question ?? "");
    this.chart.show(thoughts);
    this.grown();
    this.select(step, step > 0);
  }

  /** A thought has more steps, or more is known of it: soon shown. */
  grew(): void {
    this.dirty = true;
    if (!this.frame) this.frame = window.setTimeout(() => requestAnimationFrame(() => {
      this.frame = 0;
      if (this.dirty) this.grown();
    }), DRAW_EVERY);
  }

  select(step: number, reveal: boolean): void {
    const most = Math.max(0, ...this.thoughts.map((thought) => thought.n - 1));
    this.step = Math.max(0, Math.min(step, most));
    for (const flow of this.flows) flow.select(this.step, reveal);
    this.chart.mark(this.step);
    this.showStep(this.step);
  }

  private grown(): void {
    this.dirty = false;
    const [one, other] = this.thoughts;
    const differ = one && other ? firstDifference(one, other) : null;
    for (const flow of this.flows) {
      const moved = flow.difference !== differ;
      flow.difference = differ;
      const follow = flow.thought.running && atEnd(flow.element);
      flow.layOut(moved);
      if (follow) flow.element.scrollTop = flow.element.scrollHeight;
    }
    this.chart.grew();
    // Made again, it would lose the focus, and cost a layout.
    const step = this.hover ?? this.step;
    if (this.card !== this.cardOf(step)) this.showStep(step);
    this.thoughts.forEach((thought, i) => showAnswer(the(`answer${i}`), thought, this.texts));
    the("facts").replaceChildren(...this.thoughts.map((thought) => {
      let forks = 0;
      for (let i = 0; i < thought.n; i++) if (isFork(thought, i, this.fork)) forks++;
      return facts(thought, this.timings.get(thought) ?? null, forks);
    }));
    the("difference").textContent = !other ? "" : differ === null
      ? "No difference so far" : `First difference at step ${differ}`;
  }

  private relay(): void {
    const byEntropy = the<HTMLSelectElement>("colour").value === "entropy";
    document.body.classList.toggle("by-entropy", byEntropy);
    for (const flow of this.flows) {
      flow.byEntropy = byEntropy;
      flow.layOut(true);
    }
    this.grown();
    this.select(this.step, true);
  }

  private point(step: number | null): void {
    if (step === this.hover) return;
    this.hover = step;
    this.chart.mark(step ?? this.step);
    this.showStep(step ?? this.step);
  }

  private showStep(step: number): void {
    // Under the pointer only a look: what can be done belongs to the chosen step.
    const actions = step === this.step ? this.actions : null;
    showStep(the("step-cards"), this.thoughts, this.active, step, this.texts, actions);
    this.card = this.cardOf(step);
  }

  private cardOf(step: number): string {
    const thoughts = this.thoughts.map(({ n, running, reason }) => [n > step, running || n, reason]);
    return [step, step === this.step, this.active, this.texts.size, ...thoughts].join();
  }

  private scrolled(index: number, top: number): void {
    this.flows.forEach((flow, i) => {
      if (i !== index && this.flows[index]!.element.matches(":hover, :focus")) flow.element.scrollTop = top;
    });
  }

  private key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const flow = this.flows[this.active];
    if (!flow) return;
    const page = (by: number) => {
      const at = Math.max(0, Math.min(flow.rows.length - 1, rowAt(flow.rows, this.step) + by));
      return flow.rows[at]?.from ?? 0;
    };
    const last = flow.thought.n - 1;
    const moves: Record<string, () => number | null> = {
      ArrowLeft: () => this.step - 1, ArrowRight: () => Math.min(this.step + 1, last),
      ArrowUp: () => flow.vertical(this.step, -1), ArrowDown: () => flow.vertical(this.step, 1),
      Home: () => 0, End: () => last,
      PageUp: () => page(-flow.pageRows), PageDown: () => page(flow.pageRows),
      n: () => this.nextFork(1), p: () => this.nextFork(-1),
    };
    const move = moves[event.key];
    if (event.key === "/") the("search").focus();
    else if (!move) return;
    else {
      const to = move();
      if (to !== null) this.select(to, true);
    }
    event.preventDefault();
  }

  private nextFork(by: number): number | null {
    const thought = this.current;
    for (let step = this.step + by; step >= 0 && step < thought.n; step += by) {
      if (isFork(thought, step, this.fork)) return step;
    }
    return null;
  }

  private toFork(by: number): void {
    if (!this.thoughts.length) return;
    const to = this.nextFork(by);
    if (to === null) say(by > 0 ? "No fork in the road after this step." : "No fork in the road before this step.");
    else this.select(to, true);
  }

  /** by: 0: from this step on; 1: the next match; -1: the one before. */
  private find(by: number): void {
    if (!this.thoughts.length) return;
    const found = matches(this.current, this.texts, the<HTMLInputElement>("search").value);
    const count = the("found");
    if (!found.length) {
      count.textContent = the<HTMLInputElement>("search").value ? "none" : "";
      return;
    }
    let at = by < 0 ? found.findLastIndex((step) => step < this.step)
      : found.findIndex((step) => (by ? step > this.step : step >= this.step));
    if (at < 0) at = by < 0 ? found.length - 1 : 0;
    count.textContent = `${at + 1} of ${found.length}`;
    this.select(found[at]!, true);
  }

  private onSave(id: string, run: () => void | Promise<void>): void {
    the(id).addEventListener("click", async () => {
      try {
        this.thoughts.forEach(whole);
        if (!this.thoughts.length) throw new Error("there is no thought yet.");
        await run();
      } catch (error) {
        say(`error: ${(error as Error).message}`, true);
      }
    });
  }
}

function fontsOf(): Widths {
  const mono = getComputedStyle(document.documentElement).getPropertyValue("--mono").trim();
  return new Widths([`14px ${mono}`, `11px ${mono}`]);
}

const atEnd = (element: HTMLElement) =>
  element.scrollTop + element.clientHeight >= element.scrollHeight - 40;
