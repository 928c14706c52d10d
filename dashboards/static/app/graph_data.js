// History for graphs, over HTTP: compressed, and given up when nobody needs it any more.

/**
 * Asks for `queries` (`[{ m }]`) between `from` and `to` with at most two points for each of `px` pixels.
 * Returns `{ t: [ms], series: [{ query, metric, tags, label, v }] }`; throws an Error with the server's sentence.
 */
export async function fetchGraph({ from, to, px, queries }, signal) {
  const answer = await fetch("/api/tidemark/v1/graph", {
    method: "POST",
    headers: { "content-type": "application/json", "x-tidemark-csrf": csrfToken() },
    body: JSON.stringify({ from, to, px, queries }),
    signal,
  });
  if (!answer.ok) throw new Error(await sentenceOf(answer));
  return answer.json();
}

/** The token that every POST carries. */
export function csrfToken() {
  return document.querySelector("meta[name='csrf-token']").content;
}

/** What the server says went wrong, from our own error shape or OpenTSDB's. */
export async function sentenceOf(answer) {
  const text = await answer.text();
  try {
    const body = JSON.parse(text);
    const said = body.error?.message ?? body.error ?? body.message;
    if (typeof said === "string") return said;
  } catch {
    // Not JSON: the text itself has to do.
  }
  return text.slice(0, 300) || `the server answered ${answer.status}`;
}
