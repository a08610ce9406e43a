// The chart of the front: drawn from the data in the page, priced by looking prices up in the grid that is in it.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const { points, prices, labels, colours } = data;
  const objectives = Object.fromEntries(data.objectives.map((each) => [each.name, each]));
  const [xName, yName] = data.axes;
  const tables = Object.fromEntries(Object.entries(prices.values).map(([name, text]) => [name, floats(text)]));
  const use = { device: prices.here[0], batch: prices.here[1], context: prices.here[2] };
  let chosen = null;
  let drawn = [];

  function floats(text) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
  }

  const asSearched = () => [use.device, use.batch, use.context].every((place, i) => place === prices.here[i]);

  /** Values of a point for the use that is set. */
  function valuesOf(index) {
    const values = { ...points[index].values };
    if (asSearched()) return values;
    const row = (use.device * prices.batches.length + use.batch) * prices.contexts.length + use.context;
    for (const [name, table] of Object.entries(tables)) values[name] = table[row * points.length + index];
    return values;
  }

  const loss = (name, value) => (objectives[name].better === "low" ? value : -value);

  /** Which points no other beats; of equal ones all stay. */
  function frontOf(values) {
    const names = Object.keys(objectives);
    const losses = values.map((each) => names.map((name) => loss(name, each[name])));
    const known = losses.map((each) => each.every(Number.isFinite));
    return losses.map((own, i) => known[i] && !losses.some((other, j) =>
      known[j] && other.every((l, k) => l <= own[k]) && other.some((l, k) => l < own[k])));
  }

  function quantity(value) {
    for (const [size, prefix] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
      if (Math.abs(value) >= Math.max(size, 1e4)) return Number((value / size).toPrecision(3)) + prefix;
    }
    return String(Math.abs(value) >= 1000 ? Math.round(value) : Number(value.toPrecision(3)));
  }

  function make(tag, attributes = {}, parent = null, text = null) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== null) element.textContent = text;
    if (parent) parent.append(element);
    return element;
  }

  /** From values of an objective to pixels, and the values of ticks. */
  function scaleOf(name, values, from, to) {
    let [low, high] = [Math.min(...values), Math.max(...values)];
    const log = objectives[name].ratio && low > 0 && high > 10 * low;
    const on = log ? Math.log : (value) => value;
    let [a, b] = [on(low), on(high)];
    const pad = 0.06 * (b - a || Math.abs(a) || 1);
    [a, b] = [a - pad, b + pad];
    const at = (value) => from + ((on(value) - a) / (b - a)) * (to - from);
    const ticks = [];
    if (log) {
      const few = high > 300 * low;
      for (let e = Math.floor(a / Math.LN10); e <= b / Math.LN10; e++) {
        for (const m of few ? [1] : [1, 2, 5]) ticks.push(m * 10 ** e);
      }
    } else {
      const raw = (b - a) / 8;
      const size = 10 ** Math.floor(Math.log10(raw));
      const step = size * ([1, 2, 5, 10].find((m) => m * size >= raw) || 10);
      for (let t = Math.ceil(a / step) * step; t <= b; t += step) ticks.push(Number(t.toPrecision(12)));
    }
    return { at, ticks: ticks.filter((t) => on(t) >= a && on(t) <= b) };
  }

  const SHAPES = {
    circle: (r) => `M${-r} 0A${r} ${r} 0 1 0 ${r} 0A${r} ${r} 0 1 0 ${-r} 0Z`,
    square: (r) => `M${-r} ${-r}H${r}V${r}H${-r}Z`,
    triangle: (r) => `M0 ${-1.25 * r}L${1.15 * r} ${0.85 * r}H${-1.15 * r}Z`,
    diamond: (r) => `M0 ${-1.3 * r}L${1.3 * r} 0L0 ${1.3 * r}L${-1.3 * r} 0Z`,
  };
  const hybrid = (point) => new Set(point.layers).size > 1;
  const shapeOf = (point) => (point.origin ? (hybrid(point) ? "triangle" : "diamond") : hybrid(point) ? "circle" : "square");

  function draw() {
    const box = byId("chart");
    const width = Math.max(280, Math.round(box.clientWidth));
    const height = Math.round(Math.min(460, Math.max(300, width * 0.55)));
    const frame = { left: 48, right: width - 12, top: 26, bottom: height - 44 };
    const values = points.map((_, i) => valuesOf(i));
    const front = frontOf(values);
    const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "chart of the front" });
    box.replaceChildren(svg);
    const shown = points.map((_, i) => i).filter((i) => Number.isFinite(values[i][xName]));
    drawn = [];
    if (!shown.length) {
      make("text", { x: frame.left, y: height / 2 }, svg, "No layout has been trained to its end yet.");
      return;
    }
    const x = scaleOf(xName, shown.map((i) => values[i][xName]), frame.left, frame.right);
    const y = scaleOf(yName, shown.map((i) => values[i][yName]), frame.bottom, frame.top);
    drawAxes(svg, frame, x, y);
    const corners = drawSteps(svg, frame, shown.filter((i) => front[i]).map((i) => values[i]), x, y);
    const third = data.third && sizes(shown.map((i) => loss(data.third, values[i][data.third])));
    const order = shown.map((i, k) => ({ i, size: third ? third[k] : 1 }));
    order.sort((a, b) => front[a.i] - front[b.i] || Boolean(points[a.i].origin) - Boolean(points[b.i].origin));
    for (const { i, size } of order) {
      const point = points[i];
      const place = { i, x: x.at(values[i][xName]), y: y.at(values[i][yName]), front: front[i], values: values[i] };
      const spread = point.spreads[yName];
      if (front[i] && spread) {
        const [high, low] = [1, -1].map((side) => y.at(values[i][yName] + side * spread));
        make("path", { class: "bar", d: `M${place.x} ${Math.max(frame.top, Math.min(high, low))}V${Math.min(frame.bottom, Math.max(high, low))}` }, svg);
      }
      const kind = `point ${point.origin ? "published" : "searched"}${front[i] ? " front" : ""}`;
      const mark = make("path", { class: kind, d: SHAPES[shapeOf(point)]((front[i] ? 5.5 : 4) * size), "data-trial": point.trial,
        transform: `translate(${place.x.toFixed(1)} ${place.y.toFixed(1)})` }, svg);
      if (point.origin) mark.setAttribute("fill", colours[point.main]);
      if (front[i]) {
        for (const [name, value] of [["tabindex", 0], ["role", "button"], ["aria-label", `${point.trial}: ${point.text}`]]) mark.setAttribute(name, value);
        mark.addEventListener("focus", () => choose(place));
        mark.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); copyLayout(i); } });
      }
      drawn.push(place);
    }
    drawLabels(svg, frame, corners);
    make("path", { class: "chosen", visibility: "hidden", d: SHAPES.circle(9) }, svg);
    svg.addEventListener("pointermove", (event) => choose(nearest(svg, event)));
    svg.addEventListener("click", (event) => { const place = nearest(svg, event); if (place) { choose(place); copyLayout(place.i); } });
    tellFront(front);
    if (chosen !== null) choose(drawn.find((place) => place.i === chosen) || null);
  }

  /** Sizes of marks from losses in a third objective: better is larger. */
  function sizes(losses) {
    const [low, high] = [Math.min(...losses), Math.max(...losses)];
    return losses.map((each) => 0.7 + 0.8 * ((high - each) / (high - low || 1)));
  }

  function drawAxes(svg, frame, x, y) {
    let free = -Infinity;
    for (const tick of x.ticks) {
      make("path", { class: "grid", d: `M${x.at(tick)} ${frame.top}V${frame.bottom}` }, svg);
      if (x.at(tick) < free) continue;
      make("text", { class: "tick", x: x.at(tick), y: frame.bottom + 15, "text-anchor": "middle" }, svg, quantity(tick));
      free = x.at(tick) + 34;
    }
    for (const tick of y.ticks) {
      make("path", { class: "grid", d: `M${frame.left} ${y.at(tick)}H${frame.right}` }, svg);
      make("text", { class: "tick", x: frame.left - 6, y: y.at(tick) + 4, "text-anchor": "end" }, svg, quantity(tick));
    }
    const name = (each) => `${each.label}${each.unit ? ` (${each.unit})` : ""}, ${each.better}er is better`;
    const label = make("text", { class: "x axis", x: frame.right, y: frame.bottom + 36, "text-anchor": "end" }, svg, name(objectives[xName]));
    if (label.getComputedTextLength() > frame.right) label.textContent = `${xName}, ${objectives[xName].better}er is better`;
    make("text", { class: "y axis", x: 4, y: 13 }, svg, name(objectives[yName]));
  }

  /** The members that improve in y, best first in x, as steps out to the edge. */
  function drawSteps(svg, frame, members, x, y) {
    const sorted = [...members].sort((a, b) => loss(xName, a[xName]) - loss(xName, b[xName]) || loss(yName, a[yName]) - loss(yName, b[yName]));
    const corners = [];
    let best = Infinity;
    for (const each of sorted) {
      if (loss(yName, each[yName]) >= best) continue;
      best = loss(yName, each[yName]);
      const [px, py] = [x.at(each[xName]), y.at(each[yName])];
      if (corners.length) corners.push([px, corners.at(-1)[1]]);
      corners.push([px, py]);
    }
    if (corners.length) {
      corners.push([objectives[xName].better === "low" ? frame.right : frame.left, corners.at(-1)[1]]);
      make("path", { class: "steps", d: `M${corners.map((corner) => corner.join(" ")).join("L")}` }, svg);
    }
    return corners;
  }

  /** Numbers of the front and names of published layouts, each where it hides nothing; what finds no room is left out. */
  function drawLabels(svg, frame, corners) {
    const marks = drawn.filter((p) => p.front || points[p.i].origin);
    const taken = marks.map((p) => [p.x - 6, p.y - 6, p.x + 6, p.y + 6]);
    for (let i = 1; i < corners.length; i++) {
      const [[ax, ay], [bx, by]] = [corners[i - 1], corners[i]];
      taken.push([Math.min(ax, bx) - 1, Math.min(ay, by) - 1, Math.max(ax, bx) + 1, Math.max(ay, by) + 1]);
    }
    const overlap = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
    const wanted = drawn.filter((p) => p.front || points[p.i].named).sort((a, b) => b.front - a.front);
    for (const place of wanted) {
      const point = points[place.i];
      const knee = asSearched() && point.trial === data.knee ? " knee" : "";
      const label = make("text", { class: place.front ? "label" : "label origin" }, svg, place.front ? `${point.trial}${knee}` : point.origin);
      const [w, h] = [label.getComputedTextLength(), 12];
      const options = [9, 20, 32].flatMap((gap) => [[-gap - w, -gap], [gap, -gap], [gap, gap + h / 2], [-gap - w, gap + h / 2],
        [-w / 2, -gap], [-w / 2, gap + h], [gap, h / 3], [-gap - w, h / 3]].map(([dx, dy]) => [place.x + dx, place.y + dy, gap]));
      const room = ([lx, ly]) => [lx - 1, ly - h, lx + w + 1, ly + 3];
      const free = options.find((option) => {
        const [left, top, right, bottom] = room(option);
        const inside = left >= frame.left && right <= frame.right && top >= frame.top && bottom <= frame.bottom;
        return inside && !taken.some((other) => overlap([left, top, right, bottom], other));
      });
      if (!free) { label.remove(); continue; }
      label.setAttribute("x", free[0]);
      label.setAttribute("y", free[1]);
      taken.push(room(free));
      if (free[2] > 9) {
        const [nearX, nearY] = [Math.min(Math.max(place.x, free[0]), free[0] + w), Math.min(Math.max(place.y, free[1] - h + 2), free[1] + 2)];
        make("path", { class: "lead", d: `M${place.x} ${place.y}L${nearX} ${nearY}` }, svg);
      }
    }
  }

  function nearest(svg, event) {
    const box = svg.getBoundingClientRect();
    const size = svg.viewBox.baseVal.width / box.width;
    const [px, py] = [(event.clientX - box.left) * size, (event.clientY - box.top) * size];
    const distance = (place) => Math.hypot(place.x - px, place.y - py) - (place.front ? 4 : 0);
    const best = drawn.reduce((a, b) => (a === null || distance(b) < distance(a) ? b : a), null);
    return best && distance(best) < 30 ? best : null;
  }

  function element(tag, text, kind = "") {
    const made = document.createElement(tag);
    made.textContent = text;
    if (kind) made.className = kind;
    return made;
  }

  /** Shows a layout below the chart. */
  function choose(place) {
    if (!place) return;
    chosen = place.i;
    const point = points[place.i];
    const ring = document.querySelector("#chart .chosen");
    ring.setAttribute("visibility", "visible");
    ring.setAttribute("transform", `translate(${place.x.toFixed(1)} ${place.y.toFixed(1)})`);
    const strip = element("div", "", "strip");
    point.layers.forEach((layer, depth) => {
      const cell = element("i", "");
      cell.style.background = colours[layer];
      cell.title = `layer ${depth}: ${labels[layer]}`;
      strip.append(cell);
    });
    const figures = Object.entries(place.values).map(([name, value]) => {
      const spread = point.spreads[name];
      return `${name} ${quantity(value)}${spread ? ` ± ${quantity(spread)}` : ""} ${objectives[name].unit}`.trim();
    });
    const confidence = asSearched() ? [`confidence ${Math.round(100 * point.confidence)}%`] : [];
    const title = element("p", "");
    title.append(element("b", `${point.trial}${point.origin ? ` ${point.origin}` : ""}`), `  ${[...figures, ...confidence, `${point.seeds} seeds`].join(" · ").replace(/\b1 seeds/, "1 seed")}`);
    const text = element("p", "");
    text.append(element("code", point.text));
    byId("detail").replaceChildren(title, strip, text);
    document.querySelectorAll("#layouts li").forEach((li) => li.classList.toggle("at", li.dataset.trial === String(point.trial)));
  }

  function tellFront(front) {
    const now = points.filter((_, i) => front[i]).map((p) => p.trial);
    const then = points.filter((p) => p.front).map((p) => p.trial);
    const joined = now.filter((n) => !then.includes(n));
    const left = then.filter((n) => !now.includes(n));
    const changes = [joined.length ? `new: ${joined.join(", ")}` : "", left.length ? `no longer: ${left.join(", ")}` : ""].filter(Boolean);
    byId("now").textContent = asSearched() ? `${now.length} layouts on the front, as searched.`
      : `${now.length} layouts on the front for this use${changes.length ? ` (${changes.join("; ")})` : ", the same"}. What training tells is that of the use as searched.`;
  }

  async function copy(text, what) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = element("textarea", "");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    byId("said").textContent = `${what} copied.`;
  }
  const copyLayout = (index) => copy(points[index].yaml, `YAML of layout ${points[index].trial}`);

  function setUp() {
    for (const [name, values] of [["batch", prices.batches], ["context", prices.contexts]]) {
      const input = byId(name);
      input.max = values.length - 1;
      input.defaultValue = use[name];
      input.value = use[name];
      input.closest("label").hidden = values.length < 2;
      input.addEventListener("input", () => { use[name] = Number(input.value); refresh(); });
    }
    const device = byId("device");
    prices.devices.forEach((name, i) => device.add(new Option(name, i, i === use.device, i === use.device)));
    device.closest("label").hidden = prices.devices.length < 2;
    device.addEventListener("change", () => { use.device = Number(device.value); refresh(); });
    byId("use").hidden = !Object.keys(tables).length;
    byId("use").addEventListener("reset", () => { [use.device, use.batch, use.context] = prices.here; setTimeout(refresh); });
    byId("use").addEventListener("submit", (event) => event.preventDefault());
    document.addEventListener("click", (event) => {
      const button = event.target.closest("button.copy");
      if (!button) return;
      if (button.dataset.from) copy(byId(button.dataset.from).textContent, "Settings");
      else copyLayout(points.findIndex((p) => String(p.trial) === button.dataset.trial));
    });
    const kinds = [["searched", "circle", "searched"], ["on the front", "circle", "front"], ["searched, all layers alike", "square", "searched"], ["published, hybrid", "triangle", "searched"], ["published, all layers alike", "diamond", "searched"]];
    for (const [name, shape, kind] of kinds) {
      const item = element("li", "");
      make("path", { class: kind, d: SHAPES[shape](4.5) }, item.appendChild(make("svg", { viewBox: "-6 -6 12 12" })));
      item.append(name);
      byId("marks").append(item);
    }
    byId("marks").append(element("li", `published ones have the colour of their main mixer${data.third ? `; larger: better ${objectives[data.third].label}` : ""}`));
  }

  function refresh() {
    byId("batch-shown").textContent = prices.batches[use.batch];
    byId("context-shown").textContent = prices.contexts[use.context].toLocaleString("en");
    draw();
  }

  setUp();
  refresh();
  let width = 0;
  new ResizeObserver(([entry]) => { if (entry.contentRect.width !== width) { width = entry.contentRect.width; draw(); } }).observe(byId("chart"));
})();
