// The one file that turns text from the server into elements. REVIEW every change: a test forbids `innerHTML` and its
// kin everywhere else.
//
// What arrives here was rendered by our own templates, which escape every value. Should that ever fail, this file still
// refuses elements that could run or load something, and the page's content security policy refuses inline handlers.

const REFUSED = "script, iframe, object, embed, link, style, base, meta, form[action^='http']";

/** Parses a fragment rendered by the server. Throws when it holds something that no fragment of ours holds. */
export function parse(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  const refused = template.content.querySelector(REFUSED);
  if (refused) throw new Error(`refuse a fragment with <${refused.localName}>`);
  return template.content;
}

/**
 * Makes the inside of `container` equal to `fragment`, keeping every element that stays: rows with the same `data-key`
 * move rather than being made anew, so focus, selection and the pointer's target survive.
 */
export function place(container, fragment) {
  const known = container.querySelector("[data-key]") !== null;
  matchChildren(container, fragment, known);
  container.dispatchEvent(new CustomEvent("tidemark:placed", { bubbles: true }));
}

/** The keys of the rows inside an element or fragment. */
export function keysOf(root) {
  return [...root.querySelectorAll("[data-key]")].map((row) => row.dataset.key);
}

function matchChildren(from, to, known) {
  const keyed = new Map([...from.children].filter((child) => child.dataset.key).map((child) => [child.dataset.key, child]));
  let cursor = from.firstChild;
  for (const next of [...to.childNodes]) {
    const kept = next.dataset?.key ? keyed.get(next.dataset.key) : unkeyedAt(cursor, next);
    if (!kept) {
      if (known && next.dataset?.key) next.classList.add("fresh");
      from.insertBefore(next, cursor);
      continue;
    }
    if (kept === cursor) cursor = cursor.nextSibling;
    else from.insertBefore(kept, cursor);
    match(kept, next, known);
  }
  while (cursor) {
    const rest = cursor.nextSibling;
    cursor.remove();
    cursor = rest;
  }
}

function unkeyedAt(cursor, next) {
  const same = cursor && cursor.nodeType === next.nodeType && cursor.nodeName === next.nodeName && !cursor.dataset?.key;
  return same ? cursor : null;
}

function match(from, to, known) {
  if (from.isEqualNode(to)) return;
  if (from.nodeType !== Node.ELEMENT_NODE) {
    from.data = to.data;
    return;
  }
  for (const { name } of [...from.attributes]) if (!to.hasAttribute(name)) from.removeAttribute(name);
  for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  matchChildren(from, to, known);
}
