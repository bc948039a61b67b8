// The live page: ask, stop, go on from a step.
import { json, Refused } from "./api";
import type { App } from "./app";
import { type Asked, type Base, Run } from "./asking";
import { say, the } from "./dom";
import { fromTrace } from "./files";
import { Form } from "./form";
import type { Json } from "./page_data";
import { Thought } from "./thought";
import { plain } from "./visible";
import { edited, type Edit, thinkEnd, traceOf } from "./trace_json";

export async function startLive(app: App): Promise<void> {
  document.body.classList.add("live");
  the("ask").hidden = false;
  app.texts.lookup = async (ids) => (await json("/soft_thinking/texts", { ids })).texts;
  try {
    const info = await json("/soft_thinking");
    new Live(app, new Form(info));
    if (info.server.unsupported) say(`Soft Thinking is off here: ${info.server.unsupported}`, true);
    const handle = new URLSearchParams(location.search).get("trace");
    if (handle) await openKept(app, handle);
  } catch (error) {
    say(`error: ${(error as Error).message}`, true);
  }
}

async function openKept(app: App, handle: string): Promise<void> {
  const trace = await json(`/soft_thinking/traces/${encodeURIComponent(handle)}`);
  const thought = fromTrace(trace, trace.method);
  thought.handle = handle;
  thought.question = await textOf(trace.prompt_ids);
  if (thought.answerIds.length) thought.answer = await textOf(thought.answerIds);
  app.show([thought]);
  say(`Opened a kept thought of ${thought.n} steps.`);
}

const textOf = async (tokens: number[]): Promise<string> =>
  (await json("/detokenize", { tokens })).text;

const number = (id: string): number | undefined => {
  const input = the<HTMLInputElement>(id);
  if (!input.checkValidity()) throw new Error(`${input.name}: ${input.validationMessage}`);
  return input.value === "" ? undefined : Number(input.value);
};

class Live {
  private runs: Run[] = [];

  constructor(private readonly app: App, private readonly form: Form) {
    the("ask-form").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.guarded(() => this.ask());
    });
    the("question-input").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        the<HTMLFormElement>("ask-form").requestSubmit();
      }
    });
    the("stop").addEventListener("click", () => void this.guarded(async () => {
      await Promise.all(this.runs.map((run) => run.stop()));
    }));
    the("link").hidden = false;
    the("link").addEventListener("click", () => void this.guarded(() => this.link()));
    app.actions = {
      edit: (thought, step, edit) => void this.guarded(() => this.edit(thought, step, edit)),
      again: (thought, step) => void this.guarded(() => this.goOn(thought, step, "next", {}, "continued")),
      fork: (thought, step) => void this.guarded(() => this.fork(thought, step)),
      answer: (thought, step) => void this.guarded(() =>
        this.goOn(thought, Math.min(step + 1, thought.thinkingTokens), "answer", {}, "answered")),
    };
  }

  private async ask(): Promise<void> {
    const question = the<HTMLTextAreaElement>("question-input").value;
    if (!question.trim()) throw new Error("there is no question.");
    const messages = [{ role: "user", content: question }];
    const prompt: number[] = (await json("/tokenize", { messages })).tokens;
    const soft = this.form.values();
    const runs = [this.made({ prompt, sampling: this.sampling(), soft }, this.form.method)];
    if (the<HTMLInputElement>("discrete").checked) {
      const discrete = this.form.values("cot");
      runs.push(this.made({ prompt, sampling: this.sampling(), soft: discrete }, "cot, discrete"));
    }
    for (const run of runs) run.thought.question = question;
    await this.run(runs.map((run) => run.thought), runs);
  }

  private async fork(thought: Thought, step: number): Promise<void> {
    const soft = this.form.values();
    await this.goOn(thought, step, "next", { method: this.form.method, ...soft }, `fork: ${this.form.method}`,
      this.sampling());
  }

  private async goOn(
    thought: Thought, cut: number, at: string, soft: Json, name: string, sampling?: Json,
  ): Promise<void> {
    const trace = thought.handle ?? traceOf(thought);
    await this.next(thought, cut, { ...soft, trace, cut, at }, name, sampling);
  }

  private async edit(thought: Thought, step: number, edit: Edit): Promise<void> {
    if (edit.kind === "keep") {
      const end = thinkEnd(thought.head!);
      if (end.length === 1 && end[0] === edit.token) {
        return this.goOn(thought, step, "answer", {}, "ended here");
      }
    }
    const trace = edited(thought, step, edit);
    const what = edit.kind === "sharpen" ? `sharpened to ${edit.temperature}`
      : `${edit.kind === "keep" ? "only" : "without"} ${plain(this.app.texts.shown(edit.token).trim())}`;
    await this.next(thought, step + 1, { trace, at: "next" }, `step ${step} ${what}`);
  }

  /** The thought and what comes of it, next to each other. steps: of the thought that stay. */
  private async next(
    thought: Thought, steps: number, soft: Json, name: string, sampling?: Json,
  ): Promise<void> {
    const own = { temperature: number("temperature"), max_new_tokens: number("max-tokens") ?? null };
    const run = this.made({ prompt: null, sampling: sampling ?? own, soft }, name, { thought, steps });
    run.thought.question = thought.question;
    await this.run([thought, run.thought], [run], Math.max(0, steps - 1));
  }

  private made(asked: Asked, name: string, base: Base | null = null): Run {
    const thought = new Thought();
    thought.name = name;
    thought.method = asked.soft.method ?? base?.thought.method ?? this.form.method;
    thought.params = asked.soft;
    if (the<HTMLInputElement>("keep").checked) asked.soft = { ...asked.soft, keep: true };
    const run: Run = new Run(thought, asked, base, () => {
      if (thought.running) this.app.timings.set(thought, run.timing);
      // From here on the thought itself moves; a turning sign costs 60 frames a second.
      if (thought.outputIds.length) document.body.classList.remove("waiting");
      this.app.grew();
    });
    return run;
  }

  private async run(shown: Thought[], runs: Run[], step = 0): Promise<void> {
    if (this.runs.length) throw new Error("the last request is still running: stop it first.");
    this.runs = runs;
    const before = this.app.thoughts;
    this.busy(true);
    say("Thinking…");
    for (const { thought } of runs) thought.running = true;
    this.app.show(shown, step);
    try {
      const ended = await Promise.allSettled(runs.map((run) => run.run()));
      const failed = ended.find((one) => one.status === "rejected");
      if (failed) {
        // Refused: what was there is worth more than an empty thought.
        if (before.length && runs.every(({ thought }) => !thought.outputIds.length)) this.app.show(before);
        throw failed.reason;
      }
      const stopped = runs.some(({ thought }) => thought.reason === "abort");
      const counts = runs.map(({ thought }) => `${thought.thinkingTokens} thinking tokens`);
      say(`${stopped ? "Stopped" : "Done"}: ${counts.join(" and ")}.`);
    } finally {
      this.runs = [];
      this.busy(false);
      this.app.select(step, false);
    }
  }

  private sampling(): Json {
    const seed = number("seed");
    return {
      temperature: number("temperature"), max_new_tokens: number("max-tokens") ?? null,
      ...(seed === undefined ? {} : { sampling_seed: seed }),
    };
  }

  private async link(): Promise<void> {
    const { handle } = this.app.current;
    if (!handle) throw new Error("the server keeps no trace of this thought: ask with “keep”.");
    const address = new URL(location.href);
    address.searchParams.set("trace", handle);
    history.replaceState(null, "", address);
    try {
      await navigator.clipboard.writeText(address.href);
      say("The link is in the clipboard and in the address bar.");
    } catch {
      say("The link is in the address bar.");
    }
  }

  private busy(on: boolean): void {
    the<HTMLButtonElement>("stop").disabled = !on;
    the<HTMLButtonElement>("go").disabled = on;
    document.body.classList.toggle("waiting", on);
  }

  private async guarded(run: () => Promise<void>): Promise<void> {
    try {
      await run();
    } catch (error) {
      const { name, message } = error as Error;
      if (name === "AbortError") say("Stopped.");
      else say(`${error instanceof Refused ? "The server says" : "error"}: ${message}`, true);
    }
  }
}
