// The graphs of a page: the server's pictures become live charts as they scroll into view. One time range for all.

import { Chart } from "app/chart.js";
import { serverNow } from "app/clock.js";
import { fetchGraph } from "app/graph_data.js";
import { liveQuery } from "app/live.js";
import { parseTime, resolveAuto } from "app/query_text.js";

const LIVE_MS = 10000;
const HEIGHT = 170;
const HEIGHT_ALONE = 220;

/** The range that somebody zoomed to, or null for that of the page. */
let zoomed = rangeInAddress();

class LiveGraph {
  constructor(figure) {
    this.setup = JSON.parse(figure.dataset.graph);
    this.visible = false;
    const height = figure.parentElement.classList.contains("one") ? HEIGHT_ALONE : HEIGHT;
    this.chart = new Chart(figure, { ...this.setup, height }, { onZoom: zoomTo, onZoomOut: zoomOut });
  }

  setVisible(visible) {
    if (visible === this.visible) return;
    this.visible = visible;
    if (visible) this.reload();
    else this.stop();
  }

  stop() {
    this.cancel?.();
    this.cancel = null;
    this.asking?.abort();
  }

  async reload() {
    this.stop();
    if (!this.visible) return;
    this.asking = new AbortController();
    const { from, to } = zoomed ?? this.setup;
    try {
      this.show(await fetchGraph(this.ask(from, to), this.asking.signal), from, to);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.chart.setStale(error.message);
    }
    if (to !== "now" || !this.visible) return;
    const show = (data) => this.show(data, from, to);
    this.cancel = liveQuery({ ...this.ask(from, to), everyMs: LIVE_MS }, show, (sentence) => this.chart.setStale(sentence));
  }

  ask(from, to) {
    const [start, end] = this.bounds(from, to);
    const px = this.chart.width;
    return { from, to, px, queries: this.setup.queries.map(({ m }) => ({ m: resolveAuto(m, end - start, px) })) };
  }

  bounds(from, to) {
    const now = serverNow();
    return [parseTime(String(from), now) ?? now - 3600000, parseTime(String(to), now) ?? now];
  }

  show(data, from, to) {
    const [start, end] = this.bounds(from, to);
    for (const series of data.series) {
      const tag = this.setup.queries[series.query]?.label_tag;
      series.label = (tag && series.tags?.[tag]) || series.label;
    }
    // The colour belongs to the name: in order of name it stays while values come and go.
    data.series.sort((one, other) => one.query - other.query || one.label.localeCompare(other.label));
    this.chart.show(data, start, end);
  }
}

const graphs = new Map([...document.querySelectorAll("figure[data-graph]")].map((figure) => [figure, new LiveGraph(figure)]));

const observer = new IntersectionObserver(
  (entries) => entries.forEach(({ target, isIntersecting }) => graphs.get(target).setVisible(isIntersecting)),
  { rootMargin: "200px" },
);
for (const figure of graphs.keys()) observer.observe(figure);

function rangeInAddress() {
  const { from, to } = Object.fromEntries(new URLSearchParams(location.search));
  return /^\d{12,}$/.test(from ?? "") && /^\d{12,}$/.test(to ?? "") ? { from, to } : null;
}

function zoomTo(fromMs, toMs) {
  const address = new URL(location.href);
  address.searchParams.set("from", String(fromMs));
  address.searchParams.set("to", String(toMs));
  history.pushState(null, "", address);
  reloadAll();
}

function zoomOut() {
  if (!zoomed) return;
  const address = new URL(location.href);
  address.searchParams.delete("from");
  address.searchParams.delete("to");
  history.pushState(null, "", address);
  reloadAll();
}

function reloadAll() {
  zoomed = rangeInAddress();
  for (const graph of graphs.values()) graph.reload();
}

addEventListener("popstate", reloadAll);
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, textarea, select, dialog[open]");
  if (!typing && (event.key === "Escape" || event.key === "z") && zoomed) zoomOut();
});
