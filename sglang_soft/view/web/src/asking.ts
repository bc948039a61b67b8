// One request to the server, and the thought that grows from its answer.
import { call, events, json } from "./api";
import type { Json } from "./page_data";
import { Thought } from "./thought";
import type { Timing } from "./summary";

export interface Asked {
  /** Tokens of the prompt; null: the prompt of the trace. */
  prompt: number[] | null;
  sampling: Json;
  soft: Json;
}

/** A request that goes on from another thought: that one, and how many of its steps are kept. */
export interface Base {
  thought: Thought;
  steps: number;
}

const STOP_WAIT = 3000;
/** Tokens in one event: each costs the server and this page, and more than a few a glance are not
 * seen. */
const STREAM_INTERVAL = 4;

export class Run {
  private readonly rid = `view-${crypto.getRandomValues(new Uint32Array(4)).join("-")}`;
  private readonly abort = new AbortController();
  private given: number[] | null = null;
  private received: number[] = [];
  private started = 0;
  private firstAt = 0;

  constructor(
    readonly thought: Thought, private readonly asked: Asked, private readonly base: Base | null,
    private readonly grew: () => void,
  ) {}

  get timing(): Timing {
    const now = performance.now();
    const first = (this.firstAt || now) - this.started;
    return { first, whole: now - this.started, tokens: this.received.length };
  }

  /** Until the answer is whole. Raises an Error: the server refused, or the stream broke off. */
  async run(): Promise<void> {
    const { thought, asked } = this;
    this.started = performance.now();
    thought.running = true;
    if (asked.prompt) thought.promptLen = asked.prompt.length;
    let whole = false;
    try {
      const response = await call("/generate", {
        ...(asked.prompt ? { input_ids: asked.prompt } : { text: "" }), rid: this.rid, stream: true,
        sampling_params: {
          stream_interval: STREAM_INTERVAL, ...asked.sampling,
          custom_params: { soft_thinking: { ...asked.soft, return_concepts: true } },
        },
      }, this.abort.signal);
      for await (const event of events(response)) whole = this.take(event) || whole;
      if (!whole) throw new Error("the stream broke off before its end.");
    } finally {
      thought.running = false;
      this.grew();
    }
    const ids = thought.answerIds;
    if (ids.length) thought.answer = (await json("/detokenize", { tokens: ids })).text;
    this.grew();
  }

  /** The server ends the request and says what there is so far. */
  async stop(): Promise<void> {
    const timer = setTimeout(() => this.abort.abort(), STOP_WAIT);
    this.abort.signal.addEventListener("abort", () => clearTimeout(timer));
    await call("/abort_request", { rid: this.rid });
  }

  /** Returns whether it was the last event. */
  private take(event: Json): boolean {
    const { thought } = this;
    const info = event.meta_info ?? {};
    const soft = info.soft_thinking ?? {};
    const part = soft.trace;
    this.firstAt ||= performance.now();
    const before = this.received.length;
    // SGLang's ids are all of them, or with --incremental-streaming-output the new ones.
    const ids: number[] = event.output_ids ?? [];
    const only = before > 0 && ids.length === info.completion_tokens - before;
    this.received = only ? [...this.received, ...ids] : ids;
    if (part) thought.append({ ...part, format: undefined });
    this.given ??= this.givenTokens();
    thought.outputIds = this.given.concat(this.received);
    if (part?.format !== undefined) {
      thought.append(part.entropy?.length ? { ...part, ids: [], weights: [], entropy: [] } : part);
      const { trace: _, kept, ...summary } = soft;
      thought.summary = summary;
      thought.handle = kept?.id ?? null;
    }
    this.grew();
    return info.finish_reason != null;
  }

  /** Output tokens that came with the trace, as far as the first event tells. */
  private givenTokens(): number[] {
    const { base, thought } = this;
    if (!base || thought.start === null) return [];
    thought.promptLen = base.thought.promptLen;
    const first = thought.start - thought.promptLen;
    const tokens = base.thought.outputIds.slice(0, first + base.steps);
    // What was put after it (closing text and think-end) is in the steps alone.
    for (let step = base.steps; step < thought.n - this.received.length; step++) {
      tokens.push(thought.ids[step * thought.k]!);
    }
    return tokens;
  }
}
