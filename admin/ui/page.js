// The status page: what comes in on the stream goes to the parts that show it.

import { byID, put } from "./dom.js";
import { showEvents } from "./events.js";
import { showDoctor } from "./health.js";
import { showLimits } from "./limits.js";
import * as nodes from "./nodes.js";
import { follow, onToken } from "./stream.js";
import { trace, traceNamed } from "./trace.js";
import { showTraffic } from "./traffic.js";
import * as upstreams from "./upstreams.js";
import { clock, lasting, short } from "./words.js";

let name = "";
let findings = 0;

const topics = {
  status(s) {
    name = s.node.name;
    put(byID("self-name"), name);
    put(byID("self-state"), s.node.state, `pill ${s.node.state === "serving" ? "good" : "warn"}`);
    put(byID("self-more"), `region ${s.node.region}${s.node.zone ? `, zone ${s.node.zone}` : ""} · meshgw ${s.node.version}${s.node.started_at ? ` · up ${lasting(Date.now() - Date.parse(s.node.started_at))}` : ""}`);
    byID("isolated").hidden = !s.isolated;
    figureRoutes(s);
    nodes.showStatus(s);
    upstreams.showStatus(s);
    title();
  },
  mesh(m) {
    const known = m.members.filter((one) => one.status !== "left");
    const alive = known.filter((one) => one.status === "alive");
    const lost = known.filter((one) => one.status !== "alive").map((one) => one.node.name);
    put(byID("figure-nodes"), `${alive.length} of ${known.length}`, lost.length > 0 ? "big bad" : "big");
    put(byID("figure-nodes-more"), lost.length > 0 ? `not: ${lost.join(", ")}` : "");
    nodes.showMesh(m);
  },
  limits: showLimits,
  traffic(t) {
    showTraffic(t);
    nodes.showTraffic(t);
  },
  events: showEvents,
  doctor(d) {
    findings = showDoctor(d, trace);
    title();
  },
};

function figureRoutes(s) {
  const drifting = s.drift.nodes.length;
  const wrong = [drifting > 0 ? `${drifting} drifting` : "", s.routes.pending.length > 0 ? `${s.routes.pending.length} held back` : "", s.routes.conflicts > 0 ? `${s.routes.conflicts} conflicts` : ""].filter(Boolean);
  put(byID("figure-routes"), `version ${s.routes.version}`, wrong.length > 0 ? "big bad" : "big");
  put(byID("figure-routes-more"), wrong.length > 0 ? wrong.join(", ") : `${short(s.routes.digest)} on all nodes`, wrong.length > 0 ? "soft bad" : "soft");
}

function title() {
  const said = findings > 0 ? `(${findings}) ` : "";
  if (document.title !== `${said}${name} · meshgw`) document.title = `${said}${name} · meshgw`;
}

function connection(word, text) {
  put(byID("connection"), text, `connection ${word}`);
  document.body.classList.toggle("stale", word === "off");
  if (word === "off") put(byID("connection"), `no connection since ${clock(Date.now())}`);
}

// A token is asked for once, however many requests want it.
onToken(
  (wrong) =>
    new Promise((given) => {
      const dialog = byID("token");
      put(byID("token-wrong"), wrong ? "The node does not know that token." : "");
      dialog.showModal();
      dialog.oncancel = (event) => event.preventDefault();
      byID("token-form").onsubmit = (event) => {
        event.preventDefault();
        const value = byID("token-value").value.trim();
        byID("token-value").value = "";
        dialog.close();
        given(value);
      };
    }),
);

traceNamed();
window.addEventListener("hashchange", traceNamed);
follow("/v1/live", (topic, data) => topics[topic]?.(data), connection);
