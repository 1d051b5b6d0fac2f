// One request, as every node saw it.

import { byID, el } from "./dom.js";
import { clock, count, millis } from "./words.js";
import { get } from "./stream.js";

const section = byID("request");
const body = byID("request-body");
let latest = 0; // of the lookups, so that a slow one does not overwrite a later

byID("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const id = byID("search-id").value.trim();
  if (id) trace(id);
});
byID("request-close").addEventListener("click", () => {
  section.hidden = true;
  history.replaceState(null, "", location.pathname);
  byID("search-id").focus();
});

// trace looks a request up at all nodes and shows it; the address then names it.
export async function trace(id) {
  const mine = ++latest;
  byID("search-id").value = id;
  history.replaceState(null, "", `#request=${encodeURIComponent(id)}`);
  show(el("p", { class: "soft" }, "asking every node…"));
  section.hidden = false;
  byID("request-title").textContent = `Request ${id}`;
  byID("request-title").focus();
  section.scrollIntoView({ block: "nearest" });
  try {
    const found = await get(`/v1/requests/${encodeURIComponent(id)}?mesh=1`);
    if (mine === latest) show(...timeline(found));
  } catch (error) {
    if (mine === latest) show(el("p", { class: "bad" }, error.message));
  }
}

export function traceNamed() {
  const named = /^#request=(.+)/.exec(location.hash);
  if (named) trace(decodeURIComponent(named[1]));
}

const show = (...nodes) => body.replaceChildren(...nodes);

function timeline(found) {
  const whole = Math.max(...found.seen.map((s) => s.duration_ms), 0.001);
  const parts = found.seen.map((s) => hop(s, whole));
  for (const u of found.unanswered) parts.push(el("p", { class: "warn" }, `${u.node} did not answer: ${u.reason}`));
  return parts;
}

function hop(s, whole) {
  const facts = [
    s.via ? `sent on by ${s.via} (${s.via_region}), for client ${s.client_ip}` : `from ${s.client_ip} by ${s.protocol} on ${s.listener}`,
    s.route ? `route ${s.route} of table ${s.routes_version}` : "no route",
    s.upstream && `upstream ${s.upstream}`,
    s.tenant && `tenant ${s.tenant}`,
    s.priority && `priority ${s.priority}`,
    s.limit && `refused by limit ${s.limit}`,
    s.trace_id && `trace ${s.trace_id}`,
  ].filter(Boolean);
  const failed = s.error || s.status >= 500 || s.status === 0;
  const end = [s.status ? `answered ${s.status}` : "no answer was begun", `${count(s.bytes_out)} bytes`, s.error, s.detail].filter(Boolean).join(" · ");
  return el(
    "div",
    { class: s.via ? "hop inner" : "hop" },
    el("h3", {}, `${s.node} (${s.region}) · ${s.method} ${s.host}${s.path}`),
    el("p", { class: "soft" }, `${clock(s.time)} · ${facts.join(" · ")}`),
    ...s.attempts.map((a, i) => attempt(a, i, whole)),
    el("div", { class: "try" }, el("span", { class: failed ? "bad" : "good" }, end), track(0, s.duration_ms, whole, failed), el("span", {}, millis(s.duration_ms))),
  );
}

function attempt(a, i, whole) {
  const failed = a.outcome !== "ok";
  const outcome = `${a.outcome}${a.status ? ` ${a.status}` : ""}`;
  return el(
    "div",
    { class: "try" },
    el("span", {}, `try ${i + 1} `, el("code", {}, a.endpoint), ` ${a.region} `, el("span", { class: failed ? "bad" : "soft" }, outcome)),
    track(a.after_ms, a.duration_ms, whole, failed),
    el("span", {}, `+${millis(a.after_ms)}, ${millis(a.duration_ms)}`),
  );
}

function track(after, length, whole, failed) {
  const bar = el("i", { class: failed ? "bad" : undefined });
  bar.style.left = `${Math.min(99, (100 * after) / whole)}%`;
  bar.style.width = `${Math.max(0, Math.min(100, (100 * length) / whole))}%`;
  return el("span", { class: "track", "aria-hidden": "true" }, bar);
}
