// What people can do: acknowledge, note, close, purge; retry, cancel; pause, resume. Every action is one POST.

import { csrfToken, sentenceOf } from "app/graph_data.js";
import { refresh } from "app/live.js";

const INCIDENT_ACTIONS = {
  ack: { title: "Acknowledge", text: "You take it. Others see your message." },
  note: { title: "Note", text: "Add a line to the timeline.", required: true },
  close: { title: "Close", text: "Only an incident that is back to normal can be closed." },
  force_close: { title: "Force close", text: "Closes it whatever its status; it opens again if the rule still holds." },
  forget: { title: "Forget", text: "Closes it and stops expecting data from these tags." },
  purge: { title: "Purge", text: "Deletes the incident and its history. This cannot be undone." },
};

const dialog = document.getElementById("action-dialog");
const form = dialog.querySelector("form");
const message = document.getElementById("action-message");
let perform = null;

/** Opens the dialog for an action on an incident. */
export function openIncidentAction(action, id) {
  const { title, text, required } = INCIDENT_ACTIONS[action];
  ask({ title: `${title} #${id}`, text, confirm: title, withMessage: true, required }, () =>
    post(`/api/tidemark/v1/incidents/${encodeURIComponent(id)}/actions`, { action, message: message.value }).then(() => {
      if (action === "purge" && document.querySelector(`.incident-head[data-incident="${CSS.escape(id)}"]`)) location.assign("/incidents");
    }),
  );
}

function ask({ title, text, confirm, withMessage, required }, then) {
  document.getElementById("action-title").textContent = title;
  document.getElementById("action-text").textContent = text;
  document.getElementById("action-confirm").textContent = confirm;
  document.getElementById("action-optional").hidden = Boolean(required);
  fail("");
  message.value = "";
  message.required = Boolean(required);
  message.hidden = !withMessage;
  form.querySelector("label").hidden = !withMessage;
  perform = then;
  dialog.showModal();
}

function fail(sentence) {
  document.getElementById("action-failure").textContent = sentence;
}

async function post(address, body) {
  const answer = await fetch(address, {
    method: "POST",
    headers: { "content-type": "application/json", "x-tidemark-csrf": csrfToken() },
    body: JSON.stringify(body ?? {}),
  });
  if (!answer.ok) throw new Error(await sentenceOf(answer));
}

async function run() {
  const confirm = document.getElementById("action-confirm");
  confirm.disabled = true;
  fail("");
  try {
    await perform();
    dialog.close();
    await refresh();
  } catch (error) {
    fail(error.message);
  } finally {
    confirm.disabled = false;
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
document.getElementById("action-cancel").addEventListener("click", () => dialog.close());

document.addEventListener("click", async ({ target }) => {
  const button = target.closest("[data-action], [data-post]");
  if (!button) return;
  if (button.dataset.action) return openIncidentAction(button.dataset.action, button.dataset.id);
  const title = button.dataset.title ?? button.textContent;
  const { post: address, confirm: text, queue, concurrency } = button.dataset;
  const body = concurrency ? { queue, concurrency: Number(concurrency) } : {};
  if (text) return ask({ title, text, confirm: title }, () => post(address, body));
  button.disabled = true;
  try {
    await post(address, body);
    await refresh();
  } catch (error) {
    ask({ title, text: "", confirm: "Try again" }, () => post(address, body));
    fail(error.message);
  } finally {
    button.disabled = false;
  }
});
