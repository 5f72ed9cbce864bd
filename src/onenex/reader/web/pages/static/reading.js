// The reading page: viewer, questions, time.
import { Form } from "./form.js";
import { listen, viewerKeys } from "./keys.js";
import { Pane } from "./pane.js";
import { touchable } from "./pointer.js";
import { Saver, Server } from "./saver.js";
import { Stack } from "./stack.js";
import { time } from "./timer.js";
import { View } from "./view.js";

const at = (id) => document.getElementById(id);
const viewer = at("viewer");
const here = `/read/${viewer.dataset.key}`;
const server = new Server(document.querySelector("input[name=token]").value);

// Viewer.

function panes() {
  return [...viewer.querySelectorAll(".pane")].map((element, side) => {
    const { slices, rows, columns, down, across } = element.dataset;
    const stack = new Stack(`/image/${viewer.dataset.key}/${side}`, Number(slices), Number(rows), Number(columns));
    return new Pane(element, stack, [Number(down), Number(across)]);
  });
}

function mark(moment) {
  if (performance.getEntriesByName(moment).length) return;
  performance.mark(moment);
  viewer.classList.add(moment);
}

function told(state, ready) {
  const words = `Image ${state.slice + 1} of ${view.nSlices}`;
  at("slice").value = state.slice + 1;
  at("slice").setAttribute("aria-valuetext", words);
  at("number").textContent = `${state.slice + 1} / ${view.nSlices}`;
  at("window").textContent = `W ${Math.round(state.width)}  L ${Math.round(state.centre)}`;
  at("zoom").textContent = `${Math.round(100 * state.zoom)} %`;
  at("pixels").setAttribute("aria-pressed", String(!state.smooth));
  const bar = view.bar();
  for (const pane of view.panes) {
    pane.element.querySelector(".bar").style.width = `${bar.pixels}px`;
    pane.element.querySelector(".length").textContent = `${bar.length} mm`;
    pane.element.classList.toggle("loading", !ready);
    if (!ready) continue;
    pane.canvas.dataset.painted = state.slice;
    pane.canvas.setAttribute("aria-label", pane.canvas.dataset.name + words);
  }
  if (ready) mark("first-image");
}

const { start, centre, width } = viewer.dataset;
const view = new View(panes(), { slice: Number(start), zoom: 1, x: 0, y: 0, centre: Number(centre), width: Number(width), smooth: true }, told);
for (const pane of view.panes) touchable(pane, view);

async function load() {
  for (let tries = 0; tries < 20; tries += 1) {
    try {
      await Promise.all(view.panes.map((pane) => pane.stack.slice(view.state.slice)));
      break;
    } catch {
      at("trouble").hidden = false;
      await new Promise((go) => setTimeout(go, 1000));
    }
  }
  at("trouble").hidden = true;
  view.ask();
  const changed = (slice) => {
    if (slice === view.state.slice) view.ask();
    const n = view.panes.reduce((sum, pane) => sum + pane.stack.nLoaded, 0);
    at("loaded").value = n / (view.panes.length * view.nSlices);
    at("loaded").hidden = at("loaded").value >= 1;
  };
  await Promise.all(view.panes.map((pane) => pane.stack.load(changed)));
  mark("all-images");
}

// Saving.

const SAID = {
  saving: () => ["Saving …", ""],
  saved: () => ["✓ Saved", "good"],
  offline: (wait) => [`✕ Not saved: the server does not answer. Trying again in ${wait} s. Leave this page open.`, "bad"],
  "logged-out": () => ["✕ Not saved: you are logged out. Log in in another tab; this page then saves by itself.", "bad"],
  elsewhere: () => ["✕ This case was answered on another screen. Load the page again to see it.", "bad"],
  refused: (words) => [`✕ Not saved: ${words}`, "bad"],
};

const saver = new Saver(server, `${here}/answer`, (outcome, extra) => {
  const [words, look] = SAID[outcome](extra);
  at("saved").textContent = words;
  at("saved").className = look;
  at("again").hidden = outcome !== "elsewhere";
  at("login").hidden = outcome !== "logged-out";
  if (outcome !== "saving") saver.failed = outcome === "elsewhere" || outcome === "refused";
});
const form = new Form(at("form"), saver, time(server, `${here}/time`));
addEventListener("beforeunload", (event) => { if (!saver.isIdle) event.preventDefault(); });
at("again").addEventListener("click", () => location.reload());

// Keys, buttons, help.

const help = at("help");
const shortcuts = at("shortcuts");
shortcuts.checked = localStorage.getItem("onenex-keys") !== "off";
shortcuts.addEventListener("change", () => localStorage.setItem("onenex-keys", shortcuts.checked ? "on" : "off"));
const keys = { ...viewerKeys(view), j: () => form.step(1), k: () => form.step(-1), "?": () => help.showModal() };
listen(keys, (digit) => form.digit(digit), () => shortcuts.checked);
at("slice").addEventListener("input", (event) => view.show(Number(event.target.value) - 1));
for (const button of viewer.querySelectorAll("[data-do]")) button.addEventListener("click", () => keys[button.dataset.do]());

load();
