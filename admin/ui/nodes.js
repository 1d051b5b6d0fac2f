// The nodes by region, and those that drift.

import { byID, el, filterBox, keyed, put, rowOf } from "./dom.js";
import { count, lasting, millis, moment, percent, rate, several, short } from "./words.js";

const classes = ["", "", "", "n", "n", "n", "n", "", "n wide", "wide", "wide", "wide"];

let members = [];
let status;
let traffic = new Map();

const matches = filterBox("nodes-filter", draw);
const update = keyed(byID("nodes-body"), (item) => item.key, make, change);
const updateDrift = keyed(byID("drift-body"), (node) => node.name, () => rowOf(["", "n", "n", "", "why"]), changeDrift);

export function showMesh(mesh) {
  members = mesh.members;
  draw();
}

export function showStatus(now) {
  status = now;
  byID("drift").hidden = now.drift.nodes.length === 0;
  updateDrift(now.drift.nodes);
  draw();
}

export function showTraffic(now) {
  traffic = new Map(now.nodes.map((n) => [n.node, n]));
  draw();
}

function draw() {
  const regions = Map.groupBy(members.filter((m) => m.status !== "left"), (m) => m.node.region);
  const items = [];
  let shown = 0;
  for (const region of [...regions.keys()].sort()) {
    const all = regions.get(region);
    const some = all.filter((m) => matches(m.node.name, region, m.node.state, m.status, m.address));
    shown += some.length;
    if (some.length > 0) items.push({ key: `region ${region}`, region, all }, ...some.map((member) => ({ key: `node ${member.node.name}`, member })));
  }
  update(items);
  const total = members.filter((m) => m.status !== "left").length;
  put(byID("nodes-count"), shown < total ? `${count(shown)} of ${count(total)}` : `${several(total, "node")} in ${several(regions.size, "region")}`);
}

function make(item) {
  if (item.member) return rowOf(classes);
  return el("tr", { class: "group" }, el("th", { scope: "rowgroup", colspan: classes.length }, el("span"), " ", el("span", { class: "soft" })));
}

function change(row, item) {
  if (item.member) changeNode(row.cells, item.member);
  else changeRegion(row, item);
}

function changeRegion(row, { region, all }) {
  const alive = all.filter((m) => m.status === "alive");
  const [name, more] = row.cells[0].children;
  const rps = alive.reduce((sum, m) => sum + m.load.rps, 0);
  put(name, region);
  put(more, `${alive.length === all.length ? several(all.length, "node") : `${alive.length} of ${all.length} nodes alive`} · ${rate(rps)} requests/s`);
}

function changeNode(cells, m) {
  const here = status?.node.name === m.node.name;
  const own = traffic.get(m.node.name);
  const behind = status?.drift.nodes.find((d) => d.name === m.node.name);
  put(cells[0], here ? `${m.node.name} (this)` : m.node.name);
  changeState(cells[1], m);
  changeLoad(cells[2], m);
  put(cells[3], count(m.load.inflight));
  put(cells[4], rate(own ? own.rps : m.load.rps));
  put(cells[5], own?.p99_ms ? millis(own.p99_ms) : "–");
  put(cells[6], here ? "–" : millis(m.rtt_ms));
  put(cells[7], `${m.routes.version} ${short(m.routes.digest)}${behind ? ` · ${lag(behind)}` : ""}`, behind ? "warn" : "");
  put(cells[8], m.node.weight);
  put(cells[9], m.node.started_at ? lasting(Date.now() - Date.parse(m.node.started_at)) : "–");
  put(cells[10], m.node.version);
  put(cells[11], m.address);
}

const lag = (d) => (d.versions_behind > 0 ? `${d.versions_behind} behind` : "differs");

const pills = { serving: "good", shedding: "bad", draining: "warn", starting: "warn" };

function changeState(cell, m) {
  if (!cell.firstChild) cell.append(el("span"));
  const alive = m.status === "alive";
  put(cell.firstChild, alive ? m.node.state || "alive" : m.status, `pill ${alive ? (pills[m.node.state] ?? "") : "bad"}`);
}

function changeLoad(cell, m) {
  if (!cell.firstChild) cell.append(el("span", {}, el("i")), el("span"));
  const [meter, text] = cell.children;
  const level = m.load.cpu >= 0.95 ? "bad" : m.load.cpu >= 0.8 ? "warn" : "";
  meter.className = `meter ${level}`;
  meter.firstChild.style.width = `${Math.min(100, 100 * m.load.cpu).toFixed(0)}%`;
  put(text, percent(m.load.cpu));
}

function changeDrift(row, d) {
  const cells = row.cells;
  put(cells[0], d.name);
  put(cells[1], `${d.routes_version} ${short(d.routes_digest)}`);
  put(cells[2], d.versions_behind);
  put(cells[3], d.since ? moment(d.since) : "–");
  put(cells[4], d.reason);
}
