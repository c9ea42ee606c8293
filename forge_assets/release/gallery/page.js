"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const BATCH = 36;
const STATE = { kind: "verified", task: "", source: "", rule: "", q: "" };
const LIMBS = [[5, 7], [7, 9], [11, 13], [13, 15], [6, 8], [8, 10], [12, 14], [14, 16], [5, 6], [11, 12], [5, 11], [6, 12], [0, 1], [0, 2], [1, 3], [2, 4]];
const SEEN = 0.2;

const one = (id) => document.getElementById(id);
const all = (selector) => [...document.querySelectorAll(selector)];
const state = { ...STATE };
const byId = new Map(data.pairs.map((pair) => [pair.id, pair]));
const cards = new Map();
let shown = [];
let drawn = 0;
let current = null;

function element(name, attributes = {}, ...children) {
  const made = name.startsWith("svg:") ? document.createElementNS("http://www.w3.org/2000/svg", name.slice(4)) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "style") for (const [property, text] of Object.entries(value)) made.style.setProperty(property, text);
    else if (key === "on") for (const [event, act] of Object.entries(value)) made.addEventListener(event, act);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

/* --- one pair */

const percent = (value) => `${value / 10}%`;

function words(pieces, pair) {
  return pieces.map((piece) => {
    if (piece.p !== undefined) return element("span", { class: "region point" }, element("b", {}, "•"), piece.t);
    if (piece.b === undefined) return document.createTextNode(piece.t);
    const box = pair.boxes[piece.b];
    return element("span", { class: `region ${box.role}` }, element("b", {}, box.label), piece.t);
  });
}

function line(from, to, side) {
  return element("svg:line", { class: `limb ${side}`, x1: from[0], y1: from[1], x2: to[0], y2: to[1] });
}

function skeleton(pose) {
  const side = (index) => (index === 0 ? "middle" : index % 2 ? "left" : "right");
  const parts = LIMBS.filter(([a, b]) => pose[a][2] >= SEEN && pose[b][2] >= SEEN)
    .map(([a, b]) => line(pose[a], pose[b], side(a) === side(b) ? side(a) : "middle"));
  const dots = pose.map((point, index) => (point[2] >= SEEN ? line(point, point, `dot ${side(index)}`) : null));
  return element("svg:g", { class: "pose" }, element("svg:title", {}, "Keypoints: the person's own left is orange, their right is blue"), parts, dots);
}

function overlay(pair) {
  const svg = element("svg:svg", { viewBox: "0 0 1000 1000", preserveAspectRatio: "none", "aria-hidden": "true", class: "overlay" });
  for (const box of pair.boxes) {
    const [x1, y1, x2, y2] = box.at;
    const size = { x: x1, y: y1, width: x2 - x1, height: y2 - y1 };
    svg.append(element("svg:g", { class: `box ${box.role}` }, element("svg:rect", { class: "halo", ...size }), element("svg:rect", size)));
  }
  for (const box of pair.boxes) if (box.pose) svg.append(skeleton(box.pose));
  for (const point of pair.points) svg.append(element("svg:g", { class: "marked" }, line(point, point, "outer"), line(point, point, "inner")));
  return svg;
}

function tags(pair) {
  return pair.boxes.map((box) => {
    const [x, y, right] = box.at;
    const place = x > 850 && right > 930 ? { right: percent(1000 - right) } : { left: percent(x) };
    return element("span", {
      class: `tag ${box.role}${y >= 60 ? " above" : ""}${place.right ? " from-right" : ""}`,
      style: { ...place, top: percent(y) },
      title: `${box.label}: ${[box.category, box.object, `[${box.at.join(", ")}]`].filter(Boolean).join(", ")}`,
    }, box.label, box.category ? element("em", {}, box.category) : null);
  });
}

function frame(pair) {
  const file = data.images[pair.image];
  const source = (name) => `${data.folder}/${name}`;
  return element("div", { class: "frame", style: { "--w": pair.width, "--h": pair.height } },
    element("img", { src: source(file.name), alt: `Photo ${pair.image}`, loading: "lazy", decoding: "async" }),
    file.depth ? element("img", { src: source(file.depth.name), alt: "", class: "depth", loading: "lazy", decoding: "async" }) : null,
    overlay(pair), tags(pair));
}

function answer(pair) {
  return element("div", { class: "given" }, pair.answer.map((pieces) => element("p", { class: pair.listed ? "listed" : "answer-text" }, words(pieces, pair))));
}

function head(pair) {
  return element("p", { class: "meta" },
    element("span", { class: "task" }, element("i"), data.titles[pair.task] ?? pair.task),
    pair.kind === "rejected" ? element("span", { class: "rule" }, pair.rule_words)
      : pair.score === null ? null : element("span", { class: "score", title: "How far above its thresholds the pair stands; 0 is just at them" }, `margin ${pair.score.toFixed(2)}`));
}

function verdict(pair) {
  const reason = pair.rules.find((rule) => rule.reason);
  if (!reason) return null;
  return element("p", { class: "verdict" }, "Dropped by ", element("b", {}, reason.rule), `: found ${reason.value === "none" ? "no value" : reason.value}, needs ${reason.needed}`);
}

function card(pair) {
  if (!cards.has(pair.id)) {
    cards.set(pair.id, element("article", {
      class: `card task-${pair.task} ${pair.kind}`, id: pair.id, tabindex: "0", "aria-label": `${data.titles[pair.task]}: ${pair.text} Answer: ${pair.answer_text}`,
      on: { click: () => open(pair) },
    }, element("div", { class: "stage" }, frame(pair)), element("div", { class: "text" }, head(pair), element("p", { class: "question" }, words(pair.question, pair)), answer(pair), verdict(pair))));
  }
  return cards.get(pair.id);
}

function table(heading, rows, note = null) {
  if (rows.length === 0) return null;
  return [element("h3", {}, heading), note, element("table", {}, rows.map(([name, ...values]) =>
    element("tr", {}, element("th", { scope: "row" }, name), values.map((value) => element("td", {}, value)))))];
}

function margin(rule) {
  if (rule.margin === null) return rule.holds ? "holds" : "fails";
  const size = Math.min(Math.abs(rule.margin), 1) * 50;
  const sign = rule.margin >= 0 ? "+" : "−";
  const text = Math.abs(rule.margin) > 9.99 ? `${sign}${Math.abs(rule.margin).toFixed(0)} ×` : `${sign}${Math.abs(rule.margin * 100).toFixed(0)} %`;
  return element("span", { class: "margin" }, element("span", { class: "gauge", "aria-hidden": "true" },
    element("i", { class: rule.margin >= 0 ? "over" : "under", style: { width: `${size}%`, [rule.margin >= 0 ? "left" : "right"]: "50%" } })), text);
}

function rules(pair) {
  if (pair.rules.length === 0) return null;
  return [
    element("h3", {}, "Rules"),
    pair.other_thresholds ? element("p", { class: "note" }, "This pair was judged by other thresholds than the configuration has now. The rule that dropped a pair is shown as it was then.") : null,
    element("table", { class: "rules" },
      element("thead", {}, element("tr", {}, ["Rule", "Found", "Needs", "Margin"].map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, pair.rules.map((rule) => element("tr", { class: rule.reason ? "broken" : rule.holds ? null : "failing", title: rule.rule },
        element("th", { scope: "row" }, rule.words), element("td", {}, rule.value), element("td", {}, rule.needed), element("td", {}, margin(rule)))))),
  ];
}

function copyButton(text) {
  return element("button", { type: "button", class: "copy", "aria-label": `Copy ${text}`, on: { click: () => copy(text) } }, "Copy");
}

async function copy(text) {
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = element("textarea", { class: "sr" });
    area.value = text;
    (viewer.open ? one("slot") : document.body).append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
  }
  say(done ? `Copied ${text}` : "The browser does not allow copying");
}

function detail(pair) {
  return element("article", { class: `card task-${pair.task} ${pair.kind}` },
    element("div", { class: "stage" }, frame(pair)),
    element("div", { class: "text" },
      head(pair),
      element("h2", { class: "question" }, words(pair.question, pair)),
      pair.choices.length ? element("ul", { class: "choices", "aria-label": "Options" }, pair.choices.map((choice) =>
        element("li", { class: choice.right ? "right-one" : null }, choice.text))) : null,
      answer(pair),
      pair.short === null || pair.listed ? null : element("p", { class: "short" }, "In short: ", element("b", {}, pair.short)),
      verdict(pair),
      rules(pair),
      table("Evidence", pair.evidence),
      table("Origin", [
        ["Pair", element("span", { class: "with-copy" }, element("code", {}, pair.qa), copyButton(pair.qa))],
        ["Photo", element("span", { class: "with-copy" }, element("span", {}, `${pair.image}, ${pair.width} × ${pair.height}`), copyButton(pair.image))],
        ["Source, shard", `${pair.source}/${pair.shard}`],
        ["Licence", pair.license ?? "–"],
        ["Template", pair.template],
        ["Form", pair.form ?? "–"],
        ["Split", pair.split],
        ...pair.models.map((model) => ["Model", element("code", {}, model)]),
      ])));
}

/* --- filters */

function searched(pair) {
  pair.words ??= [pair.text, pair.answer_text, pair.qa, pair.image, pair.source, pair.template, pair.form, pair.rule, pair.rule_words,
    ...pair.boxes.map((box) => box.category)].filter(Boolean).join(" ").toLowerCase();
  return state.q.toLowerCase().split(/\s+/).every((needle) => pair.words.includes(needle));
}

function fits(pair, except = "") {
  const asked = ["kind", "task", "source", "rule"].filter((key) => key !== except && state[key] && !(key === "rule" && pair.kind === "verified"));
  return asked.every((key) => pair[key] === state[key]) && searched(pair);
}

function count(key, value) {
  return data.pairs.filter((pair) => fits(pair, key) && (!value || pair[key] === value)).length;
}

function fill(id, values, allWords) {
  const select = one(id);
  select.replaceChildren(element("option", { value: "" }, `${allWords} (${count(id, "")})`),
    ...values.map(([value, title]) => element("option", { value, selected: state[id] === value }, `${title} (${count(id, value)})`)));
  select.value = state[id];
}

function refresh() {
  if (state.kind === "verified") state.rule = "";
  shown = data.pairs.filter((pair) => fits(pair));
  for (const button of all(".switch button")) {
    button.setAttribute("aria-pressed", String(button.dataset.kind === state.kind));
    button.querySelector("span").textContent = count("kind", button.dataset.kind);
  }
  for (const chip of all(".chip")) {
    chip.setAttribute("aria-pressed", String(chip.dataset.task === state.task));
    chip.querySelector("span").textContent = count("task", chip.dataset.task);
  }
  const names = [...new Set(data.pairs.map((pair) => pair.source))].sort();
  one("source-field").hidden = names.length < 2;
  fill("source", names.map((name) => [name, name]), "All sources");
  one("rule-field").hidden = state.kind !== "rejected";
  fill("rule", Object.entries(data.rules).sort(([a], [b]) => a.localeCompare(b)), "All rules");
  if (one("search").value !== state.q) one("search").value = state.q;
  one("cards").replaceChildren();
  drawn = 0;
  draw(BATCH);
  one("none").hidden = shown.length > 0;
  one("status").textContent = `${shown.length} of ${data.pairs.length} pairs`;
  remember();
}

function draw(until) {
  const upTo = Math.min(until, shown.length);
  if (upTo > drawn) one("cards").append(...shown.slice(drawn, upTo).map(card));
  drawn = Math.max(drawn, upTo);
}

function set(changes) {
  Object.assign(state, changes);
  refresh();
}

function remember() {
  const kept = new URLSearchParams(Object.entries(state).filter(([key, value]) => value && value !== STATE[key]));
  if (viewer.open && current) kept.set("pair", current.id);
  if (document.body.classList.contains("depth-on")) kept.set("depth", "1");
  const hash = kept.size ? `#${kept}` : "";
  if (location.hash !== hash) history.replaceState(null, "", hash || location.pathname + location.search);
}

function recall() {
  const kept = new URLSearchParams(location.hash.slice(1));
  Object.assign(state, STATE, Object.fromEntries(Object.keys(STATE).filter((key) => kept.has(key)).map((key) => [key, kept.get(key)])));
  const pair = byId.get(kept.get("pair"));
  if (pair) state.kind = pair.kind;
  depth(kept.has("depth"));
  refresh();
  if (pair) open(pair);
}

/* --- the open pair */

const viewer = one("viewer");

function open(pair) {
  current = pair;
  one("slot").replaceChildren(detail(pair));
  one("place").textContent = shown.includes(pair) ? `${shown.indexOf(pair) + 1} of ${shown.length}` : "";
  const map = data.images[pair.image].depth;
  one("scale").hidden = !map;
  one("near").textContent = map ? `near ${map.near}` : "";
  one("far").textContent = map ? `far ${map.far}, by the network “${map.reading}”` : "";
  one("viewer-depth").disabled = !map;
  one("viewer-depth").title = map ? "Depth (d)" : "The lake has no depth map of this photo";
  if (!viewer.open) viewer.showModal();
  remember();
}

function step(by) {
  if (shown.length === 0) return;
  const focused = document.activeElement.closest("#cards > .card");
  const at = shown.indexOf(viewer.open ? current : byId.get(focused?.id));
  const next = at < 0 ? (by > 0 ? 0 : shown.length - 1) : (at + by + shown.length) % shown.length;
  draw(next + 1);
  if (viewer.open) open(shown[next]);
  else reveal(shown[next]);
}

function reveal(pair) {
  const target = card(pair);
  target.focus({ preventScroll: true });
  target.scrollIntoView({ block: "nearest" });
}

function depth(on) {
  const has = Object.values(data.images).some((file) => file.depth);
  const isOn = on && has;
  document.body.classList.toggle("depth-on", isOn);
  for (const id of ["depth", "viewer-depth"]) one(id).setAttribute("aria-pressed", String(isOn));
  if (on && !has) say("The lake has no depth maps of these photos");
  else if (on && viewer.open && current && !data.images[current.image].depth) say("The lake has no depth map of this photo");
}

function toggleDepth() {
  depth(!document.body.classList.contains("depth-on"));
  remember();
}

function toggleBoxes() {
  one("boxes").setAttribute("aria-pressed", String(!document.body.classList.toggle("boxes-off")));
}

function toggleTheme() {
  document.documentElement.dataset.theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
}

function say(text) {
  const toast = element("p", { class: "toast", role: "status" });
  (viewer.open ? viewer : document.body).append(toast);
  toast.textContent = text;
  setTimeout(() => toast.remove(), 2500);
}

function copyId() {
  const pair = viewer.open ? current : byId.get(document.activeElement.closest("#cards > .card")?.id);
  if (pair) copy(pair.qa);
}

/* --- start */

one("depth").hidden = one("viewer-depth").hidden = !Object.values(data.images).some((file) => file.depth);
document.querySelector(".chips").append(...["", ...data.tasks].map((task) =>
  element("button", { type: "button", class: task ? `chip task-${task}` : "chip", "data-task": task, on: { click: () => set({ task }) } },
    task ? element("i") : null, task ? data.titles[task] : "All", " ", element("span"))));
for (const button of all(".switch button")) button.addEventListener("click", () => set({ kind: button.dataset.kind }));
for (const id of ["source", "rule"]) one(id).addEventListener("change", (event) => set({ [id]: event.target.value }));
one("search").addEventListener("input", (event) => set({ q: event.target.value.trim() ? event.target.value : "" }));
one("clear").addEventListener("click", () => set({ ...STATE, kind: state.kind }));
one("depth").addEventListener("click", toggleDepth);
one("viewer-depth").addEventListener("click", toggleDepth);
one("boxes").addEventListener("click", toggleBoxes);
one("theme").addEventListener("click", toggleTheme);
one("help").addEventListener("click", () => one("keys").showModal());
one("keys").querySelector(".done").addEventListener("click", () => one("keys").close());
one("prev").addEventListener("click", () => step(-1));
one("next").addEventListener("click", () => step(1));
one("close").addEventListener("click", () => viewer.close());
for (const dialog of all("dialog")) dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
viewer.addEventListener("close", () => {
  remember();
  if (current && shown.includes(current)) { draw(shown.indexOf(current) + 1); reveal(current); }
});
new IntersectionObserver((entries) => { if (entries.some((entry) => entry.isIntersecting)) draw(drawn + BATCH); }, { rootMargin: "1200px" }).observe(one("more"));

const KEYS = {
  j: () => step(1), k: () => step(-1), ArrowRight: () => step(1), ArrowLeft: () => step(-1),
  r: () => { viewer.close(); set({ kind: state.kind === "verified" ? "rejected" : "verified" }); },
  d: toggleDepth, b: toggleBoxes, t: toggleTheme, c: copyId,
  "/": () => { viewer.close(); one("search").focus(); one("search").select(); },
  "?": () => one("keys").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || one("keys").open) return;
  if (event.target.matches("input")) {
    if (event.key === "Escape") { set({ q: "" }); event.target.blur(); }
    return;
  }
  if (event.target.matches("select")) return;
  if (event.key === "Enter" && event.target.matches("#cards > .card")) open(byId.get(event.target.id));
  else if (event.key in KEYS) KEYS[event.key]();
  else if (/^[0-9]$/.test(event.key)) {
    const task = event.key === "0" ? "" : Object.keys(data.titles)[event.key - 1];
    if (task === undefined) return;
    viewer.close();
    set({ task });
  } else return;
  event.preventDefault();
});

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const theme = () => { document.documentElement.dataset.theme = prefersDark.matches ? "dark" : "light"; };
prefersDark.addEventListener("change", theme);
theme();
addEventListener("hashchange", () => { viewer.close(); recall(); });
recall();
