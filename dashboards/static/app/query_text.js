// One query as text (an `m=` of OpenTSDB) and as its parts. The text is the truth; what the parts cannot express stays text.

const INTERVALS_MS = [
  [1000, "1s"], [5000, "5s"], [10000, "10s"], [15000, "15s"], [30000, "30s"], [60000, "1m"], [120000, "2m"],
  [300000, "5m"], [600000, "10m"], [900000, "15m"], [1800000, "30m"], [3600000, "1h"], [7200000, "2h"],
  [10800000, "3h"], [21600000, "6h"], [43200000, "12h"], [86400000, "1d"], [604800000, "7d"], [2592000000, "30d"],
];
const PIXELS_PER_BUCKET = 2;
const DOWNSAMPLER = /^(auto|\d+(?:ms|[smhdwny])c?)-([a-z0-9]+)(?:-(none|nan|null|zero))?$/;

/**
 * The parts of a query: `{ aggregator, metric, interval, downsampler, fill, rate, filters: [{ key, value, group }] }`,
 * where `rate` is empty, `rate`, or `rate{…}` with its options as written; or null when the text has something that these parts cannot hold.
 */
export function parseQuery(text) {
  const parts = splitOutside(text.trim(), ":");
  if (!parts || parts.length < 2) return null;
  const query = { aggregator: parts[0], interval: "", downsampler: "avg", fill: "", rate: "" };
  for (const part of parts.slice(1, -1)) {
    const sampled = DOWNSAMPLER.exec(part);
    if (sampled && !query.interval) [, query.interval, query.downsampler, query.fill = ""] = sampled;
    else if (/^rate(\{[^{}]*\})?$/.test(part) && !query.rate) query.rate = part;
    else return null;
  }
  const target = /^([^{}]*)(?:\{([^{}]*)\})?(?:\{([^{}]*)\})?$/.exec(parts.at(-1));
  if (!/^[a-z0-9]+$/.test(query.aggregator) || !target) return null;
  const groups = parseFilters(target[2], true);
  const plain = parseFilters(target[3], false);
  if (!groups || !plain) return null;
  return { ...query, metric: target[1].trim(), filters: [...groups, ...plain] };
}

/** The text of a query; what is not filled in is left out. */
export function buildQuery({ aggregator, metric, interval, downsampler, fill, rate, filters }) {
  const parts = [aggregator];
  if (interval) parts.push(`${interval}-${downsampler}${fill ? `-${fill}` : ""}`);
  if (rate) parts.push(rate);
  const written = filters.filter(({ key, value }) => key && value);
  const inBraces = (group) => written.filter((filter) => filter.group === group).map(({ key, value }) => `${key}=${value}`).join(",");
  const [groups, plain] = [inBraces(true), inBraces(false)];
  const braces = plain ? `{${groups}}{${plain}}` : groups ? `{${groups}}` : "";
  return `${parts.join(":")}:${metric}${braces}`;
}

/** `text` with `auto` replaced by the interval that suits the range and the width, as `src/auto_downsample.rs` does. */
export function resolveAuto(text, rangeMs, px) {
  const bucketsMax = Math.max(1, Math.floor(px / PIXELS_PER_BUCKET));
  const fits = INTERVALS_MS.find(([intervalMs]) => Math.trunc(rangeMs / intervalMs) <= bucketsMax);
  const interval = (fits ?? INTERVALS_MS.at(-1))[1];
  const parts = splitOutside(text, ":") ?? [text];
  const isDownsampler = (part, at) => at > 0 && at < parts.length - 1 && part.startsWith("auto-");
  return parts.map((part, at) => (isDownsampler(part, at) ? interval + part.slice(4) : part)).join(":");
}

const UNITS_MS = { ms: 1, s: 1000, m: 60000, h: 3600000, d: 86400000, w: 604800000, n: 2592000000, y: 31536000000 };

/** A time as OpenTSDB reads it (`1h-ago`, `now`, seconds or milliseconds, `2026/11/25-13:05`), in ms; null if it is none. */
export function parseTime(text, nowMs) {
  const written = text.trim();
  if (written === "now" || written === "") return nowMs;
  const ago = /^(\d+)(ms|[smhdwny])-ago$/.exec(written);
  if (ago) return nowMs - Number(ago[1]) * UNITS_MS[ago[2]];
  if (/^\d{13,}$/.test(written)) return Number(written);
  if (/^\d{1,12}$/.test(written)) return Number(written) * 1000;
  const date = /^(\d{4})\/(\d\d)\/(\d\d)(?:[- ](\d\d):(\d\d)(?::(\d\d))?)?$/.exec(written);
  if (!date) return null;
  const [year, month, day, hour = 0, minute = 0, second = 0] = date.slice(1).map((digits) => (digits === undefined ? undefined : Number(digits)));
  return Date.UTC(year, month - 1, day, hour, minute, second);
}

function parseFilters(text, group) {
  if (!text) return [];
  const pairs = splitOutside(text, ",")?.map((pair) => /^([^=]+)=(.+)$/s.exec(pair.trim()));
  if (!pairs || pairs.includes(null)) return null;
  return pairs.map(([, key, value]) => ({ key, value, group }));
}

/** Splits at a separator that is not inside brackets; null when brackets do not match. */
function splitOutside(text, separator) {
  const parts = [""];
  let depth = 0;
  for (const character of text) {
    if ("{(".includes(character)) depth += 1;
    if ("})".includes(character)) depth -= 1;
    if (depth < 0) return null;
    if (character === separator && depth === 0) parts.push("");
    else parts[parts.length - 1] += character;
  }
  return depth === 0 ? parts : null;
}
