// Light or dark: the system's choice until somebody presses the button, then theirs.

const KEY = "tidemark.theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

/** Switches between light and dark and remembers it. */
export function toggleTheme() {
  const root = document.documentElement;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : dark.matches;
  root.dataset.theme = isDark ? "light" : "dark";
  try {
    localStorage.setItem(KEY, root.dataset.theme);
  } catch {
    // Storage is switched off: the choice lasts for this page.
  }
  announce();
}

function announce() {
  document.dispatchEvent(new CustomEvent("tidemark:theme"));
}

dark.addEventListener("change", announce);
document.getElementById("theme-button").addEventListener("click", toggleTheme);
