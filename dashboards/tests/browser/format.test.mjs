import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { formatAge, formatQuantity, formatTick } from "../../static/app/format.js";

const rules = JSON.parse(readFileSync(new URL("../../src/units/rules.json", import.meta.url)));

test("quantities follow the table that the server is tested with", () => {
  for (const [value, unit, expected] of rules.quantities) assert.equal(formatQuantity(value, unit), expected, `${value} ${unit}`);
});

test("ages follow the table that the server is tested with", () => {
  for (const [ageMs, expected] of rules.ages) assert.equal(formatAge(ageMs), expected, `${ageMs} ms`);
});

test("what is not known is a dash", () => {
  for (const value of [null, undefined, NaN, Infinity]) assert.equal(formatQuantity(value, "bytes"), "–");
});

test("ticks show what changes between them", () => {
  assert.equal(formatTick(1764075910000, 10000), "13:05:10");
  assert.equal(formatTick(1764075900000, 300000), "13:05");
  assert.equal(formatTick(1764028800000, 21600000), "Nov 25");
});
