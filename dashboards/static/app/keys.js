// The keyboard: `?` tells what there is. No single letter does anything while somebody types.

import { openIncidentAction } from "app/actions.js";
import { toggleTheme } from "app/theme.js";

const PLACES = { o: "/", i: "/incidents", h: "/hosts", e: "/explore", t: "/tasks" };
const INCIDENT_KEYS = { a: "ack", n: "note", c: "close" };
const GO_MS = 1200;

const help = document.getElementById("help-dialog");
let goUntil = 0;
let hereKey = null;

function isTyping(target) {
  return target.closest?.("input, textarea, select, [contenteditable], dialog[open]") != null;
}

function rows() {
  return [...document.querySelectorAll("[data-row]")].filter((row) => row.offsetParent !== null);
}

function here() {
  return document.querySelector("[data-row].here");
}

function move(by) {
  const all = rows();
  if (all.length === 0) return;
  const at = all.indexOf(here());
  const next = all[at === -1 ? (by > 0 ? 0 : all.length - 1) : Math.max(0, Math.min(all.length - 1, at + by))];
  here()?.classList.remove("here");
  next.classList.add("here");
  hereKey = next.dataset.key ?? null;
  next.scrollIntoView({ block: "nearest" });
}

function actOnIncident(key) {
  const row = here()?.dataset.incident ? here() : document.querySelector(".incident-head");
  const button = row?.querySelector(`[data-action="${INCIDENT_KEYS[key]}"]`);
  if (button) openIncidentAction(button.dataset.action, button.dataset.id);
  return Boolean(button);
}

function handle(key) {
  if (performance.now() < goUntil && PLACES[key]) {
    goUntil = 0;
    return location.assign(PLACES[key]), true;
  }
  goUntil = 0;
  switch (key) {
    case "?": return help.showModal(), true;
    case "/": return document.getElementById("search").focus(), true;
    case "g": return (goUntil = performance.now() + GO_MS), true;
    case "j": return move(1), true;
    case "k": return move(-1), true;
    case "t": return toggleTheme(), true;
    case "Enter": return here()?.querySelector("[data-open]")?.click(), false;
    default: return key in INCIDENT_KEYS && actOnIncident(key);
  }
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.key === "Escape" && event.target.matches?.("input")) return event.target.blur();
  if (isTyping(event.target)) return;
  if (handle(event.key)) event.preventDefault();
});

// Rows that were placed anew have lost the mark.
document.addEventListener("tidemark:placed", () => {
  if (hereKey && !here()) document.querySelector(`[data-key="${CSS.escape(hereKey)}"]`)?.classList.add("here");
});

document.getElementById("help-button").addEventListener("click", () => help.showModal());
