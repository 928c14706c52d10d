// uPlot with what it leaves to others: stacking, a tooltip, a legend that isolates, the keyboard, a table, a summary.

import uPlot from "uplot";

import { formatDateTime, formatQuantity, formatTick } from "app/format.js";

const COLOURS = 8;
const AXIS_WIDTH = 64;
const TIP_ROWS = 12;
const TABLE_ROWS = 200;
const BINARY_STEPS = Array.from({ length: 60 }, (_, power) => 2 ** power);

/** A chart inside a `<figure class="graph">` with `.plot` and `.legend`. */
export class Chart {
  /**
   * `setup` is `{ title, unit, stacked, minimum, maximum, height }`; `onZoom(fromMs, toMs)` is called when a range was
   * dragged, `onZoomOut()` on a double click.
   */
  constructor(figure, setup, { onZoom, onZoomOut }) {
    this.figure = figure;
    this.setup = setup;
    this.onZoom = onZoom;
    this.onZoomOut = onZoomOut;
    this.plot = figure.querySelector(".plot");
    this.legend = figure.querySelector(".legend");
    this.data = { t: [], series: [] };
    this.shown = [];
    this.uplot = null;
    this.table = null;
    this.#addTools();
    new ResizeObserver(() => this.#resize()).observe(this.plot);
    document.addEventListener("tidemark:theme", () => this.uplot && this.#draw());
  }

  /** Pixels that a series has to be drawn in. */
  get width() {
    return Math.max(200, Math.floor(this.plot.clientWidth));
  }

  /** Changes what the values count, from the next `show` on. */
  setUnit(unit) {
    if (unit === this.setup.unit) return;
    this.setup = { ...this.setup, unit };
    this.uplot?.destroy();
    this.uplot = null;
  }

  /** Shows `{ t, series }` between `fromMs` and `toMs`. */
  show(data, fromMs, toMs) {
    const labels = (series) => series.map(({ label }) => label).join("\n");
    const same = this.uplot && labels(data.series) === labels(this.data.series);
    this.data = data;
    this.range = [fromMs, toMs];
    this.figure.classList.remove("stale");
    if (same) {
      this.uplot.setData(this.#columns(), false);
      this.uplot.setScale("x", { min: fromMs, max: toMs });
    } else {
      this.shown = data.series.map(() => true);
      this.#draw();
    }
    this.#describe();
    this.#writeLegend();
    if (this.table && !this.table.hidden) this.#writeTable();
  }

  /** Marks what is shown as old, while newer data is asked for or after that failed. */
  setStale(why) {
    this.figure.classList.add("stale");
    this.note.textContent = why ?? "";
  }

  /** Shows one series alone, or all again; with `add` it switches that one. */
  isolate(at, add) {
    const alone = this.shown.every((shown, other) => shown === (other === at));
    if (add) this.shown[at] = !this.shown[at];
    else this.shown = this.shown.map((_, other) => alone || other === at);
    this.#draw();
    this.#writeLegend();
    this.figure.dispatchEvent(new CustomEvent("tidemark:isolated"));
  }

  #draw() {
    this.uplot?.destroy();
    this.tip?.remove();
    this.plot.replaceChildren();
    const styles = this.#colours();
    this.uplot = new uPlot(this.#options(styles), this.#columns(), this.plot);
    this.plot.append(this.#makeTip());
    this.plot.classList.add("drawn");
  }

  #options(styles) {
    const { unit, stacked, height } = this.setup;
    const binary = unit === "bytes" || unit === "bytes_per_second";
    const axis = { stroke: styles.quiet, grid: { stroke: styles.grid, width: 1 }, ticks: { show: false }, font: `11px ${styles.font}` };
    const line = (series, at) => ({
      label: series.label,
      show: this.shown[at],
      stroke: styles.series[at % COLOURS],
      width: 1.3,
      spanGaps: false,
      points: { show: (plot, index, from, to) => to - from < 2 },
      fill: stacked && at === this.shown.indexOf(true) ? `${toAlpha(styles.series[at % COLOURS], 0.28)}` : undefined,
    });
    return {
      width: this.width,
      height,
      ms: 1,
      padding: [8, 16, 0, 0],
      tzDate: (timestamp) => uPlot.tzDate(new Date(timestamp), "Etc/UTC"),
      legend: { show: false },
      cursor: { y: false, drag: { x: true, y: false, setScale: false }, points: { size: 6 }, bind: { dblclick: () => () => this.onZoomOut?.() } },
      scales: { x: { time: true, range: () => this.range }, y: { range: (plot, low, high) => this.#valueRange(low, high) } },
      axes: [
        { ...axis, size: 22, gap: 4, values: (plot, splits, index, space, step) => splits.map((at) => formatTick(at, step)) },
        { ...axis, size: AXIS_WIDTH, gap: 6, ...(binary ? { incrs: BINARY_STEPS } : {}), values: (plot, splits) => splits.map((at) => formatQuantity(at, unit)) },
      ],
      series: [{}, ...this.data.series.map(line)],
      bands: stacked ? this.#bands(styles) : [],
      hooks: { setCursor: [() => this.#moveTip()], setSelect: [(plot) => this.#selected(plot)] },
    };
  }

  #bands(styles) {
    const drawn = this.shown.flatMap((shown, at) => (shown ? [at] : []));
    return drawn.slice(1).map((at, below) => ({ series: [at + 1, drawn[below] + 1], fill: toAlpha(styles.series[at % COLOURS], 0.28) }));
  }

  #valueRange(low, high) {
    const { minimum, maximum } = this.setup;
    const lower = minimum ?? Math.min(0, low ?? 0);
    const upper = maximum ?? Math.max(0, high ?? 0) + ((high ?? 0) - Math.min(0, low ?? 0)) * 0.05;
    return [lower, upper > lower ? upper : lower + 1];
  }

  /** The values as they are drawn: raw, or each series added to those shown before it. Gaps stay gaps. */
  #columns() {
    const { t, series } = this.data;
    if (!this.setup.stacked) return [t, ...series.map(({ v }) => v)];
    const floor = new Float64Array(t.length);
    return [t, ...series.map(({ v }, at) => (this.shown[at] ? v.map((value, index) => (value === null ? null : (floor[index] += value))) : v))];
  }

  #colours() {
    const probe = document.createElement("span");
    probe.hidden = true;
    this.figure.append(probe);
    const read = (name) => {
      probe.style.color = `var(${name})`;
      return getComputedStyle(probe).color;
    };
    const colours = {
      quiet: read("--quiet"),
      grid: read("--grid"),
      series: Array.from({ length: COLOURS }, (_, at) => read(`--s${at}`)),
      font: getComputedStyle(document.body).fontFamily,
    };
    probe.remove();
    return colours;
  }

  #selected(plot) {
    const { left, width } = plot.select;
    if (width < 4) return;
    const [from, to] = [plot.posToVal(left, "x"), plot.posToVal(left + width, "x")];
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.onZoom?.(Math.round(from), Math.round(to));
  }

  #resize() {
    if (this.uplot && this.uplot.width !== this.width) this.uplot.setSize({ width: this.width, height: this.setup.height });
  }

  // --- What the cursor points at ---

  #makeTip() {
    this.tip = element("div", "tip");
    this.tip.hidden = true;
    return this.tip;
  }

  #moveTip() {
    const { idx, left, top } = this.uplot.cursor;
    const out = idx === null || idx === undefined || left < 0;
    this.tip.hidden = out;
    if (out) return;
    const nearest = this.#nearest(idx, top);
    const rows = this.data.series
      .map((series, at) => ({ series, at, value: series.v[idx] }))
      .filter(({ at }) => this.shown[at])
      .sort((one, other) => (other.value ?? -Infinity) - (one.value ?? -Infinity));
    const lines = rows.slice(0, TIP_ROWS).map(({ series, at, value }) => {
      const row = element("div", `tip-row s${at % COLOURS}`);
      const name = element("span", "tip-name");
      name.append(element("span", "swatch"), at === nearest ? element("b", "", series.label) : series.label);
      row.append(name, element("span", "", value === null ? "gap" : formatQuantity(value, this.setup.unit)));
      return row;
    });
    if (rows.length > TIP_ROWS) lines.push(element("div", "tip-time", `${rows.length - TIP_ROWS} more`));
    this.tip.replaceChildren(element("div", "tip-time", `${formatDateTime(this.data.t[idx])} UTC`), ...lines);
    const room = this.plot.clientWidth - this.tip.offsetWidth;
    const beside = left + AXIS_WIDTH + 14;
    this.tip.style.left = `${Math.max(0, beside > room ? beside - this.tip.offsetWidth - 28 : beside)}px`;
    this.tip.style.top = "8px";
  }

  #nearest(idx, top) {
    const columns = this.uplot.data;
    const distance = (at) => {
      const value = columns[at + 1][idx];
      return value === null || value === undefined ? Infinity : Math.abs(this.uplot.valToPos(value, "y") - top);
    };
    const drawn = this.shown.flatMap((shown, at) => (shown ? [at] : []));
    return drawn.reduce((best, at) => (distance(at) < distance(best) ? at : best), drawn[0]);
  }

  // --- Legend, table, words ---

  #writeLegend() {
    if (!this.legend) return;
    this.legend.replaceChildren(...this.data.series.map((series, at) => {
      const entry = element("li", `s${at % COLOURS}${this.shown[at] ? "" : " off"}`);
      entry.append(element("span", "swatch"), `${series.label} `, element("b", "", formatQuantity(statistics(series.v).last, this.setup.unit)));
      entry.addEventListener("click", (event) => this.isolate(at, event.ctrlKey || event.metaKey));
      return entry;
    }));
  }

  #addTools() {
    this.note = element("span", "note");
    const asTable = element("button", "", "Table");
    asTable.type = "button";
    asTable.setAttribute("aria-pressed", "false");
    asTable.addEventListener("click", () => this.#toggleTable(asTable));
    this.figure.querySelector(".graph-tools").prepend(this.note, asTable);
    this.spoken = element("p", "hidden");
    this.spoken.setAttribute("aria-live", "polite");
    this.figure.append(this.spoken);
    this.figure.setAttribute("role", "figure");
    this.plot.tabIndex = 0;
    this.plot.setAttribute("role", "group");
    this.plot.setAttribute("aria-label", "Arrow keys move along the graph");
    this.plot.addEventListener("keydown", (event) => this.#walk(event));
  }

  #describe() {
    this.note.textContent = "";
    const newest = this.data.series
      .map(({ label, v }) => ({ label, last: statistics(v).last }))
      .filter(({ last }) => last !== null)
      .sort((one, other) => other.last - one.last)[0];
    const what = newest
      ? `${this.data.series.length} series, highest now ${newest.label} at ${formatQuantity(newest.last, this.setup.unit)}.`
      : "no data in this range.";
    this.figure.setAttribute("aria-label", `${this.setup.title}: ${what}`);
    if (!newest) this.note.textContent = "no data in this range";
  }

  #walk(event) {
    const last = this.data.t.length - 1;
    const page = Math.max(1, Math.round(last / 10));
    const at = this.uplot?.cursor.idx ?? last;
    const next = { ArrowLeft: at - 1, ArrowRight: at + 1, PageUp: at - page, PageDown: at + page, Home: 0, End: last }[event.key];
    if (next === undefined || !this.uplot) return;
    event.preventDefault();
    const idx = Math.max(0, Math.min(last, next));
    this.uplot.setCursor({ left: this.uplot.valToPos(this.data.t[idx], "x"), top: 10 });
    clearTimeout(this.speaking);
    this.speaking = setTimeout(() => {
      const values = this.data.series.slice(0, TIP_ROWS).map(({ label, v }) => `${label} ${v[idx] === null ? "gap" : formatQuantity(v[idx], this.setup.unit)}`);
      this.spoken.textContent = `${formatDateTime(this.data.t[idx])}: ${values.join(", ")}`;
    }, 300);
  }

  #toggleTable(button) {
    if (!this.table) {
      this.table = element("div", "table-wrap");
      this.table.hidden = true;
      this.plot.after(this.table);
    }
    this.table.hidden = !this.table.hidden;
    this.plot.hidden = !this.table.hidden;
    button.setAttribute("aria-pressed", String(this.plot.hidden));
    button.textContent = this.plot.hidden ? "Graph" : "Table";
    if (this.plot.hidden) this.#writeTable();
  }

  /** The newest rows first; the rest is what the JSON link is for. */
  #writeTable() {
    const { t, series } = this.data;
    const table = element("table");
    const head = table.createTHead().insertRow();
    head.append(element("th", "", "Time (UTC)"), ...series.map(({ label }) => element("th", "num", label)));
    const body = table.createTBody();
    for (let at = t.length - 1; at >= Math.max(0, t.length - TABLE_ROWS); at -= 1) {
      const row = body.insertRow();
      row.append(element("td", "", formatDateTime(t[at])), ...series.map(({ v }) => element("td", "num", formatQuantity(v[at], this.setup.unit))));
    }
    this.table.replaceChildren(table);
  }
}

/** `{ last, minimum, mean, maximum }` of the values that are there; null for each when none is. */
export function statistics(values) {
  let [last, minimum, maximum, sum, count] = [null, null, null, 0, 0];
  for (const value of values) {
    if (value === null) continue;
    last = value;
    minimum = minimum === null || value < minimum ? value : minimum;
    maximum = maximum === null || value > maximum ? value : maximum;
    sum += value;
    count += 1;
  }
  return { last, minimum, mean: count > 0 ? sum / count : null, maximum };
}

/** An element with a class and text. */
export function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

function toAlpha(colour, alpha) {
  const channels = /^rgba?\(([^)]+)\)$/.exec(colour)?.[1].split(/[ ,/]+/).slice(0, 3);
  return channels ? `rgba(${channels.join(",")},${alpha})` : colour;
}
