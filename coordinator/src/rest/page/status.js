// What the cluster is doing, followed through the API of the coordinator that served this page: the board tells the whole
// once and then what changed. Nothing here changes anything.
"use strict";

// How long after a stream broke it is opened again, and how often alerts are read where there are rules.
const AGAIN_MS = 2000;
// The board says something every second: one that is silent for longer is lost, whatever its connection says.
const SILENT_MS = 10000;
// The least time between two drawings: more nobody reads.
const DRAW_EVERY_MS = 500;
const KEPT = { points: 60, events: 50, replicas: 200 };

const inFlight = new Map(); // endpoint → the last counts of requests at work
const loads = new Map(); // endpoint/deployment → number of a piece of time → what was answered in it
const clock = { newest: 0, point_ms: 1, drawn: 0 }; // the piece of time that still grows, and how long each is
const known = { endpoints: [], deployments: [], replicas: [], nodes: [] }; // in the order in which they are shown
const told = { endpoints: new Map(), deployments: new Map(), replicas: new Map(), nodes: new Map() }; // by name
const parts = []; // of a look at the cluster of which more follows
const seen = []; // events, newest first
let info = null;
let applied = 0;
let lostSince = null;

async function read(path) {
  const answer = await fetch(`/api/v1/${path}`, { headers: { accept: "application/json" } });
  const body = await answer.json();
  if (!answer.ok) throw new Error(said(body));
  return body;
}

const GOOD = new Set(["Succeeded", "ready", "serving", "info", "ok"]);
const BAD = new Set(["Failed", "lost", "failed", "crash_looping", "error", "firing"]);
const ink = (word) => (GOOD.has(word) ? "good" : BAD.has(word) ? "bad" : "wait");
const state = (word) => make("span", { class: ink(word) }, word);

function age(since_ms) {
  let seconds = Math.max(0, Math.round((Date.now() - since_ms) / 1000));
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m${seconds % 60}s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours}h${minutes % 60}m` : `${Math.floor(hours / 24)}d`;
}

function table(id, heads, rows, empty) {
  const into = el(id);
  if (rows.length === 0) return into.replaceChildren(make("p", { class: "empty" }, empty));
  const cell = (it) => {
    if (typeof it === "number") return make("td", { class: "number" }, String(it));
    return it instanceof HTMLTableCellElement ? it : make("td", {}, it);
  };
  const body = make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map(cell))));
  const head = make("thead", {}, make("tr", {}, ...heads.map((name) => make("th", { scope: "col" }, name))));
  into.replaceChildren(make("table", {}, head, body));
}

/** Draws parts of a whole beside each other, with words for those who do not see colours. */
function bar(parts, total, words) {
  const width = 110;
  const drawing = svg("svg", { width, height: 12, viewBox: `0 0 ${width} 12`, role: "img", "aria-label": words });
  drawing.append(svg("title", {}, words), svg("rect", { class: "room", width, height: 12 }));
  let x = 0;
  for (const [kind, amount] of parts) {
    const wide = total > 0 ? Math.min(width - x, (amount / total) * width) : 0;
    drawing.append(svg("rect", { class: kind, x, width: wide, height: 12 }));
    x += wide;
  }
  return drawing;
}

function sparkline(points, words, least = 1) {
  const [width, height] = [76, 22];
  const most = Math.max(least, ...points);
  const at = (count, index) => {
    // The newest is at the right, however few there are.
    const x = ((KEPT.points - points.length + index) / (KEPT.points - 1)) * width;
    return `${x.toFixed(1)},${(height - 2 - (count / most) * (height - 4)).toFixed(1)}`;
  };
  const drawing = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words });
  drawing.append(svg("title", {}, words), svg("polyline", { class: "line", points: points.map(at).join(" ") }));
  return drawing;
}

function shares(percent, names) {
  const parts = names.map((name, at) => [`s${at % 5}`, percent[name] || 0]);
  const words = names.filter((name) => percent[name]).map((name) => `${name} ${percent[name]} %`).join(", ");
  const cell = make("td", {}, bar(parts, 100, words || "no traffic"));
  cell.append(make("small", { class: "dim" }, words || "no traffic"));
  return cell;
}

/** Draws a bar with its figures below: a bar alone says more or less. */
function figures(parts, total, short, words) {
  const cell = make("td", {}, bar(parts, total, words));
  cell.append(make("small", { class: "dim" }, short));
  return cell;
}

/** Says why a deployment is not whole; nothing for one that is. */
function lacks(it) {
  if (it.reason) return `${it.name}: ${it.reason}`;
  const short = it.reserve && it.reserve.short_since_ms > 0 ? `: ${it.reserve.arithmetic}` : "";
  if (it.ready < it.desired) return `${it.name}: ${it.ready} of ${it.desired} serve${short}`;
  return "";
}

/** Draws a course with its last figure below; a dash where nobody has told of any. */
function course(points, figure, words, least) {
  if (points.length === 0) return make("td", { class: "dim" }, "-");
  const cell = make("td", {}, sparkline(points, `${words}: ${figure}`, least));
  cell.append(make("small", { class: "dim" }, figure));
  return cell;
}

/** Adds up what the deployments of an endpoint answered, refusals before any was chosen too; the oldest first. */
function answered(endpoint) {
  const own = [...loads].filter(([key]) => key.startsWith(`${endpoint}/`)).map(([, points]) => points);
  const found = { rates: [], failed: [], p95: [] };
  // Nobody has told of any: that is not the same as none.
  if (clock.newest === 0) return found;
  for (let number = clock.newest - KEPT.points; number < clock.newest; number += 1) {
    const points = own.map((of) => of.get(number)).filter((it) => it);
    const requests = points.reduce((sum, it) => sum + it.requests, 0);
    const failed = points.reduce((sum, it) => sum + it.failed, 0);
    found.rates.push((requests * 1000) / clock.point_ms);
    found.failed.push(requests > 0 ? (failed * 100) / requests : 0);
    found.p95.push(Math.max(0, ...points.map((it) => it.p95_us / 1000)));
  }
  return found;
}

const short = (number) => (number >= 100 ? number.toFixed(0) : Number(number.toPrecision(2)).toString());

/** Adds how many requests each endpoint works at. */
function countBusy({ endpoints, replicas }) {
  const busy = new Map();
  for (const it of replicas) busy.set(it.endpoint, (busy.get(it.endpoint) || 0) + it.in_flight);
  for (const { name } of endpoints) {
    inFlight.set(name, [...(inFlight.get(name) || []), busy.get(name) || 0].slice(-KEPT.points));
  }
  for (const name of inFlight.keys()) if (!told.endpoints.has(name)) inFlight.delete(name);
}

function showEndpoints({ endpoints, deployments }) {
  clock.drawn = clock.newest;
  const rows = endpoints.map((endpoint) => {
    const own = deployments.filter((it) => it.endpoint === endpoint.name);
    const names = own.map((it) => it.name);
    const points = inFlight.get(endpoint.name) || [0];
    const ready = own.map((it) => `${it.name} ${it.ready}/${it.desired}`).join(", ");
    const { rates, failed, p95 } = answered(endpoint.name);
    const why = own.map(lacks).filter((text) => text).join("; ");
    const mirrors = Object.entries(endpoint.mirror_traffic || {}).map(([name, share]) => `${name} ${share} %`).join(", ");
    return [
      endpoint.name,
      state(endpoint.provisioning_state),
      shares(endpoint.traffic || {}, names),
      mirrors,
      ready,
      course(rates, `${short(rates.at(-1) || 0)} /s`, "requests"),
      course(failed, rates.at(-1) > 0 ? `${short(failed.at(-1))} %` : "-", "failed", 100),
      course(p95, p95.at(-1) > 0 ? `${short(p95.at(-1))} ms` : "-", "p95"),
      course(points, String(points.at(-1)), "at work"),
      make("td", { class: "wrap dim" }, why),
    ];
  });
  const heads = ["endpoint", "state", "traffic", "mirrors", "ready", "requests", "failed", "p95", "at work", "why"];
  table("endpoints", heads, rows, "No endpoint yet: berth apply -f FILE makes one.");
}

/** Rules of endpoints, those that fire first; nothing where there is no rule. */
function showAlerts({ alerts, receivers }) {
  el("s-alerts").hidden = alerts.length === 0;
  const rows = alerts.map((it) => [
    `${it.endpoint}/${it.rule}`,
    state(it.state),
    age(it.since_ms),
    it.value,
    make("td", { class: "wrap" }, it.when + (it.deployment ? ` (${it.deployment})` : "")),
    it.severity,
    make("td", { class: "wrap dim" }, it.text + (it.text && !it.told ? " (being told)" : "")),
  ]);
  table("alerts", ["alert", "state", "for", "now", "fires when", "severity", "what"], rows, "No rules.");
  const names = receivers.map((it) => `${it.name} (${it.kind})`).join(", ");
  el("alerts").append(make("p", { class: "dim" }, names ? `told: ${names}` : "nobody is told but the events"));
}

function showNodes(nodes) {
  const gib = (mib) => `${(mib / 1024).toFixed(mib < 10240 ? 1 : 0)} GiB`;
  const rows = nodes.map((node) => {
    const [all, held, used] = [node.capacity || {}, node.allocated || {}, node.used || {}];
    const cores = `${(held.cpu_milli || 0) / 1000} of ${all.cpu_milli / 1000} cores held`;
    const memory = `${gib(held.memory_mib || 0)} of ${gib(all.memory_mib || 0)} held, ${gib(used.memory_mib || 0)} used`;
    const where = node.drain ? "draining" : node.cordoned ? "cordoned" : node.state;
    // What a lost node said last is no news of its cards.
    const word = (it) => (node.state === "lost" ? "not heard" : it.state);
    const gpus = (node.gpus || []).map((it) => `${it.model} ${word(it)}${it.simulated ? " (simulated)" : ""}`);
    return [
      node.node,
      state(where),
      age(node.since_ms),
      figures([["held", held.cpu_milli || 0]], all.cpu_milli, cores.replace(" cores held", ""), cores),
      figures([["held", held.memory_mib || 0]], all.memory_mib, memory.split(" held")[0], memory),
      gpus.length ? `${gpus.length}: ${[...new Set(gpus)].join(", ")}` : "",
      node.replicas,
      make("td", { class: "wrap dim" }, node.reason),
    ];
  });
  table("nodes", ["node", "state", "for", "cpu", "memory", "GPUs", "replicas", "why"], rows, "No node has joined.");
}

function showReplicas(replicas) {
  const rows = replicas.slice(0, KEPT.replicas).map((it) => [
    it.replica.slice(0, 8),
    `${it.endpoint}/${it.deployment}`,
    it.node,
    state(it.state),
    age(it.since_ms),
    it.in_flight,
    it.restarts,
    // That all is well needs no reason.
    make("td", { class: "wrap dim" }, it.state === "serving" ? "" : it.reason),
  ]);
  table("replicas", ["replica", "deployment", "node", "state", "for", "at work", "restarts", "why"], rows, "None runs.");
  if (replicas.length > KEPT.replicas) {
    el("replicas").append(make("p", { class: "dim" }, `and ${replicas.length - KEPT.replicas} more: berth get replicas`));
  }
}

function showEvents() {
  const rows = seen.map((it) => [
    make("time", { datetime: new Date(it.at_ms).toISOString() }, new Date(it.at_ms).toLocaleTimeString()),
    state(it.severity),
    it.kind,
    make("td", { class: "wrap" }, it.text),
  ]);
  table("events", ["at", "severity", "kind", "what"], rows, "Nothing has happened.");
}

function showCluster() {
  const words = `cluster ${info.cluster_id.slice(0, 8)} · version ${info.version} · term ${info.term} · at ${applied}`;
  el("cluster").textContent = `${words} · leader ${info.leader_address || "none"}`;
  el("warnings").replaceChildren(...[...info.warnings, ...info.not_covered].map((text) => make("li", {}, text)));
  el("warnings").hidden = info.warnings.length + info.not_covered.length === 0;
}

let drawing = null;

/** Draws what is known, soon: of several changes at once the last is drawn. */
function drawSoon() {
  if (drawing !== null) return;
  drawing = setTimeout(() => {
    drawing = null;
    if (clock.drawn !== clock.newest) countBusy(known);
    showCluster();
    showEndpoints(known);
    showReplicas(known.replicas);
    showNodes(known.nodes);
    document.body.dataset.ready = "yes";
  }, DRAW_EVERY_MS);
}

/** Says that what is shown is of now. */
function heard() {
  lostSince = null;
  el("frozen").hidden = true;
}

/** Says that what is shown stays as it is, and why. */
function froze(why) {
  lostSince = lostSince || new Date();
  el("frozen").textContent = `frozen at version ${applied} since ${lostSince.toLocaleTimeString()}: ${why}`;
  el("frozen").hidden = false;
}

const said = (error) => `${error.what} [${error.code}]`;

/**
 * Follows a stream of lines of JSON, and opens it again where it broke. `take` says whether to go on with this one, and
 * `lost` is told why it ended.
 */
async function followLines(path, take, lost = () => {}, silent_ms = null) {
  for (;;) {
    const [ended, silence] = [new AbortController(), { timer: null }];
    const waits = () => {
      clearTimeout(silence.timer);
      if (silent_ms !== null) silence.timer = setTimeout(() => ended.abort(), silent_ms);
    };
    let why = "the coordinator ended the stream";
    try {
      waits();
      const answer = await fetch(`/api/v1/${path()}`, { signal: ended.signal });
      if (!answer.ok) throw new Error(said(await answer.json()));
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let [text, goesOn] = ["", true];
      while (goesOn) {
        const { value, done } = await reader.read();
        if (done) break;
        waits();
        const lines = (text + value).split("\n");
        text = lines.pop();
        goesOn = lines.filter((it) => it).every((line) => take(JSON.parse(line)));
      }
      if (!goesOn) await reader.cancel();
    } catch (error) {
      why = ended.signal.aborted ? "the coordinator says nothing any more" : error.message;
    }
    clearTimeout(silence.timer);
    lost(why);
    await new Promise((done) => setTimeout(done, AGAIN_MS));
  }
}

let nextEvent = null;

function takeEvents(batch) {
  // What was asked for is no longer kept: the watch starts anew.
  if (batch.error) { nextEvent = null; seen.length = 0; return false; }
  seen.unshift(...batch.events.slice().reverse());
  seen.length = Math.min(seen.length, KEPT.events);
  nextEvent = batch.next_seq;
  showEvents();
  return true;
}

const KEYS = {
  endpoints: (it) => it.name,
  deployments: (it) => `${it.endpoint}/${it.name}`,
  replicas: (it) => it.replica,
  nodes: (it) => it.node,
};
const ORDER = {
  endpoints: (it) => [it.name],
  deployments: (it) => [it.endpoint, it.name],
  replicas: (it) => [it.endpoint, it.deployment, String(it.placed_at_ms).padStart(15, "0"), it.replica],
  nodes: (it) => [it.node],
};
const natural = new Intl.Collator("en", { numeric: true });
const plain = { compare: (a, b) => (a < b ? -1 : a > b ? 1 : 0) };

function takeLoads(part) {
  if (part.whole) loads.clear();
  [clock.newest, clock.point_ms] = [part.newest_point, part.point_ms || 1];
  for (const load of part.loads) {
    const key = `${load.endpoint}/${load.deployment}`;
    if (!loads.has(key)) loads.set(key, new Map());
    for (const point of load.points) loads.get(key).set(point.number, point);
  }
  for (const [key, points] of loads) {
    for (const number of points.keys()) if (number < clock.newest - KEPT.points) points.delete(number);
    if (points.size === 0) loads.delete(key);
  }
}

/** Takes what is gone first: a name may have come back within one look. */
function merge(part) {
  if (part.whole) for (const things of Object.values(told)) things.clear();
  for (const it of part.gone) {
    if (it.replica) told.replicas.delete(it.replica);
    else if (it.slot) continue;
    else if (it.node) told.nodes.delete(it.node);
    else if (it.deployment) told.deployments.delete(`${it.endpoint}/${it.deployment}`);
    else told.endpoints.delete(it.endpoint);
  }
  for (const [name, things] of Object.entries(told)) {
    for (const it of part[name]) things.set(KEYS[name](it), it);
    if (!part.whole && part.gone.length === 0 && part[name].length === 0) continue;
    const rows = [...things.values()].map((it) => [ORDER[name](it), it]);
    // As people count, where there are few enough to.
    const words = name === "nodes" ? natural : plain;
    const compare = ([a], [b]) => a.map((word, at) => words.compare(word, b[at])).find((order) => order !== 0) || 0;
    known[name] = rows.sort(compare).map(([, it]) => it);
  }
  info = part.info || info;
  applied = part.index;
  takeLoads(part);
}

/** Takes a part of a look; all of it counts once its last part is there. */
function takeBoard(part) {
  if (part.error) throw new Error(said(part.error));
  if (part.whole) parts.length = 0;
  parts.push(part);
  if (part.more) return true;
  parts.splice(0).forEach(merge);
  heard();
  drawSoon();
  return true;
}

/** Forgets what was answered: figures that nobody renews would be taken for those of now. The next board has them all. */
function loseBoard(why) {
  loads.clear();
  clock.newest = 0;
  froze(why);
}

/** Reads how the rules stand, while any endpoint has one: what they measure is no part of the board. */
async function followAlerts() {
  for (;;) {
    try {
      const hasRules = known.endpoints.some((it) => it.spec && it.spec.alerts.length > 0);
      showAlerts(hasRules ? await read("alerts/list") : { alerts: [], receivers: [] });
    } catch (error) {
      // The board says that nobody answers.
      console.debug(error);
    }
    await new Promise((done) => setTimeout(done, AGAIN_MS));
  }
}

showEvents();
followAlerts();
followLines(() => (nextEvent === null ? "watch/events" : `watch/events?from_seq=${nextEvent}`), takeEvents);
followLines(() => "boards/follow", takeBoard, loseBoard, SILENT_MS);
