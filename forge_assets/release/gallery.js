"use strict";
const all = (selector) => [...document.querySelectorAll(selector)];
const one = (id) => document.getElementById(id);
const cards = all("#cards > .card");
const words = new Map(cards.map((card) => [card, card.textContent.toLowerCase()]));
const viewer = one("viewer");
const state = { kind: "verified", task: "", source: "", text: "" };
let current = null;

const shown = () => cards.filter((card) => !card.hidden);

function filter() {
  const needles = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const card of cards) {
    const { kind, task, source } = card.dataset;
    card.hidden = kind !== state.kind || (state.task && task !== state.task) || (state.source && source !== state.source)
      || !needles.every((needle) => words.get(card).includes(needle));
  }
  one("none").hidden = shown().length > 0;
}

function press(selector, key) {
  for (const button of all(selector)) {
    button.addEventListener("click", () => {
      state[key] = button.dataset[key];
      for (const other of all(selector)) other.setAttribute("aria-pressed", String(other === button));
      filter();
    });
  }
}

function open(card) {
  current = card;
  const copy = card.cloneNode(true);
  copy.removeAttribute("id");
  copy.removeAttribute("tabindex");
  one("slot").replaceChildren(copy);
  const list = shown();
  one("place").textContent = `${list.indexOf(card) + 1} of ${list.length}`;
  history.replaceState(null, "", `#pair=${card.id}`);
  if (!viewer.open) viewer.showModal();
}

function step(by) {
  const list = shown();
  if (list.length === 0) return;
  const at = list.indexOf(viewer.open ? current : document.activeElement);
  const card = list[(at + by + list.length) % list.length] ?? list[0];
  if (viewer.open) open(card);
  else { card.focus({ preventScroll: true }); card.scrollIntoView({ block: "nearest" }); }
}

function theme(name) {
  document.documentElement.dataset.theme = name;
}

press(".switch button", "kind");
press(".chips button", "task");
one("search").addEventListener("input", (event) => { state.text = event.target.value; filter(); });
one("source")?.addEventListener("change", (event) => { state.source = event.target.value; filter(); });
for (const card of cards) card.addEventListener("click", () => open(card));
one("prev").addEventListener("click", () => step(-1));
one("next").addEventListener("click", () => step(1));
one("close").addEventListener("click", () => viewer.close());
viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
viewer.addEventListener("close", () => {
  history.replaceState(null, "", location.pathname + location.search);
  if (current) { current.scrollIntoView({ block: "nearest" }); current.focus({ preventScroll: true }); }
});
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select") || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "ArrowRight") { step(1); event.preventDefault(); }
  else if (event.key === "ArrowLeft") { step(-1); event.preventDefault(); }
  else if (event.key === "Enter" && !viewer.open && document.activeElement.matches("#cards > .card")) open(document.activeElement);
  else if (event.key === "/") { if (!viewer.open) { one("search").focus(); event.preventDefault(); } }
});
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
theme(new URLSearchParams(location.search).get("theme") ?? (prefersDark.matches ? "dark" : "light"));
prefersDark.addEventListener("change", (event) => theme(event.matches ? "dark" : "light"));
one("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
const linked = one(location.hash.replace("#pair=", ""));
if (linked && cards.includes(linked)) {
  if (linked.hidden) document.querySelector(`.switch [data-kind="${linked.dataset.kind}"]`).click();
  open(linked);
}
