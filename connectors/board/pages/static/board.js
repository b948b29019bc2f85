// Keeps the page live: after a burst of changes the script fetches the page again and changes in place
// only what differs, so that focus, selection, scroll position and open details stay. Without the
// script the page shows the same, but does not update.
"use strict";

const BURST_MS = 700;
const COUNTED_MS = 2500;
const AGES_MS = 15000;
const RECONNECT_MS = 3000;
const live = document.getElementById("live");
let timer = null;
let lastTimer = null;

function setLive(state, text) {
  live.dataset.state = state;
  live.textContent = text;
}

// Two nodes show the same thing if they have the same tag and the same id, if any.
function isSame(old, fresh) {
  return old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName && (old.id || "") === (fresh.id || "");
}

function update(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  // A form that a person is filling in stays as it is.
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
  let current = old.firstChild;
  for (const target of Array.from(fresh.childNodes)) {
    const moved = target.id && known.get(target.id);
    if (moved && moved !== current) {
      old.insertBefore(moved, current);
      update(moved, target);
    } else if (current && isSame(current, target)) {
      update(current, target);
      current = current.nextSibling;
    } else {
      const added = document.importNode(target, true);
      if (added.id && added.nodeName === "TR" && known.size) added.classList.add("fresh");
      old.insertBefore(added, current);
    }
  }
  while (current) {
    const removed = current;
    current = current.nextSibling;
    removed.remove();
  }
}

async function refresh() {
  timer = null;
  try {
    const answer = await fetch(location.href, { cache: "no-store", headers: { Accept: "text/html" } });
    if (!answer.ok && answer.status !== 404) {
      // The page stays and is marked as old.
      setLive("off", answer.status === 401 ? "signed out" : "not live");
      return;
    }
    if (stream.readyState === EventSource.OPEN) setLive("on", "live");
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of ["main", "nav"]) {
      const [old, updated] = [document.querySelector(part), fresh.querySelector(part)];
      if (old && updated) update(old, updated);
    }
    document.title = fresh.title;
  } catch (error) {
    // The stream below reports that the board is down, and refreshes the page when it is back.
  }
}

function refreshSoon() {
  if (timer === null && !document.hidden) timer = setTimeout(refresh, BURST_MS);
}

// The board counts at most once a second, so the first refresh may show old counts.
function refreshTwice() {
  refreshSoon();
  clearTimeout(lastTimer);
  lastTimer = setTimeout(refreshSoon, COUNTED_MS);
}

let stream;

function listen() {
  stream = new EventSource("/stream");
  stream.addEventListener("open", () => { setLive("on", "live"); refreshTwice(); });
  stream.addEventListener("activity", refreshTwice);
  stream.addEventListener("error", () => {
    setLive("off", "not live");
    // A browser reconnects by itself after a lost connection, but not after an answer such as 503.
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, RECONNECT_MS);
  });
}

listen();
setInterval(refreshSoon, AGES_MS);
document.addEventListener("visibilitychange", refreshSoon);
document.addEventListener("input", (event) => { if (event.target.form) event.target.form.dataset.touched = "yes"; });

// Keys: / goes to the search field, j and k go from row to row, Escape leaves a field.
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
