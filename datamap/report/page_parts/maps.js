// The two maps over one source of points: colours, what is shown, what is selected.

const MARKERS = { easy: "circle", ambiguous: "square", hard: "triangle", untracked: "diamond" };
// Paul Tol's schemes "muted" (on white) and "light" (on black), which colour-blind people can tell apart.
const HUES = ["#332288", "#88CCEE", "#117733", "#DDCC77", "#CC6677", "#AA4499", "#44AA99", "#882255"];
const LIGHT_HUES = ["#77AADD", "#EE8866", "#EEDD88", "#FFAABB", "#99DDFF", "#44BB99", "#BBCC33", "#AAAA00"];
const GREY = "#8A939B";
const isDark = () => document.documentElement.dataset.theme === "dark";

// Okabe and Ito's colours, as on the other figures.
function regionColour(region) {
  const hard = isDark() ? "#FFFFFF" : "#000000";
  return { easy: isDark() ? "#56B4E9" : "#0072B2", ambiguous: "#E69F00", hard, untracked: GREY }[region];
}

// The colour of every category; those after the eighth are grey, and so is noise.
function categoryColours(column) {
  if (column.name === "region") return column.names.map(regionColour);
  const hues = isDark() ? LIGHT_HUES : HUES;
  return column.names.map((name, place) => (column.name === "cluster" && name === "noise" ? GREY : hues[place] ?? GREY));
}

// The ends of a column of numbers: 0 and 1 for shares, else the 1st and 99th percentile, and whether values lie outside.
function ends(values) {
  const sorted = values.filter((value) => value !== null).sort((one, other) => one - other);
  const [least, most] = [sorted[0], sorted[sorted.length - 1]];
  if (least >= 0 && most <= 1) return { low: 0, high: 1, cut: false };
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
  if (Number.isInteger(least) && sorted.every(Number.isInteger)) return { low: least, high: most, cut: false };
  return { low: at(0.01), high: at(0.99), cut: least < at(0.01) || most > at(0.99) };
}

// The part of the palette that can be seen on the page's ground.
function ramp(page) {
  const palette = page.head.viridis;
  return isDark() ? palette.slice(Math.round(0.2 * palette.length)) : palette.slice(0, Math.round(0.88 * palette.length));
}

// A colour #RRGGBB as a number 0xRRGGBBAA, which Bokeh takes without parsing it.
const packedColour = (colour) => parseInt(`${colour.slice(1)}FF`, 16);

// A colour for every row as a number, by the column that was chosen.
function rowColours(page) {
  const column = columnOf(page.rows, page.colourBy);
  if (!column) return new Array(page.n).fill(packedColour(regionColour("easy")));
  if (column.codes) {
    const colours = categoryColours(column).map(packedColour);
    return column.codes.map((code) => colours[code]);
  }
  const { low, high } = ends(column.values);
  const steps = ramp(page).map(packedColour);
  const missing = packedColour(GREY);
  return column.values.map((value) => {
    if (value === null) return missing;
    const share = high > low ? (value - low) / (high - low) : 0.5;
    return steps[Math.max(0, Math.min(steps.length - 1, Math.floor(share * steps.length)))];
  });
}

function recolour(page) {
  page.source.data = { ...Object.fromEntries(Object.entries(page.source.data)), colour: rowColours(page) };
}

// The source's columns; a point without coordinates on a map is NaN there.
function pointColumns(page) {
  const { rows, n } = page;
  const numbers = (values) => Float64Array.from(values ?? new Array(n).fill(null), (value) => value ?? NaN);
  const regions = columnOf(rows, "region");
  return {
    data_x: numbers(columnOf(rows, "variability")?.values),
    data_y: numbers(columnOf(rows, "confidence")?.values),
    cluster_x: numbers(rows.x),
    cluster_y: numbers(rows.y),
    colour: rowColours(page),
    marker: regions ? regions.codes.map((code) => MARKERS[regions.names[code]]) : new Array(n).fill("circle"),
  };
}

// Ink and grid of the maps follow the page's ground.
function paintMaps(page) {
  const style = getComputedStyle(document.documentElement);
  const [ink, line] = ["--ink", "--line"].map((name) => style.getPropertyValue(name).trim());
  for (const plot of page.plots) {
    for (const axis of [...plot.below, ...plot.left]) {
      axis.setv({
        axis_label_text_color: ink, major_label_text_color: ink, axis_line_color: ink, major_tick_line_color: ink,
        minor_tick_line_color: line,
      });
    }
    for (const grid of plot.center) grid.setv({ grid_line_color: line, grid_line_alpha: 0.5 });
  }
}

// On a touch screen a finger that moves over a map scrolls the page until a tool is chosen.
function freeDragging(page) {
  for (const plot of page.plots) plot.toolbar.tools.find((tool) => tool.type === "LassoSelectTool").active = false;
}

// Draw the maps, and call back with the selected rows whenever they change.
async function drawMaps(page, onSelect) {
  const { document: content, roots } = page.head.maps;
  for (const name of ["data", "cluster"]) {
    byId(`${name}-figure`).hidden = !Object.values(roots).includes(`${name}-map`);
  }
  const names = Object.keys(roots);
  byId("maps").querySelector(".maps").classList.toggle("single", names.length === 1);
  if (!names.length) return;
  await Bokeh.embed.embed_items({ maps: content }, [{ docid: "maps", roots, root_ids: names }]);
  const opened = Bokeh.documents[Bokeh.documents.length - 1];
  page.source = opened.get_model_by_name("points");
  page.filter = opened.get_model_by_name("shown");
  page.plots = opened.roots();
  if (matchMedia("(pointer: coarse)").matches) freeDragging(page);
  paintMaps(page);
  if (page.n > MANY_POINTS) page.plots.forEach(drawAsPicture);
  page.source.data = pointColumns(page);
  page.source.connect(page.source.selected.properties.indices.change, () => onSelect([...page.source.selected.indices]));
  page.source.connect(page.source.inspect, () => showTip(page, page.source.inspected.indices));
}

// What a point is, beside the pointer.
function showTip(page, indices) {
  const tip = byId("tip");
  tip.hidden = !indices.length;
  if (!indices.length) return;
  const row = indices[0];
  const titles = { qa: "Question", nli: "Hypothesis" };
  const facts = [[titles[page.head.kind] ?? "id", page.rows.text[row]]];
  if (page.head.kind === "qa") facts.push(["Gold answer", firstAnswer(page.rows, row)]);
  if (page.head.kind === "nli") facts.push(["Gold label", categoryOf(page.rows, "gold_label", row)]);
  if (page.rows.predicted) facts.push(["Prediction", predictedText(page.rows, row) ?? "(none)"]);
  facts.push(["Region", categoryOf(page.rows, "region", row)], ["Cluster", categoryOf(page.rows, "cluster", row)]);
  const lines = facts.filter(([, text]) => text).map(([name, text]) => make("div", {}, make("b", {}, `${name}: `), shortened(text, 240)));
  if (indices.length > 1) lines.push(make("div", {}, `and ${number(indices.length - 1)} more at this place`));
  tip.replaceChildren(...lines);
}

// Keep the tip beside the pointer and inside the window.
function followPointer(event) {
  const tip = byId("tip");
  if (tip.hidden) return;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(event.clientX + 16, window.innerWidth - width - 8))}px`;
  tip.style.top = `${event.clientY + 20 + height > window.innerHeight ? event.clientY - height - 12 : event.clientY + 20}px`;
}
