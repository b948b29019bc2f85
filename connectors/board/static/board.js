// Live: each burst of changes fetches the page again and replaces the sections that differ.
"use strict";

const PAUSE_MS = 1000;
const AGES_MS = 30000;
const live = document.getElementById("live");
let waiting = null;

function say(state, text) {
  live.dataset.state = state;
  live.textContent = text;
}

function isInUse(section) {
  const selection = document.getSelection();
  return section.contains(document.activeElement) ||
    (selection && !selection.isCollapsed && section.contains(selection.anchorNode));
}

async function refresh() {
  waiting = null;
  try {
    const answer = await fetch(location.href, { cache: "no-store" });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const section of fresh.querySelectorAll("main > section")) {
      const shown = document.getElementById(section.id);
      if (shown && !isInUse(shown) && shown.innerHTML !== section.innerHTML) {
        const left = Array.from(shown.querySelectorAll(".scroll"), (box) => box.scrollLeft);
        shown.replaceChildren(...section.childNodes);
        shown.querySelectorAll(".scroll").forEach((box, i) => { box.scrollLeft = left[i] || 0; });
      }
    }
  } catch (error) {
    // The stream below says that the board is away, and comes back here when it returns.
  }
}

function refreshSoon() {
  if (waiting === null) waiting = setTimeout(refresh, PAUSE_MS);
}

const stream = new EventSource("/stream");
stream.addEventListener("open", () => { say("on", "live"); refreshSoon(); });
stream.addEventListener("error", () => say("off", "not live, trying again"));
stream.addEventListener("activity", refreshSoon);
setInterval(refreshSoon, AGES_MS);
