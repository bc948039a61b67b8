// The entropy of each step, with the threshold of Cold Stop.
import uPlot from "uplot";
import { make } from "./dom";
import { firstDifference, type Thought } from "./thought";

const HEIGHT = 126;

export class Chart {
  private plot: uPlot | null = null;
  private thoughts: Thought[] = [];
  private step = 0;
  private readonly steps: number[] = [];
  private readonly cursor = make("div", { class: "chart-cursor" });

  constructor(
    private readonly host: HTMLElement, private readonly onSelect: (step: number) => void,
  ) {
    new ResizeObserver(() => this.fit()).observe(host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.make());
    host.addEventListener("click", () => {
      const at = this.plot?.cursor.idx;
      if (at != null) this.onSelect(at);
    });
  }

  show(thoughts: Thought[]): void {
    this.thoughts = thoughts;
    this.make();
  }

  /** There are more steps. */
  grew(): void {
    this.plot?.setData(this.data());
    if (!this.thoughts.some((thought) => thought.running)) this.describe();
  }

  mark(step: number): void {
    this.step = step;
    this.place();
  }

  /** The chosen step, over the canvas: to draw 32,000 points again takes longer than a frame. */
  private place(): void {
    const { plot } = this;
    if (!plot) return;
    plot.over.append(this.cursor);
    const x = plot.valToPos(this.step, "x");
    this.cursor.style.transform = `translateX(${x}px)`;
    this.cursor.hidden = !(x >= 0 && x <= plot.over.clientWidth);
  }

  private data(): uPlot.AlignedData {
    const most = Math.max(0, ...this.thoughts.map((thought) => thought.n));
    while (this.steps.length < most) this.steps.push(this.steps.length);
    const columns = this.thoughts.map(({ entropy, n }) =>
      Array.from({ length: most }, (_, i) => (i < n ? entropy[i]! : null)));
    return [this.steps.slice(0, most), ...columns] as uPlot.AlignedData;
  }

  private fit(): void {
    const width = this.host.clientWidth;
    if (!this.plot) this.make();
    else if (width && width !== this.plot.width) this.plot.setSize({ width, height: HEIGHT });
  }

  private make(): void {
    this.plot?.destroy();
    this.plot = null;
    const width = this.host.clientWidth;
    if (!width || !this.thoughts.length) return;
    const colour = (name: string) => getComputedStyle(this.host).getPropertyValue(name).trim();
    const axis = {
      stroke: colour("--soft"), font: `11px ${colour("--sans") || "sans-serif"}`,
      grid: { stroke: colour("--grid"), width: 1 }, ticks: { show: false },
    };
    this.plot = new uPlot({
      width, height: HEIGHT, legend: { show: false }, padding: [8, 8, 0, 0],
      scales: {
        x: { time: false },
        y: { range: (_, __, most) => [0, Math.max(most, this.threshold() * 1.5, 0.1) * 1.05] },
      },
      axes: [
        { ...axis, size: 20, gap: 2, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000] },
        { ...axis, size: 40, gap: 4, space: 32 },
      ],
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      series: [
        {},
        ...this.thoughts.map((_, i) => ({
          stroke: colour(i ? "--line2" : "--line"), width: 1.5, points: { show: false },
          ...(i ? { dash: [5, 3] } : { fill: colour("--fill") }),
        })),
      ],
      hooks: { draw: [(plot: uPlot) => this.drawMarks(plot, colour), () => this.place()] },
    }, this.data(), this.host);
    this.describe();
  }

  private threshold(): number {
    return Math.max(0, ...this.thoughts.map((thought) => thought.threshold));
  }

  private drawMarks(plot: uPlot, colour: (name: string) => string): void {
    const { ctx } = plot;
    const ratio = devicePixelRatio;
    const { left, top, width, height } = plot.bbox;
    const line = (x0: number, y0: number, x1: number, y1: number) => {
      ctx.beginPath();
      ctx.moveTo(x0, y0);
      ctx.lineTo(x1, y1);
      ctx.stroke();
    };
    ctx.save();
    ctx.font = `${11 * ratio}px ${colour("--sans") || "sans-serif"}`;
    ctx.lineWidth = ratio;
    const threshold = this.threshold();
    if (threshold) {
      const y = plot.valToPos(threshold, "y", true);
      ctx.setLineDash([4 * ratio, 4 * ratio]);
      ctx.strokeStyle = ctx.fillStyle = colour("--stop");
      line(left, y, left + width, y);
      ctx.textAlign = "left";
      ctx.fillText(`Cold Stop ${threshold}`, left + 6 * ratio, y - 4 * ratio);
    }
    ctx.setLineDash([]);
    for (const { fired } of this.thoughts) {
      if (fired === null) continue;
      const x = plot.valToPos(fired, "x", true);
      ctx.strokeStyle = ctx.fillStyle = colour("--stop");
      ctx.lineWidth = 2 * ratio;
      line(x, top, x, top + height);
      ctx.textAlign = x > left + width / 2 ? "right" : "left";
      ctx.fillText("fired", x + (ctx.textAlign === "right" ? -5 : 5) * ratio, top + 11 * ratio);
    }
    ctx.restore();
  }

  private describe(): void {
    const [one, other] = this.thoughts;
    if (!one) return;
    const about = this.thoughts.map((thought) => {
      let [sum, most] = [0, 0];
      for (let i = 0; i < thought.n; i++) {
        sum += thought.entropy[i]!;
        most = Math.max(most, thought.entropy[i]!);
      }
      const mean = thought.n ? sum / thought.n : 0;
      const stop = thought.fired === null ? "" : `, ${thought.reason === "cold_stop" ? "Cold Stop" : "a stopping rule"} fired at step ${thought.fired}`;
      return `${thought.name}: ${thought.n} steps, mean ${mean.toFixed(2)}, ` +
        `largest ${most.toFixed(2)} nats${stop}`;
    });
    const differ = other ? firstDifference(one, other) : null;
    const end = differ === null ? "" : `. First difference at step ${differ}`;
    this.host.setAttribute("aria-label", `Entropy of each step. ${about.join(". ")}${end}`);
  }
}
