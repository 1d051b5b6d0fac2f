// The doctor's seven lines, and the errors that it found.

import { byID, el, fill, keyed, put } from "./dom.js";
import { few, moment, several } from "./words.js";

let trace;
const update = keyed(byID("checks"), (c) => `${c.name} ${plain(c)}`, make, change);
const updateErrors = keyed(byID("errors-list"), (f) => f.what.replace(/^\d+ requests?/, "").replace(/, the last .*/, ""), makeError, changeError);

const plain = (c) => c.findings.length + c.notes.length === 0;

export function showDoctor(d, traceOf) {
  trace = traceOf;
  update(d.checks);
  const found = d.checks.reduce((sum, c) => sum + c.findings.length, 0);
  put(byID("health-verdict"), found === 0 ? `nothing is wrong, say ${several(d.nodes.length, "node")}` : several(found, "finding"), found === 0 ? "good" : "bad");
  const errors = d.checks.find((c) => c.name === "errors")?.findings ?? [];
  updateErrors(errors);
  put(byID("errors-count"), errors.length === 0 ? "none in the last 5 minutes" : "of the last 5 minutes");
  return found;
}

function make(c) {
  const parts = [el("span", { class: "mark" }), el("span", { class: "name" }), el("span", { class: "text" })];
  if (plain(c)) return el("li", {}, el("div", { class: "plain" }, ...parts));
  return el("li", {}, el("details", { open: c.findings.length > 0 }, el("summary", {}, ...parts), el("ol", { class: "findings" })));
}

function change(li, c) {
  const [mark, name, text] = li.firstChild.matches("details") ? li.firstChild.firstChild.children : li.firstChild.children;
  put(mark, c.ok ? "✓" : "!", c.ok ? "mark good" : "mark bad");
  put(name, c.name);
  const notes = c.ok && c.notes.length > 0 ? ` · ${several(c.notes.length, "note")}` : "";
  put(text, (c.ok ? "" : `${several(c.findings.length, "finding")}: `) + c.summary + notes);
  if (plain(c)) return;
  const list = li.firstChild.lastChild;
  const open = list.lastChild?.firstChild?.open; // as it was
  fill(list, JSON.stringify([c.findings, c.notes]), () => folded([...c.findings.map((f) => entry(f, "")), ...c.notes.map((f) => entry(f, "note"))], open));
}

const shown = 5; // of one line, so that many findings of one kind do not hide the others

function folded(entries, open) {
  if (entries.length <= shown + 1) return entries;
  const rest = el("ol", { class: "findings" }, ...entries.slice(shown));
  return [...entries.slice(0, shown), el("li", { class: "more" }, el("details", { open }, el("summary", {}, `${entries.length - shown} more`), rest))];
}

function entry(f, className) {
  const about = [few(f.nodes), f.since ? `since ${moment(f.since)}` : ""].filter(Boolean).join(" · ");
  const next = el("div", { class: "next" }, "run ", el("code", {}, f.next));
  if (f.request_id) next.append(" or ", traceButton(f.request_id));
  return el("li", { class: className || undefined }, el("div", {}, f.what), el("div", { class: "soft", title: f.nodes.join(", ") }, about), next);
}

function traceButton(id) {
  const button = el("button", { type: "button" }, "trace it");
  button.addEventListener("click", () => trace(id));
  return button;
}

function makeError(f) {
  const li = el("li", {}, el("div", {}, el("div"), el("div", { class: "soft" })), el("button", { type: "button" }, "Trace"));
  li.lastChild.addEventListener("click", () => trace(li.request));
  return li;
}

function changeError(li, f) {
  li.request = f.request_id;
  put(li.firstChild.firstChild, f.what);
  put(li.firstChild.lastChild, `at ${few(f.nodes)}`);
  li.lastChild.hidden = !f.request_id;
  li.lastChild.setAttribute("aria-label", `Trace request ${f.request_id}`);
}
