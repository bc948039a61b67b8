// One thought: its columns, which grow while it streams, and the rest of its trace.
import { base64Of, bytesOf, float32, int32, raw } from "./bytes";
import type { Json, TraceData } from "./page_data";
import { plain } from "./visible";

/** Columns of a trace that only some have, [n][width] each. */
export const EXTRA = ["states", "logprobs", "drawn"] as const;
/** `thinking_finish_reason` of a thought whose last step is think-end. */
export const ENDED = [
  "stop_token", "cold_stop", "stop_rule", "max_thinking_tokens", "method", "eos", "request",
];

export class Thought {
  name = "";
  method = "";
  question: string | null = null;
  answer: string | null = null;
  start: number | null = null;
  promptLen = 0;
  n = 0;
  k = 0;
  ids = new Int32Array(0);
  weights = new Float32Array(0);
  entropy = new Float32Array(0);
  /** [n]: the two largest weights, and the slot of the largest and of the second. */
  first = new Float32Array(0);
  second = new Float32Array(0);
  firstSlot = new Uint8Array(0);
  secondSlot = new Uint8Array(0);
  outputIds: number[] = [];
  reason: string | null = null;
  params: Json = {};
  summary: Json | null = null;
  /** The trace without its columns; null: not here yet, or the file has the columns only. */
  head: Json | null = null;
  extra: Partial<Record<(typeof EXTRA)[number], (number | null)[][]>> = {};
  offsets: { dtype: string; parts: Uint8Array[] } | null = null;
  /** The trace as npz, base64. */
  npz: string | null = null;
  handle: string | null = null;
  running = false;

  static of(data: TraceData): Thought {
    const thought = new Thought();
    thought.name = plain(String(data.name));
    thought.method = data.method;
    thought.question = data.question;
    thought.answer = data.answer;
    thought.start = data.start;
    thought.promptLen = data.prompt_len;
    thought.outputIds = data.output_ids;
    thought.reason = data.thinking_finish_reason;
    thought.params = data.params ?? {};
    thought.summary = data.summary;
    thought.npz = data.trace ?? null;
    thought.put(int32(bytesOf(data.ids)), float32(bytesOf(data.weights)),
      float32(bytesOf(data.entropy)), data.k);
    return thought;
  }

  toData(): TraceData {
    const { n, k } = this;
    return {
      name: this.name, method: this.method, question: this.question, start: this.start,
      prompt_len: this.promptLen, n, k,
      ids: base64Of(raw(this.ids.subarray(0, n * k))),
      weights: base64Of(raw(this.weights.subarray(0, n * k))),
      entropy: base64Of(raw(this.entropy.subarray(0, n))),
      output_ids: this.outputIds, thinking_finish_reason: this.reason, params: this.params,
      summary: this.summary, answer: this.answer, ...(this.npz ? { trace: this.npz } : {}),
    };
  }

  /** More steps. ids, weights: [count, k]. */
  put(ids: Int32Array, weights: Float32Array, entropy: Float32Array, k: number): void {
    const before = this.n;
    const count = entropy.length;
    if (!count) return;
    this.widen(Math.max(k, this.k), before + count);
    for (let i = 0; i < count; i++) {
      const at = (before + i) * this.k;
      this.ids.set(ids.subarray(i * k, i * k + k), at);
      this.weights.set(weights.subarray(i * k, i * k + k), at);
    }
    this.entropy.set(entropy, before);
    this.n += count;
    for (let i = before; i < this.n; i++) this.rank(i);
  }

  /** One `trace` object, of a stream's chunk or whole. Raises an Error: chunks are missing. */
  append(part: Json): void {
    if (part.start != null) this.start = part.start;
    const rows: number[][] = part.ids ?? [];
    if ((part.step ?? this.n) !== this.n && rows.length) {
      throw new Error(`step is ${part.step}, not ${this.n}: a part of the stream is missing.`);
    }
    const k = rows.reduce((most, row) => Math.max(most, row.length), 1);
    const ids = new Int32Array(rows.length * k);
    const weights = new Float32Array(rows.length * k);
    rows.forEach((row, i) => {
      ids.set(row, i * k);
      weights.set(part.weights[i], i * k);
    });
    this.put(ids, weights, Float32Array.from(part.entropy ?? []), k);
    for (const name of EXTRA) {
      if (part[name]) (this.extra[name] ??= []).push(...part[name]);
    }
    if (part.embedding_offsets?.data) {
      this.offsets ??= { dtype: part.embedding_offsets.dtype, parts: [] };
      this.offsets.parts.push(bytesOf(part.embedding_offsets.data));
    }
    if (part.format !== undefined) this.finish(part);
  }

  /** The slots that carry weight, the largest first. */
  candidates(step: number): { id: number; weight: number; slot: number }[] {
    const found = [];
    for (let slot = 0; slot < this.k; slot++) {
      const weight = this.weights[step * this.k + slot]!;
      if (weight !== 0) found.push({ id: this.ids[step * this.k + slot]!, weight, slot });
    }
    return found.sort((a, b) => b.weight - a.weight || a.slot - b.slot);
  }

  emitted(step: number): number {
    const at = this.start === null ? -1 : this.start - this.promptLen + step;
    return this.outputIds[at] ?? this.ids[step * this.k + this.firstSlot[step]!] ?? -1;
  }

  alternative(step: number): number {
    const slot = step * this.k + this.secondSlot[step]!;
    const other = this.ids[slot]!;
    return other === this.emitted(step) ? this.ids[step * this.k + this.firstSlot[step]!]! : other;
  }

  /** Thinking steps before think-end's own. */
  get thinkingTokens(): number {
    return this.n - (this.reason !== null && ENDED.includes(this.reason) ? 1 : 0);
  }

  /** Tokens after the thought. */
  get answerIds(): number[] {
    if (this.start === null) return this.outputIds;
    return this.outputIds.slice(this.start - this.promptLen + this.n);
  }

  /** Cold Stop's threshold in nats; 0: it is off. */
  get threshold(): number {
    return coldStopEntropy(this.params);
  }

  /** The step at which Cold Stop, or another stopping rule, forced the end; null: none did. */
  get fired(): number | null {
    if (this.reason !== "cold_stop" && this.reason !== "stop_rule") return null;
    const end = this.head?.tokenizer?.think_end_id;
    const forced = (this.params.closing_ids?.length ?? 0) + (Array.isArray(end) ? end.length : 1);
    return Math.max(0, this.n - forced);
  }

  private finish(part: Json): void {
    const columns = ["step", "ids", "weights", "entropy", "embedding_offsets", ...EXTRA];
    this.head = Object.fromEntries(Object.entries(part).filter(([key]) => !columns.includes(key)));
    this.head.start = this.start;
    this.method = part.method;
    this.params = part.params ?? {};
    this.outputIds = part.output_ids;
    this.promptLen = part.prompt_ids?.length ?? 0;
    this.reason = part.thinking_finish_reason ?? null;
  }

  private widen(k: number, steps: number): void {
    const room = this.entropy.length;
    if (k === this.k && steps <= room) return;
    const size = steps <= room ? room : Math.max(steps, room * 2, 64);
    const ids = new Int32Array(size * k);
    const weights = new Float32Array(size * k);
    for (let i = 0; i < this.n; i++) {
      ids.set(this.ids.subarray(i * this.k, (i + 1) * this.k), i * k);
      weights.set(this.weights.subarray(i * this.k, (i + 1) * this.k), i * k);
    }
    const grown = <T extends Float32Array | Uint8Array>(old: T, made: T): T => (made.set(old), made);
    this.entropy = grown(this.entropy, new Float32Array(size));
    this.first = grown(this.first, new Float32Array(size));
    this.second = grown(this.second, new Float32Array(size));
    this.firstSlot = grown(this.firstSlot, new Uint8Array(size));
    this.secondSlot = grown(this.secondSlot, new Uint8Array(size));
    [this.ids, this.weights, this.k] = [ids, weights, k];
  }

  private rank(step: number): void {
    let [one, two, oneSlot, twoSlot] = [-Infinity, -Infinity, 0, 0];
    for (let slot = 0; slot < this.k; slot++) {
      const weight = this.weights[step * this.k + slot]!;
      if (weight === 0) continue;
      if (weight > one) [two, twoSlot, one, oneSlot] = [one, oneSlot, weight, slot];
      else if (weight > two) [two, twoSlot] = [weight, slot];
    }
    this.first[step] = Math.max(one, 0);
    this.second[step] = Math.max(two, 0);
    this.firstSlot[step] = oneSlot;
    this.secondSlot[step] = twoSlot;
  }
}

/** Of Cold Stop, which a request gives by keys of its own or as a stopping rule; 0: it is off. */
export function coldStopEntropy(params: Json): number {
  const rule = params.stop?.rule === "cold_stop" ? params.stop.entropy : null;
  const value = params.cold_stop_entropy || rule || 0;
  return typeof value === "number" ? value : 0;
}

/** The first step at which two thoughts emit other tokens; null: one has no such step. */
export function firstDifference(one: Thought, other: Thought): number | null {
  const both = Math.min(one.n, other.n);
  for (let step = 0; step < both; step++) {
    if (one.emitted(step) !== other.emitted(step)) return step;
  }
  return one.n === other.n || one.running || other.running ? null : both;
}
