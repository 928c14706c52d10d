// What every page needs: ages, the live socket, actions, keys, search, theme.

import "app/actions.js";
import "app/clock.js";
import "app/copy.js";
import "app/keys.js";
import "app/search.js";
import "app/theme.js";
import { start } from "app/live.js";

const title = document.title;

/** The number of problems stands in the tab's title, so that it is seen from other tabs. */
function titleWithProblems() {
  const count = document.querySelector("[data-problems]")?.dataset.problems;
  document.title = count ? `(${count}) ${title}` : title;
}

document.addEventListener("tidemark:placed", titleWithProblems);
titleWithProblems();
start();
