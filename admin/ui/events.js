// What all nodes logged lately.

import { byID, el, filterBox, keyed, put } from "./dom.js";
import { clock, several } from "./words.js";

const shownAtMost = 100;

let events = [];
const matches = filterBox("events-filter", draw);
const update = keyed(byID("events-list"), (e) => `${e.time} ${e.node} ${textOf(e)}`, make, () => {});

export function showEvents(now) {
  events = now.events;
  draw();
}

function draw() {
  const found = events.filter((e) => matches(e.node, e.level, textOf(e)));
  update(found.slice(0, shownAtMost));
  put(byID("events-count"), `${several(found.length, "line")}, the newest first`);
}

const textOf = (e) => [e.message, ...Object.entries(e.fields ?? {}).filter(([, v]) => v !== "").map(([k, v]) => `${k} ${typeof v === "string" ? v : JSON.stringify(v)}`)].join(" · ");

const levels = { warn: "warn", error: "bad", fatal: "bad", panic: "bad" };

function make(e) {
  return el("li", {}, el("time", { class: "soft", datetime: e.time }, clock(e.time)), el("strong", {}, e.node), el("span", { class: levels[e.level] ?? "" }, levels[e.level] ? `${e.level}: ` : "", textOf(e)));
}
