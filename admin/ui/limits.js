// Limits and who uses them, as the whole mesh keeps them.

import { byID, el, fill, filterBox, keyed, put, rowOf } from "./dom.js";
import { count, rate, several } from "./words.js";

const shownAtMost = 100;

let limits = [];
const matches = filterBox("limits-filter", draw);
const update = keyed(byID("limits-body"), (l) => l.name, () => rowOf(["", "", "wide", "n", "n", "n", "fold"]), change);

export function showLimits(now) {
  limits = now;
  draw();
}

function draw() {
  const found = limits.filter((l) => matches(l.name, l.rate, ...l.keys.map((k) => k.of ?? k.key)));
  update(found.slice(0, shownAtMost));
  put(byID("limits-count"), several(limits.length, "limit"));
  const more = found.length - shownAtMost;
  put(byID("limits-more"), more > 0 ? `and ${count(more)} more: filter to find them` : found.length > 0 ? "" : limits.length > 0 ? "no limit matches the filter" : "no limits");
}

function change(row, l) {
  const cells = row.cells;
  put(cells[0], l.name);
  put(cells[1], [l.rate ? `${l.rate}, burst ${count(l.burst ?? 0)}` : "", l.concurrency ? `${count(l.concurrency)} at once` : ""].filter(Boolean).join(", "));
  put(cells[2], l.scope);
  put(cells[3], count(l.tracked));
  put(cells[4], count(l.allowed));
  put(cells[5], count(l.refused), l.refused > 0 ? "n warn" : "n");
  fill(cells[6], JSON.stringify(l.keys), () => usersOf(l, cells[6]));
}

const nameOf = (k) => k.of || (k.kind === "concurrency" ? "requests at once" : "all requests");

function line(k) {
  const unit = k.kind === "concurrency" ? "in flight" : "requests/s";
  const users = (k.users ?? []).filter((u) => u.demand > 0).map((u) => `${u.node || "?"} ${rate(u.demand)}`);
  const parts = [`${rate(k.kind === "concurrency" ? k.admitted : k.demand)} ${unit}`];
  if (k.leased) parts.push(`lease ${rate(k.lease)}`);
  if (k.home) parts.push(`home ${k.home}`);
  if (users.length > 0) parts.push(`by node: ${users.join(", ")}`);
  return ` ${parts.join(" · ")}`;
}

function entry(tag, k) {
  const node = el(tag, {}, el("strong", {}, nameOf(k)), el("span", { class: "soft" }, line(k)));
  if (k.mode !== "normal") node.append(" ", el("span", { class: "pill warn" }, k.mode), " ", k.why ?? "");
  return node;
}

function usersOf(l, cell) {
  if (l.keys.length === 0) return [el("span", { class: "soft" }, "nobody now")];
  if (l.keys.length === 1) return [entry("span", l.keys[0])];
  const open = cell.querySelector("details")?.open ?? false;
  const [first, ...rest] = l.keys;
  return [el("details", { class: "keys", open }, el("summary", {}, entry("span", first)), el("ol", {}, ...rest.map((k) => entry("li", k))))];
}
