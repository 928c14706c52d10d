// Keeps the ages on the page going: every `<time data-ms>` says how long ago its moment was, by the server's clock.

import { formatAge } from "app/format.js";

const skewMs = Number(document.documentElement.dataset.nowMs || Date.now()) - Date.now();

/** The server's time, in milliseconds since the epoch, as well as it was known when the page was rendered. */
export function serverNow() {
  return Date.now() + skewMs;
}

function tick() {
  if (document.hidden) return;
  const now = serverNow();
  for (const element of document.querySelectorAll("time[data-ms]")) {
    const text = formatAge(now - Number(element.dataset.ms));
    if (element.textContent !== text) element.textContent = text;
  }
}

setInterval(tick, 1000);
document.addEventListener("visibilitychange", tick);
