// A thought as the JSON form of a trace, and edits of it: what sglang_soft/trace/editing.py does.
import { base64Of } from "./bytes";
import type { Json } from "./page_data";
import { coldStopEntropy, EXTRA, type Thought } from "./thought";

/** The whole trace. Raises an Error: the page has its columns only. */
export function traceOf(thought: Thought): Json {
  if (!thought.head) throw new Error("this thought came without its whole trace.");
  const { n } = thought;
  const steps = Array.from({ length: n }, (_, i) => usedSlots(thought, i));
  const part: Json = {
    start: thought.start, step: 0, ids: steps.map((step) => step.ids),
    weights: steps.map((step) => step.weights), entropy: Array.from(thought.entropy.subarray(0, n)),
  };
  if (thought.offsets && n) {
    const data = base64Of(offsetBytes(thought));
    part.embedding_offsets = { dtype: thought.offsets.dtype, data };
  }
  for (const name of EXTRA) if (thought.extra[name]?.length && n) part[name] = thought.extra[name];
  return { ...part, ...thought.head, start: thought.start, step: 0 };
}

export function offsetBytes(thought: Thought): Uint8Array {
  const parts = thought.offsets?.parts ?? [];
  const all = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function usedSlots(thought: Thought, step: number): { ids: number[]; weights: number[] } {
  const [ids, weights]: [number[], number[]] = [[], []];
  for (let i = step * thought.k; i < (step + 1) * thought.k; i++) {
    if (thought.weights[i] === 0) continue;
    ids.push(thought.ids[i]!);
    weights.push(thought.weights[i]!);
  }
  return { ids, weights };
}

export type Edit =
  | { kind: "remove"; token: number }
  | { kind: "keep"; token: number }
  | { kind: "sharpen"; temperature: number };

/** The trace with one step changed; later steps are gone and the thought is open.
 *
 * Raises an Error: the edit is not possible, and why.
 */
export function edited(thought: Thought, step: number, edit: Edit): Json {
  const trace = structuredClone(traceOf(thought));
  if (step >= thought.thinkingTokens) throw new Error("think-end has no candidates to change.");
  const first = trace.start - trace.prompt_ids.length;
  const changed = withWeights(trace.ids[step], trace.weights[step], edit);
  let emits: number = trace.output_ids[first + step];
  if (!changed.ids.includes(emits)) {
    emits = changed.ids[changed.weights.indexOf(Math.max(...changed.weights))]!;
  }
  if (edit.kind === "keep") emits = edit.token;
  const stop = step + 1;
  const made = madeBy(trace, stop);
  const end = thinkEnd(trace);
  const outputs: number[] = [...trace.output_ids.slice(0, first + step), emits];
  const thoughtIds = outputs.slice(first);
  if (end.length && holds(thoughtIds, end)) {
    throw new Error("the step would emit think-end; ask for the answer there instead.");
  }
  const bytes = offsetBytes(thought);
  const size = thought.n ? bytes.length / thought.n : 0;
  const states: (number | null)[] = [...(trace.states?.[step] ?? [])];
  // Another request's state may have more columns.
  if (trace.segments?.length) while (states.length && states.at(-1) === null) states.pop();
  const result: Json = {
    ...trace, ...made, ids: [...trace.ids.slice(0, step), changed.ids],
    weights: [...trace.weights.slice(0, step), changed.weights],
    entropy: trace.entropy.slice(0, stop), output_ids: outputs, thinking_finish_reason: null,
    k: Math.max(trace.k ?? 1, changed.ids.length), segments: marked(trace, step),
    method_state: states.every((value) => value !== null) ? states : [],
    low_entropy_steps: lowEntropySteps(trace.entropy.slice(0, stop), made.params),
  };
  if (size) {
    const kept = bytes.slice(0, stop * size);
    if (edit.kind === "keep") kept.fill(0, step * size);
    result.embedding_offsets = { dtype: thought.offsets!.dtype, data: base64Of(kept) };
  }
  for (const name of EXTRA) {
    if (!trace[name]) continue;
    // Only the state is still that of the step: what it drew is not what it is now.
    const own = name === "states" ? trace[name][step] : trace[name][step].map(() => none(name));
    result[name] = [...trace[name].slice(0, step), own];
  }
  for (const name of ["delimiter_match", "tail_step", "tail_reason", "end_weights"]) {
    delete result[name];
  }
  const match = matched(end, thoughtIds);
  if (match) result.delimiter_match = match;
  return result;
}

const none = (name: string) => (name === "drawn" ? -1 : null);

function withWeights(ids: number[], weights: number[], edit: Edit) {
  if (edit.kind === "keep") return { ids: [edit.token], weights: [1] };
  if (edit.kind === "remove") {
    const kept = ids.map((id, i) => ({ id, weight: weights[i]! })).filter((c) => c.id !== edit.token);
    const total = kept.reduce((sum, { weight }) => sum + weight, 0);
    const sizes = kept.reduce((sum, { weight }) => sum + Math.abs(weight), 0);
    if (!(total > 1e-3 * sizes)) throw new Error("no other candidates would be left at this step.");
    return nonzero(kept.map((c) => c.id), kept.map((c) => Math.fround(c.weight / total)));
  }
  const { temperature } = edit;
  if (!(temperature >= 0 && Number.isFinite(temperature))) {
    throw new Error(`temperature must be a finite number >= 0; got ${temperature}.`);
  }
  if (!weights.length || weights.some((weight) => weight < 0)) {
    throw new Error("weights below 0 cannot be sharpened.");
  }
  if (temperature === 0) {
    return { ids: [ids[weights.indexOf(Math.max(...weights))]!], weights: [1] };
  }
  const logs = weights.map(Math.log);
  const most = Math.max(...logs);
  const powers = logs.map((log) => Math.exp((log - most) / Math.max(temperature, 1e-30)));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return nonzero(ids, powers.map((power) => Math.fround(power / total)));
}

function nonzero(ids: number[], weights: number[]) {
  return { ids: ids.filter((_, i) => weights[i] !== 0), weights: weights.filter((w) => w !== 0) };
}

function madeBy(trace: Json, steps: number): Json {
  const before = (trace.segments ?? []).filter(
    (s: Json) => s.step < Math.max(steps, 1) && !s.edited);
  const made = before.at(-1) ?? trace;
  return { method: made.method, params: made.params, seed: made.seed };
}

function marked(trace: Json, step: number): Json[] {
  const { method, params, seed } = trace;
  const own: Json[] = trace.segments?.length ? trace.segments : [{ step: 0, method, params, seed }];
  const kept = own.filter((s) => s.step < step);
  return kept.at(-1)?.edited ? kept : [...kept, { step, edited: true }];
}

function lowEntropySteps(entropy: number[], params: Json): number {
  const threshold = Math.fround(coldStopEntropy(params));
  let count = 0;
  while (count < entropy.length && entropy[entropy.length - 1 - count]! < threshold) count++;
  return count;
}

export function thinkEnd(trace: Json): number[] {
  const end = trace.tokenizer?.think_end_id ?? [];
  return Array.isArray(end) ? end : [end];
}

function holds(ids: number[], sequence: number[]): boolean {
  return ids.some((_, at) => sequence.every((id, i) => ids[at + i] === id));
}

/** Tokens of think-end, not all of them, that the thought ends with. */
function matched(sequence: number[], ids: number[]): number {
  for (let size = Math.min(sequence.length - 1, ids.length); size > 0; size--) {
    const tail = ids.slice(ids.length - size);
    if (tail.every((id, i) => id === sequence[i])) return size;
  }
  return 0;
}
