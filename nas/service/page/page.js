"use strict";

const at = (id) => document.getElementById(id);
const headers = () => {
  const token = sessionStorage.getItem("token");
  return token ? { Authorization: `Bearer ${token}` } : {};
};
let chosen = null; // identity of the search that is shown
let follow = null; // ends its events
let listed = ""; // what the list shows
const picked = new Map(); // searches to be compared: identity -> name

/** Asks the service; a problem is shown, and ends what was under way. */
async function ask(path, options = {}) {
  const body = options.json && JSON.stringify(options.json);
  const kind = body ? { "Content-Type": "application/json" } : {};
  const response = await fetch(path, { ...options, body, headers: { ...headers(), ...kind } });
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({ detail: response.statusText }));
  if (response.status === 401) at("enter").hidden = false;
  throw new Error(problem.detail);
}

/** Runs what a user asked for, and says what went wrong. */
async function run(task) {
  at("said").textContent = "";
  try { await task(); } catch (error) { if (error.name !== "AbortError") at("said").textContent = error.message; }
}

/** An element with text alone: nothing that comes from outside becomes markup. */
function made(tag, text, kind) {
  const element = document.createElement(tag);
  element.textContent = text;
  if (kind) element.className = kind;
  return element;
}

const short = (value) => (typeof value === "number" ? String(Number(value.toPrecision(4))) : value ?? "");
const stated = (search) => (search.state === "running" && search.wanted !== "run" ? `${search.state}, ${search.wanted}` : search.state);

/** A row of a table: texts, [text, class] or elements. */
function row(...cells) {
  const found = document.createElement("tr");
  found.append(...cells.map((cell) => {
    if (!(cell instanceof Element)) return made("td", ...[cell ?? ""].flat());
    const around = document.createElement("td");
    around.append(cell);
    return around;
  }));
  return found;
}

/** The list, drawn anew where something has changed; what had the focus keeps it. */
async function list() {
  const page = await (await ask("/v1/searches?limit=100")).json(), text = JSON.stringify(page);
  if (text === listed) return;
  listed = text;
  for (const id of [...picked.keys()]) if (!page.searches.some((search) => search.id === id)) pick({ id }, false);
  const focused = document.activeElement?.id;
  at("searches").replaceChildren(...page.searches.map((search) => {
    const now = search.progress || {}, button = made("button", search.name), box = document.createElement("input");
    button.id = `show-${search.id}`;
    button.addEventListener("click", () => run(() => show(search.id)));
    Object.assign(box, { type: "checkbox", id: `pick-${search.id}`, checked: picked.has(search.id) });
    box.setAttribute("aria-label", `Compare ${search.name}`);
    box.addEventListener("change", () => pick(search, box.checked));
    const best = Object.entries(now.best || {}).map(([key, value]) => `${key} ${short(value)}`).join(", ");
    const seconds = now.elapsed && Math.round(now.elapsed);
    return row(box, button, search.owner, stated(search), [now.trials ?? "", "number"], [now.on_front ?? "", "number"], best, [seconds ?? "", "number"]);
  }));
  if (focused) at(focused)?.focus({ preventScroll: true });
}

function pick(search, wanted) {
  if (wanted) picked.set(search.id, search.name); else picked.delete(search.id);
  at("compare").disabled = picked.size < 2;
  at("picked").textContent = picked.size < 2 ? "Tick two searches or more." : [...picked.values()].join(", ");
}

/** Several searches on one front. */
async function compare() {
  const which = [...picked.keys()].map((identity) => `search=${identity}`).join("&");
  const [found, picture] = await Promise.all([
    ask(`/v1/compare?${which}`).then((response) => response.json()),
    ask(`/v1/compare?${which}&format=svg`).then((response) => response.blob()),
  ]);
  URL.revokeObjectURL(at("picture").src);
  at("picture").src = URL.createObjectURL(picture);
  at("target").textContent = `${found.target}; hypervolume of all together: ${short(found.hypervolume)}.`;
  heads("shares-head", ["Search", "Layouts", "Runs", "On the front", "Hypervolume"]);
  at("shares").replaceChildren(...found.searches.map((part) => row(part.name,
    ...[part.layouts, part.runs, part.on_front, short(part.hypervolume)].map((value) => [value, "number"]))));
  heads("all-head", [...found.objectives, "Confidence", "Found by", "Layout"]);
  at("all-front").replaceChildren(...found.points.map((point) => row(
    ...found.objectives.map((name) => [short(point[name]), "number"]), [percent(point.confidence), "number"],
    Object.entries(point.found_by).map(([name, trial]) => `${name}: trial ${trial}`).join(", "), point.layout)));
  at("both").hidden = false;
  at("both").focus();
}

const percent = (share) => `${Math.round(100 * share)}%`;
const heads = (id, names) => at(id).replaceChildren(...names.map((name) => {
  const head = made("th", name);
  head.scope = "col";
  return head;
}));

async function show(identity) {
  chosen = identity;
  at("one").hidden = false;
  at("log").textContent = "";
  at("front").replaceChildren();
  at("chart").replaceChildren();
  at("whole").open = false;
  at("one").focus();
  follow?.abort();
  follow = new AbortController();
  await Promise.all([front(identity), watch(identity, follow.signal)]);
}

/** Follows a search by its events. They come by fetch, as an EventSource sends no token. */
async function watch(identity, signal) {
  const response = await ask(`/v1/searches/${identity}/events`, { signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "", trials = null;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      const [, name, data] = event.match(/^event: (\w+)\ndata: (.*)$/) || [];
      if (name === "log") at("log").append(JSON.parse(data));
      if (name !== "search") continue;
      const search = JSON.parse(data);
      at("title").textContent = `${search.name} (${search.id})`;
      at("state").textContent = [stated(search), search.error].filter(Boolean).join(": ");
      if (search.progress && search.progress.trials !== trials) {
        trials = search.progress.trials;
        await front(identity);
      }
    }
  }
}

/** The use that things are priced for, as a query. */
const use = () => at("set").value.split(/\s+/).filter(Boolean).map((each) => `set=${encodeURIComponent(each)}`).join("&");

async function front(identity) {
  const set = use();
  const [found, all] = await Promise.all([
    ask(`/v1/searches/${identity}/front?${set}`).then((response) => response.json()),
    ask(`/v1/searches/${identity}/trials?${set}`).then((response) => response.json()),
  ]);
  if (identity !== chosen) return;
  const names = found.objectives.map((objective) => objective.name);
  at("use").textContent = `${set ? "Priced for" : "As searched:"} ${found.target}; ${found.points.length} layouts on the front.`;
  heads("head", ["Trial", ...names, "Confidence", "Layout", "Config"]);
  at("front").replaceChildren(...found.points.map((point) => {
    const button = made("button", "Save");
    button.setAttribute("aria-label", `Save the layout of trial ${point.trial}`);
    button.addEventListener("click", () => run(() => download(identity, point.trial)));
    return row(point.trial, ...names.map((name) => [short(point.objectives[name]), "number"]), [percent(point.confidence), "number"], point.label, button);
  }));
  draw(found.objectives, all.trials);
}

async function download(identity, trial) {
  const response = await ask(`/v1/searches/${identity}/layouts/${trial}?${use()}`);
  save(await response.blob(), `${identity}_trial_${trial}.yaml`);
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

/** The page of `nas report`, in a frame that may run its own script and do nothing else. */
async function report() {
  const identity = chosen, page = await (await ask(`/v1/searches/${identity}/report?${use()}`)).blob();
  if (identity !== chosen) return;
  URL.revokeObjectURL(at("report").src);
  at("report").src = URL.createObjectURL(page);
}

async function keep() {
  save(await (await ask(`/v1/searches/${chosen}/report?${use()}`)).blob(), `${chosen}.html`);
}

async function act(what) {
  if (what === "delete" && !confirm("Delete the search and all that it found?")) return;
  const json = what === "prolong" ? { trials: Number(at("trials").value) } : {};
  if (what === "delete") await ask(`/v1/searches/${chosen}`, { method: "DELETE" });
  else await ask(`/v1/searches/${chosen}/${what}`, { method: "POST", json });
  if (what === "delete") { follow?.abort(); at("one").hidden = true; } else run(() => show(chosen));
  await list();
}

async function begin() {
  const me = await (await ask("/v1/me")).json(), known = await (await ask("/v1/known")).json();
  at("enter").hidden = true;
  at("me").textContent = `${me.name} (${me.scope})`;
  at("preset").replaceChildren(...known.presets.map((name) => made("option", name)));
  at("preset").value = "laptop";
  document.querySelector("main").hidden = false;
  await list();
}

at("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", at("token").value);
  run(begin);
});
at("submit").addEventListener("submit", (event) => {
  event.preventDefault();
  run(async () => {
    const overrides = at("overrides").value.split("\n").map((line) => line.trim()).filter(Boolean);
    const json = { preset: at("preset").value, overrides, name: at("name").value || null, key: crypto.randomUUID?.() ?? null };
    const search = await (await ask("/v1/searches", { method: "POST", json })).json();
    await list();
    await show(search.id);
  });
});
at("priced").addEventListener("submit", (event) => {
  event.preventDefault();
  run(() => Promise.all([front(chosen), at("whole").open && report()]));
});
at("whole").addEventListener("toggle", () => { if (at("whole").open) run(report); });
at("keep").addEventListener("click", () => run(keep));
at("compare").addEventListener("click", () => run(compare));
at("actions").addEventListener("click", (event) => { if (event.target.dataset.do) run(() => act(event.target.dataset.do)); });
setInterval(() => { if (!document.hidden && at("enter").hidden) list().catch(() => {}); }, 3000);
run(begin);
