// One WebSocket per tab carries everything that changes: fragments of the page and live queries
// (`docs/live-protocol.md`). When it fails twice in a row, the same fragments are polled over HTTP until it is back.

import { fetchGraph } from "app/graph_data.js";
import { keysOf, parse, place } from "app/swap.js";

const POLL_MS = 15000;
const PING_MS = 20000;
const SILENCE_MS = 45000;
const DELAY_MIN_MS = 500;
const DELAY_MAX_MS = 30000;
const FAILURES_BEFORE_POLLING = 2;

/** What the socket carries, by id: `{ message, onEvent, poll? }`. It is sent again after every reconnect. */
const carried = new Map();
let nextId = 1;
let socket = null;
let failures = 0;
let heardAt = 0;
let polling = 0;

/** Asks for the fragments of a topic: `overview`, `hosts`, `host:NAME`, `incidents`, `incident:ID`, `tasks`,
 * `job:ID`, `worker:NAME`, `workflow:ID`, `storage`, `nav`. */
export function subscribe(topic) {
  carry({ op: "sub", topic }, (event) => {
    if (event.ev === "html") show(event.target, event.html);
  });
}

/**
 * Runs queries again and again as they change. `onData` gets `{ t, series }`, `onError` a sentence.
 * Returns the function that ends it.
 */
export function liveQuery({ from, to, px, queries, everyMs }, onData, onError) {
  const ask = { from, to, px, queries };
  const onEvent = (event) => {
    if (event.ev === "data") onData({ t: event.t, series: event.series });
    if (event.ev === "error") onError(event.message);
  };
  const poll = () => fetchGraph(ask).then(onData, (error) => onError(error.message));
  return carry({ op: "query", every_ms: everyMs, ...ask }, onEvent, poll);
}

/** Asks for all fragments of the page now, for instance after an action. */
export function refresh() {
  return Promise.all(fragmentNames().map(fetchFragment));
}

/** Opens the socket and keeps it open. */
export function start() {
  const main = document.getElementById("main");
  subscribe("nav");
  if (main.dataset.topic) subscribe(main.dataset.topic);
  // A page with a filter has no topic: nobody else looks at the same rows.
  else if (main.dataset.fragments) setInterval(() => document.hidden || refresh(), POLL_MS);
  connect();
  setInterval(keepAlive, PING_MS);
  addEventListener("pageshow", (event) => event.persisted && !socket && connect());
}

function carry(message, onEvent, poll) {
  const id = nextId++;
  carried.set(id, { message: { ...message, id }, onEvent, poll });
  send({ ...message, id });
  if (polling && poll) poll();
  return () => {
    if (carried.delete(id)) send({ op: "unsub", id });
  };
}

function send(message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function connect() {
  const address = new URL("/api/ws", location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(address);
  socket.addEventListener("open", opened);
  socket.addEventListener("message", ({ data }) => received(data));
  socket.addEventListener("close", closed);
}

function opened() {
  heardAt = Date.now();
  for (const { message } of carried.values()) send(message);
}

function received(data) {
  heardAt = Date.now();
  failures = 0;
  stopPolling();
  setState("live", "live");
  const event = JSON.parse(data);
  if (event.ev === "drain") setState("offline", "server restarts");
  const carrier = carried.get(event.id);
  if (carrier) carrier.onEvent(event);
}

function closed() {
  socket = null;
  failures += 1;
  if (failures >= FAILURES_BEFORE_POLLING) startPolling();
  else setState("offline", "reconnecting");
  const longest = Math.min(DELAY_MAX_MS, DELAY_MIN_MS * 2 ** failures);
  setTimeout(connect, longest * (0.5 + Math.random() / 2));
}

function keepAlive() {
  if (socket?.readyState !== WebSocket.OPEN) return;
  if (Date.now() - heardAt > SILENCE_MS) socket.close();
  else send({ op: "ping" });
}

function startPolling() {
  if (polling) return;
  polling = setInterval(pollAll, POLL_MS);
  pollAll();
}

function stopPolling() {
  clearInterval(polling);
  polling = 0;
}

async function pollAll() {
  if (document.hidden) return;
  for (const { poll } of carried.values()) poll?.();
  const answers = await Promise.all(["nav", ...fragmentNames()].map(fetchFragment));
  if (polling) setState(...(answers.every(Boolean) ? ["polling", "polling"] : ["offline", "offline"]));
}

function fragmentNames() {
  return (document.getElementById("main").dataset.fragments ?? "").split(" ").filter(Boolean);
}

async function fetchFragment(name) {
  const address = new URL(location.href);
  address.searchParams.set("fragment", name);
  try {
    const answer = await fetch(address, { headers: { accept: "text/html" } });
    if (!answer.ok) return false;
    show(name, await answer.text());
    return true;
  } catch {
    return false;
  }
}

function setState(state, text) {
  const element = document.getElementById("live");
  element.hidden = false;
  if (element.dataset.state === state && element.textContent === text) return;
  element.dataset.state = state;
  element.textContent = text;
}

// --- Showing fragments ------------------------------------------------------------------------------------------

/** Fragments that wait because somebody points at the list that they would change. */
const waiting = new Map();

function show(target, html) {
  const container = document.querySelector(`[data-fragment="${CSS.escape(target)}"]`);
  if (!container) return;
  const fragment = parse(html);
  const fresh = freshRows(container, fragment);
  if (fresh > 0 && isInUse(container)) hold(container, fragment, fresh);
  else release(container, fragment);
}

/** How many rows would come, so that those under the pointer would move. */
function freshRows(container, fragment) {
  if (!("hold" in container.dataset)) return 0;
  const shown = new Set(keysOf(container));
  return keysOf(fragment).filter((key) => !shown.has(key)).length;
}

function isInUse(container) {
  return container.matches(":hover") || container.contains(document.activeElement);
}

function hold(container, fragment, fresh) {
  let button = waiting.get(container)?.button;
  if (!button) {
    button = document.createElement("button");
    button.type = "button";
    button.className = "waiting";
    const show = () => isInUse(container) || release(container, waiting.get(container)?.fragment);
    button.addEventListener("click", () => release(container, waiting.get(container).fragment));
    container.addEventListener("pointerleave", show, { once: true });
    container.addEventListener("focusout", () => setTimeout(show), { once: true });
    container.before(button);
  }
  button.textContent = `${fresh} new ▲`;
  waiting.set(container, { fragment, button });
}

function release(container, fragment) {
  waiting.get(container)?.button.remove();
  waiting.delete(container);
  if (fragment) place(container, fragment);
}
