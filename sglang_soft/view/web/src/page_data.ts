// The data of a page: what view/data.py writes, and this page too when it saves itself.

export type Json = Record<string, any>;

export interface TraceData {
  name: string;
  method: string;
  question: string | null;
  start: number | null;
  prompt_len: number;
  n: number;
  k: number;
  ids: string;
  weights: string;
  entropy: string;
  output_ids: number[];
  thinking_finish_reason: string | null;
  params: Json;
  summary: Json | null;
  answer: string | null;
  trace?: string;
}

export interface PageData {
  version: number;
  traces: TraceData[];
  texts: Record<string, string>;
}

/** Raises an Error: not what this page can show. */
export function checked(value: any): PageData {
  if (value?.version !== 1) throw new Error(`version must be 1; got ${String(value?.version)}.`);
  if (!Array.isArray(value.traces) || !value.traces.length || value.traces.length > 2) {
    throw new Error("traces must be a list of one or two.");
  }
  for (const trace of value.traces) {
    for (const name of ["n", "k", "prompt_len"]) {
      if (!Number.isInteger(trace?.[name]) || trace[name] < 0) {
        throw new Error(`${name} must be a whole number >= 0; got ${String(trace?.[name])}.`);
      }
    }
    if (!Array.isArray(trace.output_ids)) throw new Error("output_ids must be a list.");
    for (const name of ["ids", "weights", "entropy"]) {
      const size = trace.n * (name === "entropy" ? 1 : trace.k) * 4;
      const padded = Math.ceil(size / 3) * 4;
      if (typeof trace[name] !== "string" || trace[name].length !== padded) {
        throw new Error(`${name} must be base64 of ${size} bytes.`);
      }
    }
  }
  return value as PageData;
}
