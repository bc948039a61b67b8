// The server's API. The key, where one is needed, stays in this tab.
import { the } from "./dom";
import type { Json } from "./page_data";

const KEY = "sglang-soft-key";

/** A refusal, in the server's words. */
export class Refused extends Error {}

export async function call(path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  for (;;) {
    const headers: Record<string, string> = {};
    const key = sessionStorage.getItem(KEY);
    if (key) headers.Authorization = `Bearer ${key}`;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const response = await sent(path, {
      method: body === undefined ? "GET" : "POST", headers, cache: "no-store", signal,
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    if (response.ok) return response;
    if (response.status === 401 && (await askKey())) continue;
    throw new Refused(await reason(response));
  }
}

async function sent(path: string, request: RequestInit): Promise<Response> {
  try {
    return await fetch(path, request);
  } catch (error) {
    if (error instanceof TypeError) throw new Error("there is no answer from the server.");
    throw error;
  }
}

export const json = async (path: string, body?: unknown): Promise<any> =>
  (await call(path, body)).json();

/** The events of a stream. Raises Refused: the server broke it off, and why. */
export async function* events(response: Response): AsyncGenerator<Json> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      const content = line.startsWith("data:") ? line.slice(5).trim() : "";
      if (!content || content === "[DONE]") continue;
      const event = JSON.parse(content);
      if (event.error) throw new Refused(event.error.message ?? JSON.stringify(event.error));
      yield event;
    }
  }
}

async function reason(response: Response): Promise<string> {
  const text = await response.text();
  try {
    const found = JSON.parse(text);
    const said = found.error?.message ?? found.error ?? found.message ?? found.detail;
    return typeof said === "string" ? said : text;
  } catch {
    return text.slice(0, 500) || `HTTP ${response.status}`;
  }
}

let asking: Promise<boolean> | null = null;

/** Resolves to false: the person gave none. */
function askKey(): Promise<boolean> {
  asking ??= new Promise<boolean>((resolve) => {
    const dialog = the<HTMLDialogElement>("key-dialog");
    const input = the<HTMLInputElement>("key");
    input.value = "";
    dialog.returnValue = "";
    dialog.addEventListener("close", () => {
      const given = dialog.returnValue === "use" && input.value !== "";
      if (given) sessionStorage.setItem(KEY, input.value);
      input.value = "";
      asking = null;
      resolve(given);
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}
