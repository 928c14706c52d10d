// Numbers with units as people read them: the rules of `src/units`, tested with the same table (`src/units/rules.json`).

const MISSING = "–";
const DECIMAL = ["", "k", "M", "G", "T", "P", "E"];
const BINARY = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/** `value` with its unit (`bytes`, `percent`, …): `1.50 GiB`, `91.2 %`. What is not a finite number is a dash. */
export function formatQuantity(value, unit) {
  if (value === null || value === undefined || !Number.isFinite(value)) return MISSING;
  switch (unit) {
    case "percent": return `${oneDecimal(value)} %`;
    case "bytes": return scale(value, 1024, BINARY, "B");
    case "bytes_per_second": return scale(value, 1024, BINARY, "B/s");
    case "bits_per_second": return scale(value, 1000, DECIMAL, "bit/s");
    case "per_second": return scale(value, 1000, DECIMAL, "/s");
    case "seconds": return formatDuration(value * 1000);
    case "milliseconds": return formatDuration(value);
    default: return scale(value, 1000, DECIMAL, "");
  }
}

/** A duration in milliseconds, in at most two units: `12.3 ms`, `2 m 10 s`. */
export function formatDuration(millis) {
  if (!Number.isFinite(millis)) return MISSING;
  const sign = millis < 0 ? "-" : "";
  const positive = Math.abs(millis);
  if (positive === 0) return "0 s";
  if (positive < 1) return sign + plain(positive * 1000, "µs");
  if (positive < 1000) return sign + plain(positive, "ms");
  if (positive < 60000) return sign + plain(positive / 1000, "s");
  return sign + twoUnits(positive / 1000);
}

/** How long ago something was, in one unit: `now`, `14 s`, `3 h`; what lies ahead is `in 14 s`. */
export function formatAge(ageMs) {
  const seconds = Math.floor(Math.abs(ageMs) / 1000);
  if (seconds === 0) return "now";
  const text =
    seconds < 60 ? `${seconds} s`
    : seconds < 3600 ? `${Math.floor(seconds / 60)} m`
    : seconds < 86400 ? `${Math.floor(seconds / 3600)} h`
    : `${Math.floor(seconds / 86400)} d`;
  return ageMs < 0 ? `in ${text}` : text;
}

/** `2026-11-25 13:05:09`, UTC. */
export function formatDateTime(timestampMs) {
  return new Date(timestampMs).toISOString().slice(0, 19).replace("T", " ");
}

/** The label of a tick on a time axis whose ticks are `stepMs` apart, UTC: `13:05:10`, `13:05` or `Nov 25`. */
export function formatTick(timestampMs, stepMs) {
  const [, month, day, time] = /^\d+-(\d\d)-(\d\d) (.*)$/.exec(formatDateTime(timestampMs)) ?? [];
  if (stepMs < 60000) return time;
  if (stepMs < 86400000 && timestampMs % 86400000 !== 0) return time.slice(0, 5);
  return `${["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][month - 1]} ${day}`;
}

function plain(value, suffix) {
  return scale(value, Infinity, [""], suffix);
}

function scale(value, base, prefixes, suffix) {
  let magnitude = Math.abs(value);
  let step = 0;
  // 999.96 would print as four digits: what is rounded decides, not what is stored.
  while (roundTo(magnitude, decimalsOf(magnitude)) >= base && step + 1 < prefixes.length) {
    magnitude /= base;
    step += 1;
  }
  const prefix = prefixes[step];
  const decimals = prefix === "" && Number.isInteger(magnitude) ? 0 : decimalsOf(magnitude);
  const rounded = roundTo(magnitude, decimals);
  const sign = value < 0 && rounded > 0 ? "-" : "";
  const space = prefix === "" && suffix === "" ? "" : " ";
  return `${sign}${rounded.toFixed(decimals)}${space}${prefix}${suffix}`;
}

function oneDecimal(value) {
  const decimals = roundTo(Math.abs(value), 1) < 100 ? 1 : 0;
  const rounded = roundTo(Math.abs(value), decimals);
  return `${value < 0 && rounded > 0 ? "-" : ""}${rounded.toFixed(decimals)}`;
}

function decimalsOf(magnitude) {
  if (magnitude === 0) return 0;
  if (roundTo(magnitude, 2) < 10) return 2;
  return roundTo(magnitude, 1) < 100 ? 1 : 0;
}

// Half up, with the same three operations as on the server, so that both print the same.
function roundTo(magnitude, decimals) {
  const factor = decimals === 0 ? 1 : decimals === 1 ? 10 : 100;
  return Math.floor(magnitude * factor + 0.5) / factor;
}

function twoUnits(seconds) {
  const units = [[86400, "d", 3600, "h"], [3600, "h", 60, "m"], [60, "m", 1, "s"]];
  for (const [large, largeName, small, smallName] of units) {
    if (seconds < large) continue;
    const whole = Math.floor(seconds / large);
    const rest = Math.floor((seconds - whole * large) / small);
    return rest > 0 ? `${whole} ${largeName} ${rest} ${smallName}` : `${whole} ${largeName}`;
  }
  return `${Math.floor(seconds)} s`;
}
