// The page: first screen, controls, and what follows when rows are shown or selected.

const MOST_SUSPICIOUS = 100; // rows that their button selects

function fillScreen(page) {
  const { head } = page;
  document.title = `${head.title}: data map`;
  byId("title").textContent = head.title;
  byId("lead").textContent = head.lead;
  byId("warnings").replaceChildren(...head.warnings.map((text) => make("li", {}, text)));
  if (head.context_limit !== null) {
    const text = `The contexts are too many for one file, so each example has the ${number(head.context_limit)} characters around its answer. What lies outside, further answers included, is neither shown nor searched.`;
    byId("warnings").append(make("li", {}, text));
  }
  byId("sample-note").hidden = !head.sample_note;
  byId("sample-note").textContent = head.sample_note ?? "";
  byId("findings-block").hidden = !head.findings.length;
}

// Buttons of the first screen that select: regions, findings, groups.
function fillButtons(page) {
  const { head, rows } = page;
  const ofRegions = membersOf(columnOf(rows, "region"));
  byId("regions").replaceChildren(...head.regions.map((card) => {
    const title = make("strong", {}, swatch(regionColour(card.region), MARKERS[card.region]), `${number(card.count)} ${card.region} (${percent(card.share)})`);
    return make("li", {}, selecting(page, ofRegions.get(card.region), title, make("span", {}, card.words), make("span", {}, card.figures ?? "")));
  }));
  byId("findings").replaceChildren(...head.findings.map((sentence, place) => {
    const members = rows.findings[place];
    const said = head.sample_note ? make("small", {}, ` (${number(members.length)} on this page)`) : null;
    return make("li", {}, selecting(page, members, sentence, said));
  }));
  byId("groups").replaceChildren(...head.groups.flatMap((block) => groupTable(page, block)));
}

function groupTable(page, block) {
  const members = membersOf(columnOf(page.rows, block.name));
  const hasMetrics = block.groups.some((group) => "confidence" in group);
  const lines = block.groups.map((group) => {
    const name = selecting(page, members.get(group.group), group.group);
    const cells = [make("td", {}, name), make("td", { class: "number" }, `${number(group.count)} (${percent(group.share)})`)];
    if (hasMetrics) cells.push(make("td", { class: "number" }, figure(group.confidence)), make("td", {}, shareBar(group)));
    return make("tr", {}, ...cells);
  });
  const names = ["", "examples", ...(hasMetrics ? ["confidence", "regions"] : [])];
  const heads = names.map((name, place) => make("th", { scope: "col", class: (place === 1 || place === 2) && "number" }, name));
  const shown = block.groups.length < block.n_groups ? ` (the largest ${block.groups.length} of ${block.n_groups})` : "";
  return [make("h2", {}, block.title + shown), make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...lines))];
}

function shareBar(group) {
  if (!("easy" in group)) return "";
  const names = ["easy", "ambiguous", "hard"];
  const said = names.map((name) => `${percent(group[name])} ${name}`).join(", ");
  const bar = make("span", { class: "bar", role: "img", "aria-label": said, title: said });
  for (const name of names) {
    const part = make("i");
    part.style.width = `${100 * group[name]}%`;
    part.style.background = regionColour(name);
    bar.append(part);
  }
  return bar;
}

// Select rows on both maps and in the table; from a sentence of the first screen, go down to the maps.
function select(page, rows, goToMaps) {
  if (page.source) page.source.selected.indices = rows;
  else selected(page, rows);
  if (goToMaps) byId("maps").scrollIntoView();
}

// Select the most suspicious of the rows that are shown, and list the first of them first.
function selectSuspicious(page) {
  select(page, mostSuspicious(page, page.left, MOST_SUSPICIOUS), false);
  page.sort = { key: "suspicion_rank", down: false };
  fillHead(page, (next) => sortBy(page, next));
  fillTable(page, page.listed);
  byId("examples").scrollIntoView();
}

// A button that selects rows; without any on this page it cannot be pressed.
function selecting(page, rows = [], ...children) {
  return make("button", { type: "button", disabled: !rows.length, onclick: () => select(page, rows, true) }, ...children);
}

// The numbers of the rows of every category of a column, by its name, in one pass; empty where there is no column.
function membersOf(column) {
  const members = new Map((column?.names ?? []).map((name) => [name, []]));
  column?.codes.forEach((code, row) => members.get(column.names[code]).push(row));
  return members;
}

// What the page says and lists once rows are selected or filtered.
function refresh(page) {
  const isLeft = new Set(page.left);
  const visible = page.selected.filter((row) => isLeft.has(row));
  const hidden = page.selected.length - visible.length;
  let said = `${number(page.left.length)} of ${number(page.n)} examples shown`;
  said += page.selected.length ? `, ${number(visible.length)} selected` : ", none selected";
  if (hidden) said += ` (${number(hidden)} more are hidden by the settings above)`;
  byId("status").textContent = `${said}.`;
  const listed = page.selected.length ? visible : page.left;
  byId("table-status").textContent = page.selected.length ? `Selected: ${number(visible.length)}.` : `Listed: all ${number(listed.length)} shown; select some to see them alone.`;
  byId("download").textContent = page.selected.length ? "Download selection (CSV)" : "Download all shown (CSV)";
  byId("download").disabled = !listed.length;
  fillTable(page, listed);
}

function selected(page, rows) {
  page.selected = rows;
  refresh(page);
}

function filtered(page) {
  page.left = rowsLeft(page);
  if (page.filter) page.filter.indices = page.left.length === page.n ? null : page.left;
  refresh(page);
}

function fillLegend(page) {
  const column = columnOf(page.rows, page.colourBy);
  byId("legend").hidden = !column?.codes;
  byId("scale").hidden = !column?.values;
  if (column?.codes) {
    const members = membersOf(column);
    const colours = categoryColours(column);
    byId("legend").replaceChildren(...column.names.map((name, code) => {
      const marker = column.name === "region" ? MARKERS[name] : "circle";
      const text = `${shortened(name, 60)} (${number(members.get(name).length)})`;
      return make("li", {}, selecting(page, members.get(name), swatch(colours[code], marker), text));
    }));
    if (colours.filter((colour) => colour === GREY).length > 1) {
      byId("legend").append(make("li", { class: "hint" }, `Only the first ${HUES.length} have a colour of their own.`));
    }
  } else if (column) {
    const { low, high, cut } = ends(column.values);
    const steps = ramp(page).map((colour) => {
      const step = make("i");
      step.style.background = colour;
      return step;
    });
    byId("scale").replaceChildren(`${cut ? "≤\u00a0" : ""}${figure(low)}`, make("span", {}, ...steps), `${cut ? "≥\u00a0" : ""}${figure(high)}`);
  }
}

function fillControls(page) {
  const options = [...page.rows.categories, ...page.rows.numbers].map((column) => make("option", { value: column.name }, column.name.replaceAll("_", " ")));
  byId("colour").replaceChildren(...options);
  page.colourBy = options.length ? options[0].value : null;
  byId("colour").closest("label").hidden = !options.length;
  byId("suspicious").hidden = !columnOf(page.rows, "suspicion_rank");
  byId("suspicious").textContent = `Most suspicious (${MOST_SUSPICIOUS})`;
  const regions = columnOf(page.rows, "region");
  byId("toggles").hidden = !regions;
  byId("correctness").hidden = !columnOf(page.rows, "correctness");
  for (const name of regions?.names ?? []) {
    const box = make("input", { type: "checkbox", value: name, checked: true });
    box.addEventListener("change", () => {
      page.filters.hidden[box.checked ? "delete" : "add"](name);
      filtered(page);
    });
    byId("toggles").append(make("label", {}, box, " ", make("span", { class: "swatch" }), name));
  }
}

// Swatches of the region toggles follow the page's ground.
function paintToggles() {
  for (const box of byId("toggles").querySelectorAll("input")) {
    box.parentElement.querySelector(".swatch").replaceWith(swatch(regionColour(box.value), MARKERS[box.value]));
  }
}

function paint(page) {
  byId("theme").textContent = isDark() ? "Light page" : "Dark page";
  fillButtons(page);
  paintToggles();
  fillLegend(page);
  if (!page.source) return;
  paintMaps(page);
  recolour(page);
}

// Search when the typing rests; the answer to an older question is dropped.
async function search(page) {
  const text = byId("search").value;
  const found = text.trim() ? await rowsWith(page, text.trim()) : null;
  if (text !== byId("search").value) return;
  page.filters.found = found;
  filtered(page);
}

function correctnessMoved(page) {
  const [from, to] = ["correctness-from", "correctness-to"].map((id) => Number(byId(id).value)).sort((one, other) => one - other);
  page.filters.correctness = [from, to];
  byId("correctness-shown").textContent = `${from} to ${to}`;
  filtered(page);
}

function showEverything(page) {
  page.filters = { hidden: new Set(), correctness: [0, 1], found: null };
  for (const box of byId("toggles").querySelectorAll("input")) box.checked = true;
  byId("search").value = "";
  byId("correctness-from").value = 0;
  byId("correctness-to").value = 1;
  byId("correctness-shown").textContent = "0 to 1";
  filtered(page);
}

function listen(page) {
  const on = (id, event, act) => byId(id).addEventListener(event, act);
  let typing = 0;
  on("search", "input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => search(page), 100);
  });
  for (const id of ["correctness-from", "correctness-to"]) on(id, "input", () => correctnessMoved(page));
  on("colour", "change", () => {
    page.colourBy = byId("colour").value;
    if (page.source) recolour(page);
    fillLegend(page);
  });
  on("select-shown", "click", () => select(page, page.left, false));
  on("suspicious", "click", () => selectSuspicious(page));
  on("clear", "click", () => select(page, [], false));
  on("reset", "click", () => showEverything(page));
  on("more", "click", () => {
    const first = byId("rows").childElementCount;
    addRows(page, MORE_ROWS);
    if (byId("more").hidden) byId("rows").children[first].querySelector("button").focus({ preventScroll: true });
  });
  on("download", "click", () => download(page));
  on("theme", "click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    paint(page);
  });
  document.addEventListener("pointermove", followPointer);
}

function sortBy(page, key) {
  page.sort = { key, down: page.sort.key === key && !page.sort.down };
  fillHead(page, (next) => sortBy(page, next));
  byId("head-row").querySelectorAll("button")[page.columns.findIndex((column) => column.key === key)].focus();
  fillTable(page, page.listed);
}

async function open() {
  document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const page = { head: JSON.parse(taken("head-data")), selected: [], sort: { key: null, down: false }, plots: [] };
  page.filters = { hidden: new Set(), correctness: [0, 1], found: null };
  fillScreen(page);
  page.rows = await unpacked(taken("row-data"));
  page.n = page.rows.id.length;
  page.contexts = contextsLater();
  page.searched = later(() => searchedTexts(page));
  page.columns = tableColumns(page);
  page.left = Array.from(page.rows.id.keys());
  fillControls(page);
  await drawMaps(page, (rows) => selected(page, rows));
  paint(page);
  fillHead(page, (key) => sortBy(page, key));
  refresh(page);
  listen(page);
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  document.documentElement.dataset.ready = Math.round(performance.now());
  await page.searched();
}

open().catch((error) => {
  byId("problem").hidden = false;
  byId("problem").textContent = `The page could not be opened in this browser (${error.message}). Use a version from 2023 or later of Chrome, Edge, Firefox or Safari.`;
  throw error;
});
