// The page as a file, and files that it opens.
import { base64Of, bytesOf } from "./bytes";
import { readNpz, writeNpz } from "./npz";
import { checked, type Json, type PageData } from "./page_data";
import { Thought } from "./thought";
import type { Texts } from "./texts";
import { traceOf } from "./trace_json";
import { plain } from "./visible";

/** The page as it was built, before anything was changed in it. */
export const TEMPLATE = `<!doctype html>\n${document.documentElement.outerHTML}\n`;
const BLOCK = /(<script type="application\/json" id="trace">)[^<]*(<\/script>)/;

/** A file that shows these thoughts and asks nobody. */
export async function htmlOf(thoughts: Thought[], texts: Texts): Promise<string> {
  const ids = new Set<number>();
  for (const thought of thoughts) {
    for (let i = 0; i < thought.n * thought.k; i++) {
      if (thought.weights[i] !== 0) ids.add(thought.ids[i]!);
    }
    thought.outputIds.forEach((id) => ids.add(id));
    if (thought.head) thought.npz = base64Of(writeNpz(thought));
  }
  const known = await texts.all(ids);
  const data: PageData = { version: 1, traces: thoughts.map((t) => t.toData()), texts: known };
  const json = JSON.stringify(data).replaceAll("<", "\\u003c");
  return TEMPLATE.replace(BLOCK, (_, before, after) => before + json + after)
    .replace(/(connect-src )'self'(; base)/, "$1'none'$2"); // written so that it is not found itself
}

export function npzOf(thought: Thought): Uint8Array {
  if (thought.head) return writeNpz(thought);
  if (thought.npz) return bytesOf(thought.npz);
  throw new Error("this file has the columns of the thought only.");
}

export const jsonOf = (thought: Thought): string => JSON.stringify(whole(thought).head ? traceOf(whole(thought)) : null);

/** With all of its trace, out of the npz that came with it if need be. */
export function whole(thought: Thought): Thought {
  if (thought.head || !thought.npz) return thought;
  const read = readNpz(bytesOf(thought.npz));
  thought.head = read.head;
  thought.extra = read.extra;
  thought.offsets = read.offsets;
  return thought;
}

export function save(content: BlobPart, name: string, type: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export interface Opened {
  thoughts: Thought[];
  texts: Record<string, string>;
}

/** Of this page's own data. Raises an Error that says what is wrong. */
export function fromData(value: unknown): Opened {
  const data = checked(value);
  const thoughts = data.traces.map((trace) => Thought.of(trace));
  for (const thought of thoughts) {
    try {
      whole(thought);
    } catch (error) {
      console.warn("the trace in the file is not readable:", error);
    }
  }
  return { thoughts, texts: data.texts ?? {} };
}

/** An HTML file of ours, an npz, or JSON: a trace, an answer, the data of a page. Nothing in it is
 * run. Raises an Error that says what is wrong. */
export async function opened(file: File): Promise<Opened> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const name = file.name.replace(/\.\w+$/, "");
  if (bytes[0] === 0x50 && bytes[1] === 0x4b) {
    const thought = readNpz(bytes);
    thought.name = plain(name);
    return { thoughts: [thought], texts: {} };
  }
  const text = new TextDecoder().decode(bytes);
  if (/^\s*</.test(text)) {
    // Not DOMParser: a page of 32,000 steps is one long text node.
    const block = new RegExp(BLOCK.source.replace("[^<]*", "([^<]*)")).exec(text);
    if (!block) throw new Error(`${file.name} is not a page of a thought.`);
    return fromData(JSON.parse(block[2]!));
  }
  let found: any;
  try {
    found = JSON.parse(text);
  } catch {
    throw new Error(`${file.name} is neither a page of a thought, nor npz, nor JSON.`);
  }
  if (found?.version === 1 && found.traces) return fromData(found);
  const { trace, answer } = traceIn(found);
  return { thoughts: [fromTrace(trace, name, answer)], texts: {} };
}

export function fromTrace(trace: Json, name: string, answer: Json = {}): Thought {
  if (!trace || trace.format !== 1 || !Array.isArray(trace.ids)) {
    throw new Error(`${name} holds no trace (format 1).`);
  }
  const thought = new Thought();
  thought.name = plain(name);
  thought.append({ ...trace, step: 0 });
  thought.summary = answer.summary ?? null;
  thought.answer = answer.text ?? null;
  return thought;
}

/** The trace in an answer of /generate or of a chat, its first choice; or the value itself. */
function traceIn(found: any): { trace: Json; answer: Json } {
  let text: string | null = null;
  for (const key of ["choices", "meta_info", "soft_thinking"]) {
    if (Array.isArray(found) && found.length) found = found[0];
    if (found && typeof found === "object" && key in found) {
      found = found[key];
      if (Array.isArray(found)) found = found[0];
      text = found?.message?.content ?? text;
    }
  }
  if (found?.trace && typeof found.trace === "object") {
    const { trace, ...summary } = found;
    return { trace, answer: { summary, text } };
  }
  return { trace: found, answer: {} };
}
