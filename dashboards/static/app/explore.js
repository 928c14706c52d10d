// Explore: queries as text and as parts, one graph, a legend with numbers; the whole state is in the address.

import { Chart, element, statistics } from "app/chart.js";
import { offerChoices, suggest } from "app/choices.js";
import { serverNow } from "app/clock.js";
import { formatQuantity } from "app/format.js";
import { fetchGraph } from "app/graph_data.js";
import { liveQuery } from "app/live.js";
import { buildQuery, parseQuery, parseTime, resolveAuto } from "app/query_text.js";

const LIVE_MS = 10000;
const HEIGHT = 320;
const NEW_QUERY = "sum:auto-avg:";

const form = document.getElementById("explore");
const rows = document.getElementById("queries");
const failure = document.getElementById("failure");
const result = document.getElementById("result");

// --- One query: the text and the parts that edit it ---------------------------------------------------------------

class QueryRow {
  constructor(root) {
    this.root = root;
    this.text = root.querySelector("input[name='m']");
    this.builder = root.querySelector("[data-builder]");
    this.builder.append(document.getElementById("builder-template").content.cloneNode(true));
    this.filters = this.part("filters");
    if (!this.text.value) this.text.value = NEW_QUERY;
    this.read();
    this.text.addEventListener("input", () => this.read());
    this.builder.addEventListener("change", () => this.write());
    this.builder.addEventListener("input", ({ target }) => target.matches("input:not([type])") && this.write());
    this.builder.querySelector("[data-add-filter]").addEventListener("click", () => this.addFilter().focus());
    offerChoices(this.part("metric"), suggestMetrics, () => this.write());
  }

  part(name, root = this.builder) {
    return root.querySelector(`[data-part="${name}"]`);
  }

  /** From the text to the parts. What the parts cannot hold hides them; the text still runs. */
  read() {
    const query = parseQuery(this.text.value);
    this.builder.hidden = !query;
    if (!query) return;
    for (const name of ["aggregator", "metric", "downsampler", "interval", "fill", "rate"]) this.set(name, query[name]);
    this.filters.replaceChildren();
    for (const filter of query.filters) this.addFilter(filter);
    this.enable();
  }

  /** A list that lacks a value gets it, so that no text is changed by being looked at. */
  set(name, value) {
    const control = this.part(name);
    if (control.localName === "select" && ![...control.options].some((option) => option.value === value)) {
      control.add(new Option(value, value));
    }
    control.value = value;
  }

  /** From the parts to the text. */
  write() {
    const filters = [...this.filters.children].map((filter) => ({
      key: this.part("key", filter).value.trim(),
      value: this.part("value", filter).value.trim(),
      group: this.part("group", filter).checked,
    }));
    const value = (name) => this.part(name).value.trim();
    this.text.value = buildQuery({
      aggregator: value("aggregator"), metric: value("metric"), interval: value("interval"),
      downsampler: value("downsampler"), fill: value("fill"), rate: value("rate"), filters,
    });
    this.enable();
  }

  enable() {
    this.part("downsampler").disabled = this.part("fill").disabled = !this.part("interval").value;
  }

  addFilter({ key = "", value = "", group = true } = {}) {
    const made = document.getElementById("filter-template").content.cloneNode(true);
    const filter = made.firstElementChild;
    const [keyInput, valueInput] = [this.part("key", filter), this.part("value", filter)];
    [keyInput.value, valueInput.value, this.part("group", filter).checked] = [key, value, group];
    filter.querySelector("[data-remove-filter]").addEventListener("click", () => {
      filter.remove();
      this.write();
    });
    this.filters.append(made);
    const known = (signal) => tagsOf(this.part("metric").value.trim(), signal);
    offerChoices(keyInput, async (text, signal) => choicesFrom([...(await known(signal)).keys()], text), () => this.write());
    offerChoices(
      valueInput,
      async (text, signal) => choicesFrom(["*", ...((await known(signal)).get(keyInput.value.trim()) ?? [])], text),
      () => this.write(),
    );
    return keyInput;
  }
}

function choicesFrom(names, text) {
  const wanted = text.toLowerCase();
  return names.filter((name) => name.toLowerCase().includes(wanted)).slice(0, 25).map((value) => ({ value }));
}

async function suggestMetrics(text, signal) {
  return (await suggest("metrics", text, signal)).map((value) => ({ value }));
}

const tagsByMetric = new Map();

/** Tag keys of a metric and the values of each, from a sample of its series. */
async function tagsOf(metric, signal) {
  if (!metric) return new Map();
  if (!tagsByMetric.has(metric)) {
    const answer = await fetch(`/api/search/lookup?limit=500&m=${encodeURIComponent(metric)}`, { signal });
    const found = answer.ok ? await answer.json() : { results: [] };
    const tags = new Map();
    for (const { tags: pairs } of found.results ?? []) {
      for (const [key, value] of Object.entries(pairs)) tags.set(key, (tags.get(key) ?? new Set()).add(value));
    }
    tagsByMetric.set(metric, new Map([...tags].sort().map(([key, values]) => [key, [...values].sort()])));
  }
  return tagsByMetric.get(metric);
}

// --- The graph ----------------------------------------------------------------------------------------------------

let chart = null;
let cancelLive = null;
let asking = null;
let labels = "";

function makeFigure() {
  const figure = element("figure", "graph");
  const caption = element("figcaption");
  const tools = element("span", "graph-tools");
  caption.append(element("b"), tools);
  figure.append(caption, element("div", "plot"));
  const table = element("table", "series");
  table.id = "legend";
  const head = table.createTHead().insertRow();
  head.append(element("th", "", "Series"), ...["Last", "Min", "Mean", "Max"].map((name) => element("th", "num", name)));
  table.createTBody();
  result.append(figure, table);
  return figure;
}

function theChart() {
  if (chart) return chart;
  document.getElementById("start")?.remove();
  const figure = result.querySelector("figure.graph") ?? makeFigure();
  figure.querySelector(".legend")?.remove();
  const tools = figure.querySelector(".graph-tools");
  const json = element("a", "", "JSON");
  json.id = "as-json";
  tools.replaceChildren(json);
  const setup = { title: "Explore", unit: "none", stacked: false, minimum: null, maximum: null, height: HEIGHT };
  chart = new Chart(figure, setup, { onZoom: zoomTo, onZoomOut: () => history.back() });
  figure.addEventListener("tidemark:isolated", writeLegend);
  return chart;
}

/** What the values count, when all series agree. */
function commonUnit(series) {
  const units = new Set(series.map(({ unit }) => unit ?? "none"));
  return units.size === 1 ? [...units][0] : "none";
}

function queries() {
  return [...rows.querySelectorAll("input[name='m']")].map((input) => input.value.trim()).filter((text) => text && text !== NEW_QUERY);
}

async function run() {
  cancelLive?.();
  cancelLive = null;
  asking?.abort();
  fail("");
  const texts = queries();
  if (texts.length === 0) return;
  const [from, to] = [form.elements.from.value.trim() || "1h-ago", form.elements.to.value.trim() || "now"];
  const [start, end] = [parseTime(from, serverNow()), parseTime(to, serverNow())];
  if (start === null || end === null) return fail(`“${start === null ? from : to}” is not a time; write 6h-ago, now, or 2026/11/25-13:05`);
  const drawn = theChart();
  const px = drawn.width;
  const resolved = texts.map((text) => resolveAuto(text, end - start, px));
  const ask = { from, to, px, queries: resolved.map((m) => ({ m })) };
  describe(resolved, start, end);
  asking = new AbortController();
  drawn.figure.classList.add("stale");
  try {
    show(await fetchGraph(ask, asking.signal), from, to);
  } catch (error) {
    if (error.name !== "AbortError") fail(error.message);
    return;
  }
  if (to !== "now") return;
  cancelLive = liveQuery({ ...ask, everyMs: LIVE_MS }, (data) => show(data, from, to), fail);
}

function show(data, from, to) {
  const now = serverNow();
  chart.setUnit(commonUnit(data.series));
  chart.show(data, parseTime(from, now), parseTime(to, now));
  writeLegend();
}

function describe(resolved, start, end) {
  chart.figure.querySelector("figcaption b").textContent = resolved.join("   ");
  const parameters = new URLSearchParams([["start", start], ["end", end], ...resolved.map((m) => ["m", m])]);
  document.getElementById("as-json").href = `/api/query?${parameters}`;
}

function fail(sentence) {
  failure.textContent = sentence;
  failure.hidden = !sentence;
  if (sentence) chart?.setStale();
}

function writeLegend() {
  const body = document.getElementById("legend").tBodies[0];
  const names = chart.data.series.map(({ label }) => label).join("\n");
  if (names !== labels || body.rows.length !== chart.data.series.length) {
    labels = names;
    body.replaceChildren(...chart.data.series.map(legendRow));
  }
  chart.data.series.forEach((series, at) => {
    const { last, minimum, mean, maximum } = statistics(series.v);
    const row = body.rows[at];
    row.classList.toggle("off", !chart.shown[at]);
    [last, minimum, mean, maximum].forEach((value, column) => (row.cells[column + 1].textContent = formatQuantity(value, chart.setup.unit)));
  });
}

function legendRow(series, at) {
  const row = element("tr", `s${at % 8}`);
  const name = element("th");
  name.scope = "row";
  name.title = "Click to see it alone, Ctrl+click to hide it";
  name.append(element("span", "swatch"), series.label);
  name.addEventListener("click", (event) => chart.isolate(at, event.ctrlKey || event.metaKey));
  row.append(name, ...Array.from({ length: 4 }, () => element("td", "num")));
  return row;
}

// --- The address --------------------------------------------------------------------------------------------------

function writeAddress() {
  const { from, to } = form.elements;
  const parameters = new URLSearchParams([...queries().map((m) => ["m", m]), ["from", from.value], ["to", to.value]]);
  const address = `/explore?${parameters}`;
  if (address !== location.pathname + location.search) history.pushState(null, "", address);
}

function readAddress() {
  const parameters = new URLSearchParams(location.search);
  form.elements.from.value = parameters.get("from") ?? "1h-ago";
  form.elements.to.value = parameters.get("to") ?? "now";
  const texts = parameters.getAll("m");
  while (rows.children.length > Math.max(1, texts.length)) rows.lastElementChild.remove();
  (texts.length > 0 ? texts : [NEW_QUERY]).forEach((text, at) => setQuery(at, text));
  markRange();
}

function setQuery(at, text) {
  const row = rows.children[at] ?? addQuery("");
  const input = row.querySelector("input[name='m']");
  input.value = text;
  input.dispatchEvent(new Event("input"));
}

function zoomTo(fromMs, toMs) {
  [form.elements.from.value, form.elements.to.value] = [String(fromMs), String(toMs)];
  submit();
}

function submit() {
  markRange();
  writeAddress();
  run();
}

function markRange() {
  for (const button of document.querySelectorAll("[data-range]")) {
    const pressed = form.elements.from.value === button.dataset.range && form.elements.to.value === "now";
    button.setAttribute("aria-pressed", String(pressed));
  }
}

// --- The form -----------------------------------------------------------------------------------------------------

function addQuery(text) {
  const row = rows.lastElementChild.cloneNode(true);
  row.querySelector("[data-builder]").replaceChildren();
  row.querySelector("input[name='m']").value = text;
  rows.append(row);
  prepare(row);
  return row;
}

function prepare(row) {
  new QueryRow(row);
  row.querySelector("[data-remove]").addEventListener("click", () => {
    if (rows.children.length === 1) return setQuery(0, NEW_QUERY);
    row.remove();
    submit();
  });
}

for (const row of rows.children) prepare(row);
document.getElementById("add-query").addEventListener("click", () => addQuery("").querySelector("[data-part='metric']").focus());
document.getElementById("quick-ranges").addEventListener("click", ({ target }) => {
  if (!target.dataset.range) return;
  [form.elements.from.value, form.elements.to.value] = [target.dataset.range, "now"];
  submit();
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
addEventListener("popstate", () => {
  readAddress();
  run();
});
markRange();
run();
