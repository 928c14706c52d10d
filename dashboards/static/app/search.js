// The search field of every page: hosts by part of their name, metrics by their beginning.

import { offerChoices, suggest } from "app/choices.js";

const input = document.getElementById("search");

async function find(text, signal) {
  if (text === "") return [];
  const metrics = await suggest("metrics", text, signal);
  const hosts = { value: text, hint: "hosts with this in their name", address: `/hosts?q=${encodeURIComponent(text)}` };
  return [hosts, ...metrics.slice(0, 15).map(metricChoice)];
}

function metricChoice(metric) {
  return { value: metric, hint: "metric", address: `/explore?m=${encodeURIComponent(`sum:auto-avg:${metric}`)}` };
}

offerChoices(input, find, ({ address }) => location.assign(address));
