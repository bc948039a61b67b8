// What a thought is, in one line, and its answer.
import { make } from "./dom";
import type { Thought } from "./thought";
import { written } from "./step";
import type { Texts } from "./texts";
import { plain, writeText } from "./visible";

const ENDS: Record<string, string> = {
  stop_token: "the model ended it", cold_stop: "Cold Stop ended it",
  stop_rule: "a stopping rule ended it",
  max_thinking_tokens: "ended at its bound", method: "the method ended it",
  eos: "an end of sequence ended it", request: "a request asked for the answer",
  length: "cut by its length", abort: "stopped",
};

function ended({ reason, params }: Thought): string {
  if (reason === "stop_rule" && params.stop?.rule) return `${params.stop.rule} ended it`;
  return ENDS[reason!] ?? reason!;
}

export interface Timing {
  /** Milliseconds, from sending to the first step and to the end. */
  first: number;
  whole: number;
  tokens: number;
}

export function facts(thought: Thought, timing: Timing | null, forks: number): HTMLElement {
  const { summary } = thought;
  const items: [string, string][] = [["method", thought.method || "-"]];
  items.push(["thinking", `${summary?.thinking_tokens ?? thought.thinkingTokens} tokens`]);
  const answers = summary?.answer_tokens ?? thought.answerIds.length;
  items.push(["answer", `${answers} tokens`]);
  if (thought.n) items.push(["mean entropy", `${written(mean(thought))} nats`]);
  items.push(["forks", String(forks)]);
  const end = thought.running ? "thinking" : thought.reason === null ? "" : ended(thought);
  if (end) items.push(["end", end]);
  if (timing && timing.whole > 0) {
    const speed = timing.tokens / (timing.whole / 1000);
    items.push(["time", `${(timing.whole / 1000).toFixed(2)} s, ${speed.toFixed(0)} tokens/s`]);
  }
  const list = make("dl", { class: "facts-list" });
  for (const [name, value] of items) {
    list.append(make("div", {}, make("dt", {}, name), make("dd", {}, plain(value))));
  }
  return list;
}

export function mean(thought: Thought): number {
  let sum = 0;
  for (let i = 0; i < thought.n; i++) sum += thought.entropy[i]!;
  return thought.n ? sum / thought.n : 0;
}

/** Into an element: the answer, as the server decoded it or from its tokens. */
export function showAnswer(host: HTMLElement, thought: Thought, texts: Texts): void {
  const ids = thought.answerIds;
  texts.want(ids);
  const text = thought.answer ?? ids.map((id) => texts.shown(id)).join("");
  writeText(host, text.replace(/^\n+/, ""));
}
