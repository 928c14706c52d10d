// Completion under an input: a list that arrows, Enter and the pointer choose from.

const DELAY_MS = 120;
let lists = 0;

/**
 * Offers what `source(text, signal)` returns, `[{ value, hint }]`, under `input`. `choose(item)` is called with the
 * chosen one, after the input has got its value.
 */
export function offerChoices(input, source, choose) {
  const list = document.createElement("ul");
  list.id = `choices-${++lists}`;
  list.className = "choices";
  list.setAttribute("role", "listbox");
  for (const [name, value] of [["role", "combobox"], ["aria-autocomplete", "list"], ["aria-controls", list.id], ["aria-expanded", "false"]]) {
    input.setAttribute(name, value);
  }

  let items = [];
  let at = -1;
  let timer = 0;
  let asking = null;

  function close() {
    clearTimeout(timer);
    asking?.abort();
    list.remove();
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
    at = -1;
  }

  function mark(next) {
    at = next;
    [...list.children].forEach((entry, index) => entry.setAttribute("aria-selected", String(index === at)));
    const entry = list.children[at];
    if (!entry) return;
    input.setAttribute("aria-activedescendant", entry.id);
    entry.scrollIntoView({ block: "nearest" });
  }

  function take(item) {
    input.value = item.value;
    close();
    choose(item);
  }

  function draw() {
    list.replaceChildren(...items.map((item, index) => {
      const entry = document.createElement("li");
      entry.id = `${list.id}-${index}`;
      entry.setAttribute("role", "option");
      entry.textContent = item.value;
      if (item.hint) {
        const hint = document.createElement("span");
        hint.className = "hint";
        hint.textContent = item.hint;
        entry.append(hint);
      }
      entry.addEventListener("pointerdown", (event) => {
        event.preventDefault();
        take(item);
      });
      return entry;
    }));
    if (items.length === 0) return close();
    document.body.append(list);
    const { left, bottom, width } = input.getBoundingClientRect();
    list.style.left = `${Math.max(4, Math.min(left, innerWidth - 240)) + scrollX}px`;
    list.style.top = `${bottom + scrollY + 2}px`;
    list.style.minWidth = `${width}px`;
    input.setAttribute("aria-expanded", "true");
    mark(-1);
  }

  async function ask() {
    asking?.abort();
    asking = new AbortController();
    const { signal } = asking;
    try {
      const found = await source(input.value, signal);
      if (signal.aborted || document.activeElement !== input) return;
      items = found;
      draw();
    } catch (error) {
      if (error.name !== "AbortError") close();
    }
  }

  function askSoon() {
    clearTimeout(timer);
    timer = setTimeout(ask, DELAY_MS);
  }

  input.addEventListener("input", askSoon);
  input.addEventListener("focus", askSoon);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (!list.isConnected) return;
    if (event.key === "ArrowDown") mark(Math.min(items.length - 1, at + 1));
    else if (event.key === "ArrowUp") mark(Math.max(-1, at - 1));
    else if (event.key === "Enter" && at >= 0) take(items[at]);
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}

/** Names that start with `text`: `type` is `metrics`, `tagk` or `tagv`. */
export async function suggest(type, text, signal) {
  const address = `/api/suggest?type=${type}&max=25&q=${encodeURIComponent(text)}`;
  const answer = await fetch(address, { signal });
  return answer.ok ? answer.json() : [];
}
