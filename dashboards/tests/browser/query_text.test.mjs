import assert from "node:assert/strict";
import test from "node:test";

import { buildQuery, parseQuery, parseTime, resolveAuto } from "../../static/app/query_text.js";

test("a query survives being taken apart and put together", () => {
  const texts = [
    "sum:os.cpu",
    "sum:auto-avg:os.cpu{host=*}",
    "avg:10m-max-zero:rate:os.net.bytes{host=web01,iface=*}",
    "zimsum:1h-avg:rate{counter}:os.cpu{host=wildcard(web*)}{dc=literal_or(ams|fra)}",
    "none:os.cpu{}{dc=ams}",
    "sum:20s-avg:rate{dropcounter}:os.cpu{host=web01}",
    "sum:rate{counter,65535,5000}:os.cpu",
    "sum:os.cpu{host=regexp((a|b),c)}",
  ];
  for (const text of texts) assert.equal(buildQuery(parseQuery(text)), text);
});

test("what the parts cannot hold stays text", () => {
  const texts = ["", "os.cpu", "sum:rate:rate:os.cpu", "sum:explicit_tags:os.cpu{host=*}", "sum:os.cpu{host}", "sum:os.cpu{host=a", "sum:os.cpu}{"];
  for (const text of texts) assert.equal(parseQuery(text), null, text);
});

test("filters without key or value are left out", () => {
  const query = parseQuery("sum:os.cpu");
  query.filters = [{ key: "host", value: "", group: true }, { key: "", value: "x", group: false }];
  assert.equal(buildQuery(query), "sum:os.cpu");
});

test("auto becomes the interval that the server would take", () => {
  const hour = 3600000;
  assert.equal(resolveAuto("sum:auto-avg:os.cpu", hour, 800), "sum:10s-avg:os.cpu");
  assert.equal(resolveAuto("sum:auto-max-zero:rate:os.cpu{host=*}", hour, 800), "sum:10s-max-zero:rate:os.cpu{host=*}");
  assert.equal(resolveAuto("sum:rate{counter}:auto-avg:os.cpu", hour, 800), "sum:rate{counter}:10s-avg:os.cpu");
  assert.equal(resolveAuto("sum:auto-avg:os.cpu", hour, 400), "sum:30s-avg:os.cpu");
  assert.equal(resolveAuto("sum:auto-avg:os.cpu", 24 * hour, 800), "sum:5m-avg:os.cpu");
  for (const text of ["sum:1m-avg:os.cpu", "sum:auto-queue", "sum:os.cpu{host=a:auto-b:c}"]) assert.equal(resolveAuto(text, hour, 800), text);
});

test("times are those of OpenTSDB", () => {
  const now = 1764075909000;
  assert.equal(parseTime("now", now), now);
  assert.equal(parseTime("90m-ago", now), now - 5400000);
  assert.equal(parseTime("1764075909", now), now);
  assert.equal(parseTime("1764075909000", now), now);
  assert.equal(parseTime("2025/11/25-13:05:09", now), now);
  assert.equal(parseTime("2025/11/25", now), 1764028800000);
  for (const text of ["yesterday", "-5", "1h", "2025-11-25"]) assert.equal(parseTime(text, now), null, text);
});
