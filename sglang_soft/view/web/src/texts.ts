// The texts of tokens: those that came with the page, and those that the server is asked for.

export type Lookup = (ids: number[]) => Promise<string[]>;

export class Texts {
  private readonly known = new Map<number, string>();
  private readonly asked = new Set<number>();
  private readonly waiting = new Set<number>();
  private timer = 0;
  /** Null: there is no server. */
  lookup: Lookup | null = null;
  /** Called when more texts are known. */
  onMore: () => void = () => {};
  /** Why some will not be known. */
  failed: string | null = null;

  add(texts: Record<string, string>): void {
    for (const [id, text] of Object.entries(texts)) this.known.set(Number(id), text);
  }

  /** Undefined: not known, or not yet. */
  get(id: number): string | undefined {
    return this.known.get(id);
  }

  get size(): number {
    return this.known.size;
  }

  /** What is shown for a token. */
  shown(id: number): string {
    return this.known.get(id) ?? `#${id}`;
  }

  /** Ask for those that are not known, soon and together. */
  want(ids: Iterable<number>): void {
    if (!this.lookup) return;
    for (const id of ids) if (!this.known.has(id) && !this.asked.has(id)) this.waiting.add(id);
    if (this.waiting.size && !this.timer) this.timer = window.setTimeout(() => this.flush(), 30);
  }

  /** All of them, or an Error. */
  async all(ids: Iterable<number>): Promise<Record<string, string>> {
    const missing = [...new Set(ids)].filter((id) => !this.known.has(id));
    if (this.lookup) await this.load(missing);
    const found: Record<string, string> = {};
    for (const id of new Set(ids)) if (this.known.has(id)) found[id] = this.known.get(id)!;
    return found;
  }

  private async flush(): Promise<void> {
    const ids = [...this.waiting];
    this.waiting.clear();
    this.timer = 0;
    for (const id of ids) this.asked.add(id);
    try {
      await this.load(ids);
    } catch (error) {
      this.failed = (error as Error).message;
    }
    this.onMore();
  }

  private async load(ids: number[]): Promise<void> {
    const size = 32_768; // the server takes 65,536 at once
    for (let at = 0; at < ids.length; at += size) {
      const some = ids.slice(at, at + size);
      const texts = await this.lookup!(some);
      some.forEach((id, i) => this.known.set(id, texts[i]!));
    }
  }
}
