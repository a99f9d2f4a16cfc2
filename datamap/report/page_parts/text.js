// Elements that hold texts of the data set: every text becomes a text node, never markup.

function drawn(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const PATHS = {
  circle: "M8 2a6 6 0 1 0 .01 0z", square: "M3 3h10v10h-10z", triangle: "M8 2l7 12h-14z", diamond: "M8 1l7 7-7 7-7-7z",
};

function swatch(colour, marker) {
  const icon = drawn("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, drawn("path", { d: PATHS[marker], fill: colour }));
  return make("span", { class: "swatch" }, icon);
}

const percent = (share) => `${(100 * share).toFixed(1)}%`;

// A number of a metric: whole ones as they are, the others with three decimals.
function figure(value) {
  if (value === null || value === undefined) return "";
  return Number.isInteger(value) ? String(value) : value.toFixed(3);
}

// A context with its answers in <mark>; starts count code points, as Python does.
function markedContext(context, answers) {
  const points = /[\ud800-\udfff]/.test(context) ? Array.from(context) : null;
  const part = (from, to) => (points ? points.slice(from, to).join("") : context.slice(from, to));
  const spans = answers.map(([start, text]) => [start, start + Array.from(text).length, text]);
  const box = make("div", { class: "context", tabindex: "0", "aria-label": "context" });
  let place = 0;
  for (const [start, end, text] of spans.sort((one, other) => one[0] - other[0] || other[1] - one[1])) {
    if (start < place || part(start, end) !== text) continue;
    box.append(part(place, start), make("mark", {}, text));
    place = end;
  }
  box.append(part(place));
  return box;
}

// The gold probability by epoch as a small line; an epoch in which the example was not seen leaves a gap.
function probabilityLine(probs, firstEpoch) {
  const x = (epoch) => (probs.length > 1 ? 40 + (280 * epoch) / (probs.length - 1) : 180);
  const y = (value) => 85 - 0.07 * value;
  const path = probs.map((value, epoch) => {
    if (value === null) return "";
    return `${epoch && probs[epoch - 1] !== null ? "L" : "M"}${x(epoch)} ${y(value)}`;
  });
  const listed = probs.map((value) => (value === null ? "not seen" : (value / 1000).toFixed(3))).join(", ");
  const label = `Gold probability by epoch: ${listed}`;
  const picture = drawn("svg", { class: "line", viewBox: "0 0 340 110", role: "img", "aria-label": label });
  for (const [value, name] of [[0, "0"], [500, "0.5"], [1000, "1"]]) {
    picture.append(drawn("line", { x1: 34, x2: 330, y1: y(value), y2: y(value) }));
    picture.append(drawn("text", { x: 28, y: y(value) + 4, "text-anchor": "end" }, name));
  }
  picture.append(drawn("path", { d: path.join("") }));
  probs.forEach((value, epoch) => {
    if (value === null) return;
    const said = drawn("title", {}, `epoch ${epoch + firstEpoch}: ${(value / 1000).toFixed(3)}`);
    picture.append(drawn("circle", { cx: x(epoch), cy: y(value), r: 4 }, said));
  });
  picture.append(drawn("text", { x: x(0), y: 104 }, `epoch ${firstEpoch}`));
  if (probs.length > 1) picture.append(drawn("text", { x: 330, y: 104, "text-anchor": "end" }, `epoch ${probs.length - 1 + firstEpoch}`));
  return picture;
}
