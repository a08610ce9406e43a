// The chart of a search that may still go on; its report has one that does more.
"use strict";

/** The trials in the first two objectives, the second across; those on the front are drawn last. */
function draw([up, across], trials) {
  const svg = at("chart"), known = trials.filter((t) => t.objectives[up.name] !== null && t.objectives[across.name] !== null);
  const element = (tag, values, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(values)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const scale = (name, from, to) => {
    const values = known.map((t) => t.objectives[name]), low = Math.min(...values), high = Math.max(...values);
    return { low, high, place: (value) => from + (to - from) * (high > low ? (value - low) / (high - low) : 0.5) };
  };
  if (!known.length) return svg.replaceChildren();
  const x = scale(across.name, 60, 620), y = scale(up.name, 270, 20);
  const unit = ({ name, unit }) => (unit ? `${name} (${unit})` : name);
  svg.replaceChildren(
    element("line", { x1: 50, y1: 280, x2: 630, y2: 280 }), element("line", { x1: 50, y1: 10, x2: 50, y2: 280 }),
    element("text", { x: 340, y: 312, "text-anchor": "middle" }, unit(across)),
    element("text", { x: 14, y: 145, "text-anchor": "middle", transform: "rotate(-90 14 145)" }, unit(up)),
    element("text", { x: 55, y: 296 }, short(x.low)), element("text", { x: 625, y: 296, "text-anchor": "end" }, short(x.high)),
    element("text", { x: 46, y: 276, "text-anchor": "end" }, short(y.low)), element("text", { x: 46, y: 22, "text-anchor": "end" }, short(y.high)),
    ...known.sort((a, b) => a.on_front - b.on_front).map((t) => {
      const dot = element("circle", { cx: x.place(t.objectives[across.name]), cy: y.place(t.objectives[up.name]), r: t.on_front ? 5 : 3.5 });
      if (t.on_front) dot.classList.add("front");
      dot.append(element("title", {}, `trial ${t.trial}: ${t.layout}`));
      return dot;
    }),
  );
}
