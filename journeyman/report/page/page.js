// The page's behaviour: colours of the plots, the browser of attempts, and, on a live page, following the run.
// Texts of models and tasks reach the page as text nodes only.
"use strict";
(() => {
const by = (id) => document.getElementById(id);
const read = (doc) => JSON.parse(doc.getElementById("data").textContent);
let data = read(document);

// Control characters (terminal escapes) are written out, as Python writes them, for no font shows them.
const seen = (text) => String(text).replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`);

// ---- plots

const probe = document.body.appendChild(document.createElement("i"));
probe.hidden = true;
function colour(word) { // "@policy/0.2" -> the scheme's colour, as plotly reads it
  const [name, alpha] = word.slice(1).split("/");
  probe.style.color = `var(--${name})`;
  const [r, g, b] = getComputedStyle(probe).color.match(/[\d.]+/g);
  return `rgba(${r},${g},${b},${alpha || 1})`;
}
function coloured(value) {
  if (typeof value === "string") return /^@[a-z]+(\/[\d.]+)?$/.test(value) ? colour(value) : seen(value);
  if (Array.isArray(value)) return value.map(coloured);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, coloured(v)]));
  return value;
}
function draw() {
  if (!window.Plotly) return;
  const small = window.innerWidth < 640;
  const font = { family: getComputedStyle(document.body).fontFamily, size: small ? 11 : 12.5, color: colour("@muted") };
  const label = { bgcolor: colour("@card"), bordercolor: colour("@line"), font: { ...font, color: colour("@ink") } };
  for (const box of document.querySelectorAll("[data-figure]")) {
    const figure = data.figures[box.dataset.figure];
    if (!figure) continue;
    const clear = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font, hoverlabel: label, dragmode: false };
    Plotly.react(box, coloured(figure.data), { ...coloured(figure.layout), ...clear }, { responsive: true, displayModeBar: false });
  }
}
async function unpack() { // plotly.js is kept compressed in the page
  if (typeof DecompressionStream === "undefined") {
    for (const box of document.querySelectorAll("[data-figure]")) box.textContent = "This browser is too old to draw the plots (it has no DecompressionStream).";
    return;
  }
  const packed = Uint8Array.from(atob(by("plotly").textContent), (c) => c.charCodeAt(0));
  const source = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  const script = document.createElement("script");
  script.nonce = document.currentScript ? document.currentScript.nonce : nonce;
  script.textContent = source;
  document.head.appendChild(script);
  draw();
}
const nonce = document.currentScript.nonce;
const scheme = matchMedia("(prefers-color-scheme: dark)");
scheme.addEventListener("change", draw);
by("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : scheme.matches;
  root.dataset.theme = dark ? "light" : "dark";
  draw();
});

if (!by("list")) { unpack(); return; } // a comparison: plots alone

// ---- attempts

const PAGE = 40;
const filters = ["text", "task", "outcome", "family", "step", "role"].map((name) => by(`f-${name}`));
let shown = PAGE;
function make(tag, name, text) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (text !== undefined && text !== null) node.textContent = seen(text);
  return node;
}
const kind = (a) => `${a.family || "tasks"} · level ${a.level}`;
function choices(select, all, values) {
  const kept = select.value;
  const known = [...new Set(values)].sort((a, b) => (typeof a === "number" ? a - b : a < b ? -1 : a > b ? 1 : 0));
  select.replaceChildren(new Option(all, ""), ...known.map((v) => new Option(select.id === "f-step" ? `step ${v}` : seen(v), v)));
  if (known.map(String).includes(kept)) select.value = kept;
}
function fillFilters() {
  const [, task, outcome, family, step, role] = filters;
  choices(task, "every task", data.attempts.map((a) => a.task));
  choices(outcome, "every outcome", data.attempts.map((a) => a.outcome));
  choices(family, "every kind", data.attempts.map(kind));
  choices(step, "every step", data.attempts.map((a) => a.step));
  choices(role, "every role", data.attempts.flatMap((a) => a.traces.map((t) => t.role)));
}
function wanted(a) {
  const [text, task, outcome, family, step, role] = filters.map((f) => f.value);
  if (task && a.task !== task) return false;
  if (outcome && a.outcome !== outcome) return false;
  if (family && kind(a) !== family) return false;
  if (step && String(a.step) !== step) return false;
  if (role && !a.traces.some((t) => t.role === role)) return false;
  if (!text) return true;
  const all = [a.task, a.id, a.answer || "", ...a.prompt.map((m) => m.content), ...a.traces.map((t) => t.text)];
  return all.join("\n").toLowerCase().includes(text.toLowerCase());
}
function block(text) { // a text, folded where it is long
  const box = make("div"), pre = make("pre", "", text);
  box.append(pre);
  if (text.length > 1400 || text.split("\n").length > 16) {
    pre.classList.add("folded");
    const button = make("button", "unfold", "Show all");
    button.type = "button";
    button.addEventListener("click", () => { button.textContent = pre.classList.toggle("folded") ? "Show all" : "Fold"; });
    box.append(button);
  }
  return box;
}
function said(messages) {
  const box = make("div", "trace");
  for (const m of messages) { box.append(make("div", "meta", m.role), block(m.content)); }
  return box;
}
function judged(judgements) {
  return judgements.map((j) => {
    const box = make("div", "meta");
    box.append(make("b", "", j.score === null ? j.status : `score ${+j.score.toFixed(4)}`));
    if (j.evidence) box.append(make("span", "", j.evidence));
    for (const [name, value] of Object.entries(j.components)) box.append(make("span", "mark", `${name} ${value}`));
    if (j.critique) box.append(block(j.critique));
    return box;
  });
}
function trace(t, children) {
  const box = make("div", t.answers ? "trace answers" : "trace"), meta = make("div", "meta");
  meta.append(make("b", "", t.role));
  if (t.answers) meta.append(make("span", "", "holds the answer"));
  meta.append(make("span", "", t.id), make("span", "", t.policy === "policy" ? "policy" : `policy ${t.policy}`), make("span", "", `${t.tokens} tokens`), make("span", "", `stop: ${t.stop}`), make("span", "", `temperature ${t.temperature}`));
  for (const [name, value] of Object.entries(t.marks)) meta.append(make("span", "mark", `${name} ${value}`));
  box.append(meta);
  if (t.asked.length) {
    const asked = make("details");
    asked.append(make("summary", "small muted", "asked"), said(t.asked));
    box.append(asked);
  }
  box.append(block(t.text), ...judged(t.judgements));
  for (const child of children.get(t.id) || []) box.append(trace(child, children));
  return box;
}
function tree(traces) { // a trace stands inside the one that it continues
  const known = new Set(traces.map((t) => t.id)), children = new Map(), roots = [];
  for (const t of traces) {
    if (t.parent === null || !known.has(t.parent) || t.parent === t.id) { roots.push(t); continue; }
    if (!children.has(t.parent)) children.set(t.parent, []);
    children.get(t.parent).push(t);
  }
  return roots.map((t) => trace(t, children));
}
function inside(a) {
  const box = make("div", "inside");
  box.append(make("h4", "", `task ${a.task}`), said(a.prompt));
  if (a.gold && a.gold !== "null") box.append(make("h4", "", "gold answer"), block(a.gold));
  if (a.error) box.append(make("h4", "", "error"), block(a.error));
  if (a.judgements.length) box.append(make("h4", "", "judgement"), ...judged(a.judgements));
  if (a.answer !== null && !a.traces.some((t) => t.answers && t.text === a.answer)) box.append(make("h4", "", "answer"), block(a.answer));
  if (a.confidence !== null) box.append(make("div", "meta", `the selector's confidence in the answer: ${+a.confidence.toFixed(4)}`));
  box.append(make("h4", "", `${a.traces.length} ${a.traces.length === 1 ? "trace" : "traces"}, ${a.tokens} tokens, ${a.seconds} s`), ...tree(a.traces));
  return box;
}
function attempt(a) {
  const box = make("details", "attempt"), head = make("summary");
  box.dataset.id = a.id;
  const question = a.prompt.length ? a.prompt[a.prompt.length - 1].content : a.task;
  head.append(make("span", `outcome ${a.outcome}`, a.outcome), make("span", "muted", `step ${a.step}`), make("span", "kind muted", kind(a)), make("span", "one", question.replace(/\s+/g, " ").slice(0, 240)), make("span", "end muted", `${a.tokens} tok`));
  box.append(head);
  box.addEventListener("toggle", () => { if (box.open && box.children.length === 1) box.append(inside(a)); });
  return box;
}
function list() {
  const open = new Set([...document.querySelectorAll(".attempt[open]")].map((d) => d.dataset.id));
  const found = data.attempts.filter(wanted);
  by("list").replaceChildren(...found.slice(0, shown).map((a) => {
    const node = attempt(a);
    if (open.has(a.id)) { node.append(inside(a)); node.open = true; }
    return node;
  }));
  by("found").textContent = `${found.length} of ${data.attempts.length} shown here match.`;
  by("more").hidden = found.length <= shown;
}
for (const f of filters) f.addEventListener(f.type === "search" ? "input" : "change", () => { shown = PAGE; list(); });
document.querySelector(".filters").addEventListener("submit", (event) => event.preventDefault());
by("more").addEventListener("click", () => { shown += PAGE; list(); });

// ---- following a run

async function follow() {
  const pulse = by("pulse");
  const tell = (words, lost) => { if (pulse.textContent !== words) pulse.textContent = words; pulse.classList.toggle("lost", lost); };
  try {
    const answer = await fetch("/version");
    if (!answer.ok) { tell(`${await answer.text()}; this is what was last seen`, true); setTimeout(follow, 3000); return; }
    const { version, state } = await answer.json();
    if (version !== data.version) {
      const part = new DOMParser().parseFromString(await (await fetch("/part")).text(), "text/html");
      const x = window.scrollX, y = window.scrollY;
      data = read(part);
      // A plot that stays keeps its box, so that the page does not jump and nothing flickers.
      for (const box of part.querySelectorAll("[data-figure]")) {
        const known = document.querySelector(`[data-figure="${CSS.escape(box.dataset.figure)}"]`);
        if (known) { known.setAttribute("aria-label", box.getAttribute("aria-label")); known.style.height = box.style.height; box.replaceWith(known); }
      }
      by("summary").replaceWith(part.getElementById("summary"));
      by("sampled").parentNode.replaceWith(part.getElementById("sampled").parentNode);
      fillFilters(); list(); draw();
      window.scrollTo(x, y);
    }
    tell({ running: "live", ended: "the run has ended", stopped: "the run was stopped" }[state], state === "stopped");
  } catch (error) {
    tell("the server is gone; this is what was last seen", true);
  }
  setTimeout(follow, 3000);
}

fillFilters();
list();
unpack();
if (data.version) setTimeout(follow, 3000);
})();
