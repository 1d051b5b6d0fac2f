// Upstreams and their endpoints: as this node sees them, and what each says.

import { byID, el, fill, filterBox, keyed, put, rowOf } from "./dom.js";
import { count, moment, percent, several } from "./words.js";

const shownAtMost = 50; // upstreams; those with trouble come first

let upstreams = [];
const matches = filterBox("upstreams-filter", draw);
const update = keyed(byID("upstreams-body"), (item) => item.key, make, change);

export function showStatus(status) {
  upstreams = status.upstreams;
  draw();
}

const trouble = (u) => u.refused > 0 || u.pending > 0 || u.endpoints.some((e) => !e.healthy || (e.verdicts ?? []).some(bad));
const bad = (v) => v.check === "down" || v.breaker !== "closed";

function draw() {
  const found = upstreams.filter((u) => matches(u.name, ...u.endpoints.flatMap((e) => [e.url, e.region, e.state])));
  found.sort((a, b) => trouble(b) - trouble(a) || (a.name < b.name ? -1 : 1));
  const items = [];
  for (const u of found.slice(0, shownAtMost)) {
    items.push({ key: `upstream ${u.name}`, u }, ...u.endpoints.map((e) => ({ key: `endpoint ${u.name} ${e.url} ${e.region}`, e })));
  }
  update(items);
  const endpoints = upstreams.flatMap((u) => u.endpoints);
  const out = endpoints.filter((e) => !e.healthy).length;
  put(byID("upstreams-count"), `${several(upstreams.length, "upstream")}, ${several(endpoints.length, "endpoint")}${out > 0 ? `, ${count(out)} out of service` : ""}`, out > 0 ? "bad" : "soft");
  const more = found.length - shownAtMost;
  put(byID("upstreams-more"), more > 0 ? `and ${count(more)} more: filter to find them` : found.length > 0 ? "" : upstreams.length > 0 ? "no upstream matches the filter" : "no upstreams");
}

function make(item) {
  if (item.e) return rowOf(["", "", "", "n", "n", "fold"], "of");
  return el("tr", { class: "group" }, el("th", { scope: "rowgroup", colspan: 6 }, el("span"), " ", el("span", { class: "soft" }), " ", el("span", { class: "bad" })));
}

function change(row, item) {
  if (item.e) changeEndpoint(row.cells, item.e);
  else changeUpstream(row, item.u);
}

function changeUpstream(row, u) {
  const [name, more, wrong] = row.cells[0].children;
  const shares = u.regions.filter((r) => r.share > 0).map((r) => `${r.region} ${percent(r.share)}`);
  put(name, u.name);
  put(more, [shares.length > 0 ? `requests go to ${shares.join(", ")}` : "", u.alone ? `cannot fail over: ${u.alone}` : ""].filter(Boolean).join(" · "));
  put(wrong, [u.pending > 0 ? `${several(u.pending, "request")} waiting` : "", u.refused > 0 ? `${percent(u.refused)} refused` : ""].filter(Boolean).join(" · "));
}

function changeEndpoint(cells, e) {
  put(cells[0], e.url);
  put(cells[1], e.region || "every");
  if (!cells[2].firstChild) cells[2].append(el("span"));
  put(cells[2].firstChild, stateOf(e), `pill ${e.healthy ? "good" : "bad"}`);
  put(cells[3], count(e.inflight));
  put(cells[4], e.weight);
  const said = e.verdicts ?? [];
  fill(cells[5], JSON.stringify([said, e.reason]), () => saysOf(e, said));
}

// The states are those of a circuit breaker, where closed is well.
const states = { closed: "healthy", open: "breaker open", half_open: "breaker half open" };
const stateOf = (e) => states[e.state] ?? e.state;

function saysOf(e, said) {
  const wrong = said.filter(bad);
  const well = said.length - wrong.length;
  const all = el("span", { class: "says" });
  if (!e.healthy && e.reason) all.append(el("span", { class: "bad" }, `${e.reason}${e.since ? ` since ${moment(e.since)}` : ""}`));
  for (const v of wrong) {
    const what = v.breaker !== "closed" ? `breaker ${v.breaker}` : "check down";
    all.append(el("span", {}, el("strong", {}, v.node), " ", el("span", { class: "bad" }, what), ` ${v.reason ?? ""} since ${moment(v.since)}`));
  }
  if (well > 0) all.append(el("span", { class: "soft" }, wrong.length > 0 ? `${well} fine` : said.length <= 4 ? `fine: ${said.map((v) => v.node).join(", ")}` : `${well} nodes: fine`));
  return [all];
}
