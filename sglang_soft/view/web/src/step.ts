// One step: its candidates as bars, and in the live page what can be done there.
import { make } from "./dom";
import type { Texts } from "./texts";
import type { Thought } from "./thought";
import type { Edit } from "./trace_json";
import { plain, write } from "./visible";

/** What the live page does at a step. */
export interface StepActions {
  edit(thought: Thought, step: number, edit: Edit): void;
  /** Think again from this step on, as the thought was made. */
  again(thought: Thought, step: number): void;
  /** The same with the method and the parameters of the form. */
  fork(thought: Thought, step: number): void;
  /** Ask for the answer after this step. */
  answer(thought: Thought, step: number): void;
}

const FEW = 6;
const SMALL = 1e-4;
let every = false;

/** actions: null where there is no server. active: which thought they act on. */
export function showStep(
  host: HTMLElement, thoughts: Thought[], active: number, step: number, texts: Texts,
  actions: StepActions | null,
): void {
  const redraw = () => showStep(host, thoughts, active, step, texts, actions);
  host.replaceChildren(...thoughts.map((thought, i) => {
    const acts = i === active && !thought.running && thought.head ? actions : null;
    return card(thought, thoughts.length > 1, step, texts, acts, redraw);
  }));
}

function card(
  thought: Thought, named: boolean, step: number, texts: Texts, actions: StepActions | null,
  redraw: () => void,
): HTMLElement {
  if (step >= thought.n) {
    return make("section", { class: "card" }, make("h3", {}, thought.name),
      make("p", { class: "soft" },
        thought.running ? "It is not there yet." : `It has ${thought.n} steps.`));
  }
  const open = step < thought.thinkingTokens;
  const found = thought.candidates(step);
  const shown = every ? found : found.filter((c, i) => i < FEW && (i < 3 || c.weight >= SMALL));
  texts.want(shown.map((candidate) => candidate.id));
  const list = make("ol", { class: "bars" });
  for (const { id, weight } of shown) {
    const text = texts.shown(id);
    const bar = make("span", { class: "bar" });
    bar.style.width = `${Math.max(0.5, Math.min(1, Math.abs(weight)) * 100)}%`;
    const token = make("span", { class: "candidate" });
    write(token, text);
    const row = make("li", { title: `id ${id}` }, token, make("span", { class: "track" }, bar),
      make("span", { class: "weight" }, written(weight)));
    if (actions && open && found.length > 1) {
      const say = plain(text);
      row.append(make("span", { class: "edits" },
        small("keep", `Keep only ${say}`, () => actions.edit(thought, step, { kind: "keep", token: id })),
        small("remove", `Remove ${say}`, () => actions.edit(thought, step, { kind: "remove", token: id }))));
    }
    list.append(row);
  }
  const rest = found.length - shown.length;
  const more = rest > 0 || every
    ? small(rest > 0 ? `${rest} more` : "fewer", rest > 0 ? `Show ${rest} more candidates` : "Show fewer candidates",
      () => { every = rest > 0; redraw(); })
    : null;
  const emitted = make("span", { class: "candidate" });
  write(emitted, texts.shown(thought.emitted(step)));
  return make("section", { class: "card" },
    make("h3", {}, named ? `${thought.name}, step ${step}`
      : thought.running ? `Step ${step}` : `Step ${step} of ${thought.n}`),
    make("p", { class: "facts" }, "emits ", emitted,
      ` · entropy ${written(thought.entropy[step]!)} nats` +
      (thought.start === null ? "" : ` · position ${thought.start + step}`)),
    list, more, actions && toolbar(thought, step, open && found.length > 1, actions));
}

function toolbar(
  thought: Thought, step: number, several: boolean, actions: StepActions,
): HTMLElement {
  const temperature = make("input", {
    type: "number", min: "0", step: "any", value: "0.5", class: "short",
    "aria-label": "Temperature of sharpen",
  });
  const act = (text: string, title: string, run: () => void) =>
    make("button", { type: "button", title, onclick: run }, text);
  return make("div", { class: "toolbar", role: "group", "aria-label": `Actions at step ${step}` },
    act("Continue", "Drop this step and what follows; think again as before",
      () => actions.again(thought, step)),
    act("Fork", "The same, with the method and the parameters of the form",
      () => actions.fork(thought, step)),
    act("Answer", "Keep this step, end the thought, and answer", () => actions.answer(thought, step)),
    several && make("span", { class: "pair" }, act("Sharpen", "Weights to the power of 1/temperature",
      () => actions.edit(thought, step, {
        kind: "sharpen", temperature: temperature.value === "" ? NaN : Number(temperature.value),
      })), temperature));
}

function small(text: string, label: string, run: () => void): HTMLElement {
  return make("button", { type: "button", class: "small", "aria-label": label, title: label, onclick: run }, text);
}

export function written(value: number): string {
  if (value === 0) return "0";
  if (Math.abs(value) >= 0.001) return value.toFixed(3);
  return value.toExponential(0);
}
