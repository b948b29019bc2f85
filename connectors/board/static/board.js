// Live: a burst of changes fetches the page again, and only what differs is changed in place, so
// that focus, selection, scrolling and what is opened stay. Without it the page is the same, still.
"use strict";

const PAUSE_MS = 700;
const AGES_MS = 15000;
const AGAIN_MS = 3000;
const live = document.getElementById("live");
let waiting = null;

function say(state, text) {
  live.dataset.state = state;
  live.textContent = text;
}

// Two nodes are the same thing if they have the same tag and, where there is one, the same id.
function isSame(old, fresh) {
  return old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName && (old.id || "") === (fresh.id || "");
}

function update(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  // What a person is writing or has chosen is theirs.
  if (old.matches("form") && (old.contains(document.activeElement) || old.dataset.touched)) return;
  const kept = old.nodeName === "DETAILS" ? ["open"] : [];
  for (const { name } of Array.from(old.attributes)) {
    if (!fresh.hasAttribute(name) && !kept.includes(name) && name !== "class") old.removeAttribute(name);
  }
  for (const { name, value } of Array.from(fresh.attributes)) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  updateChildren(old, fresh);
}

function updateChildren(old, fresh) {
  const known = new Map();
  for (const child of old.children) if (child.id) known.set(child.id, child);
  let at = old.firstChild;
  for (const wanted of Array.from(fresh.childNodes)) {
    const moved = wanted.id && known.get(wanted.id);
    if (moved && moved !== at) {
      old.insertBefore(moved, at);
      update(moved, wanted);
    } else if (at && isSame(at, wanted)) {
      update(at, wanted);
      at = at.nextSibling;
    } else {
      const added = document.importNode(wanted, true);
      if (added.id && added.nodeName === "TR" && known.size) added.classList.add("fresh");
      old.insertBefore(added, at);
    }
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

async function refresh() {
  waiting = null;
  try {
    const answer = await fetch(location.href, { cache: "no-store", headers: { Accept: "text/html" } });
    if (!answer.ok && answer.status !== 404) {
      // What is shown stays; it is said that it is old.
      say("off", answer.status === 401 ? "signed out" : "not live");
      return;
    }
    if (stream.readyState === EventSource.OPEN) say("on", "live");
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of ["main", "nav"]) {
      const [old, wanted] = [document.querySelector(part), fresh.querySelector(part)];
      if (old && wanted) update(old, wanted);
    }
    document.title = fresh.title;
  } catch (error) {
    // The stream below says that the board is away, and comes back here when it returns.
  }
}

function refreshSoon() {
  if (waiting === null && !document.hidden) waiting = setTimeout(refresh, PAUSE_MS);
}

let stream;

function listen() {
  stream = new EventSource("/stream");
  stream.addEventListener("open", () => { say("on", "live"); refreshSoon(); });
  stream.addEventListener("activity", refreshSoon);
  stream.addEventListener("error", () => {
    say("off", "not live");
    // A browser comes back by itself after a lost connection, not after an answer such as 503.
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, AGAIN_MS);
  });
}

listen();
setInterval(refreshSoon, AGES_MS);
document.addEventListener("visibilitychange", refreshSoon);
document.addEventListener("input", (event) => { if (event.target.form) event.target.form.dataset.touched = "yes"; });

// The keyboard: / finds, j and k go from row to row, Escape leaves a field.
document.addEventListener("keydown", (event) => {
  const field = event.target.closest("input, select, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (field) {
    if (event.key === "Escape") field.blur();
  } else if (event.key === "/") {
    event.preventDefault();
    document.getElementById("search").focus();
  } else if (event.key === "j" || event.key === "k") {
    const rows = Array.from(document.querySelectorAll("main tbody tr a.id, .problems h2 a, .timeline summary"));
    const own = rows.filter((row, i) => i === 0 || row.closest("tr, li") !== rows[i - 1].closest("tr, li"));
    const here = own.findIndex((row) => row.closest("tr, li") === document.activeElement.closest("tr, li"));
    const next = own[here < 0 ? 0 : here + (event.key === "j" ? 1 : -1)];
    if (next) next.focus();
  }
});
