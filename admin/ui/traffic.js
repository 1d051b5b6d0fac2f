// Requests by route, and the figures of the whole mesh as they move.

import { byID, el, filterBox, keyed, put, rowOf } from "./dom.js";
import { Spark } from "./spark.js";
import { count, millis, percent, rate, several } from "./words.js";

const shownAtMost = 100; // rows; the filter finds the others
const reorderEvery = 10_000; // ms: rows that jump cannot be read

let routes;
let order = "rps";
let ranks = new Map();
let ranked = 0;
const sparks = new Map();

const totals = { rps: new Spark(), errors: new Spark(), p50: new Spark(), p99: new Spark() };
for (const [name, spark] of Object.entries(totals)) byID(`spark-${name}`).append(spark.element);
totals.errors.element.classList.add("red");

const matches = filterBox("traffic-filter", draw);
const update = keyed(byID("traffic-body"), (r) => r.route, make, change);

const heads = [...document.querySelectorAll("#traffic thead button")];
for (const head of heads) head.addEventListener("click", () => sortBy(head.dataset.sort));
sortBy("rps");

function sortBy(what) {
  order = what;
  ranked = 0;
  for (const head of heads) {
    if (head.dataset.sort === what) head.parentElement.setAttribute("aria-sort", "descending");
    else head.parentElement.removeAttribute("aria-sort");
  }
  draw();
}

export function showTraffic(now) {
  routes = now.routes;
  const { rps, errors, p50_ms: p50, p99_ms: p99 } = now.total;
  put(byID("figure-rps"), rate(rps));
  put(byID("figure-errors"), `${rate(errors)}/s${errors > 0 ? ` · ${percent(errors / rps)}` : ""}`, errors > 0 ? "big bad" : "big");
  put(byID("figure-p50"), rps > 0 ? millis(p50) : "–");
  put(byID("figure-p99"), rps > 0 ? millis(p99) : "–");
  for (const [name, value] of Object.entries({ rps, errors, p50, p99 })) {
    totals[name].add(value);
    totals[name].draw();
  }
  const seen = new Set();
  for (const r of routes) {
    seen.add(r.route);
    if (!sparks.has(r.route)) sparks.set(r.route, new Spark());
    sparks.get(r.route).add(r.rps);
  }
  for (const route of sparks.keys()) if (!seen.has(route)) sparks.delete(route);
  put(byID("traffic-count"), `${several(routes.length, "route")} with requests in the last ${Math.round(now.seconds)} s, of ${several(now.nodes.length, "node")}`);
  draw();
}

function draw() {
  if (!routes) return;
  if (Date.now() - ranked > reorderEvery || routes.some((r) => !ranks.has(r.route))) {
    ranked = Date.now();
    ranks = new Map(routes.toSorted((a, b) => b[order] - a[order]).map((r, i) => [r.route, i]));
  }
  const found = routes.filter((r) => matches(r.route)).sort((a, b) => ranks.get(a.route) - ranks.get(b.route));
  update(found.slice(0, shownAtMost));
  const more = found.length - shownAtMost;
  put(byID("traffic-more"), more > 0 ? `and ${count(more)} more: filter to find them` : found.length > 0 ? "" : routes.length > 0 ? "no route matches the filter" : "no requests lately");
}

function make() {
  return rowOf(["", "n", "", "n", "n", "n", "n"]);
}

function change(row, r) {
  const cells = row.cells;
  put(cells[0], r.route || "(no route)");
  put(cells[1], rate(r.rps));
  const spark = sparks.get(r.route);
  if (spark) {
    if (cells[2].firstChild !== spark.element) cells[2].replaceChildren(spark.element);
    spark.draw();
  }
  put(cells[3], rate(r.errors), r.errors > 0 ? "n bad" : "n");
  put(cells[4], millis(r.p50_ms));
  put(cells[5], millis(r.p90_ms));
  put(cells[6], millis(r.p99_ms));
}
