"use strict";

// Keeps the marked part of a page fresh, and says so when the node stops answering.
const every = 3000;
const live = document.querySelector("[data-refresh]");
const stale = document.getElementById("stale");
let lastAnswer = new Date();

async function part(url, id) {
  const answer = await fetch(url, { credentials: "same-origin", cache: "no-store" });
  if (!answer.ok) throw new Error(String(answer.status));
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const found = page.getElementById(id);
  if (found === null) throw new Error("no such part");
  return found;
}

function keyOf(element) {
  return element.getAttribute("href") ?? element.closest("form")?.getAttribute("action") ?? element.className;
}

async function refresh() {
  try {
    const fresh = await part(live.dataset.refresh, live.id);
    lastAnswer = new Date();
    stale.hidden = true;
    const selecting = !getSelection().isCollapsed && live.contains(getSelection().anchorNode);
    if (!selecting && fresh.innerHTML !== live.innerHTML) {
      const state = (where) => where.querySelector(".status")?.dataset.state;
      const moved = state(fresh) !== state(live);
      const focused = live.contains(document.activeElement) ? keyOf(document.activeElement) : null;
      live.replaceChildren(...fresh.childNodes);
      if (focused !== null) [...live.querySelectorAll("a, button, [tabindex]")].find((one) => keyOf(one) === focused)?.focus({ preventScroll: true });
      if (moved) await pictures();
    }
  } catch {
    stale.querySelector("span").textContent = lastAnswer.toLocaleTimeString();
    stale.hidden = false;
  }
}

async function pictures() {
  const place = document.querySelector("[data-load]");
  if (place === null) return;
  try {
    place.replaceChildren(...(await part(place.dataset.load, place.id)).childNodes);
  } catch {
    place.textContent = "The pictures could not be loaded.";
  }
}

async function loop() {
  if (!document.hidden) await refresh();
  setTimeout(loop, every);
}

pictures();
if (live !== null) setTimeout(loop, every);
