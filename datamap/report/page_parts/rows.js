// The page's data: contexts, which rows the filters leave, and what stands in a cell of a row.

// What is made when it is first asked for, and then kept.
function later(made) {
  let found = null;
  return () => (found ??= made());
}

// The distinct contexts.
function contextsLater() {
  const text = taken("context-data");
  return later(() => (text ? unpacked(text) : Promise.resolve([])));
}

// What a search looks at, in small letters: of every row its question, answers and id, a line each; every context.
async function searchedTexts(page) {
  const { rows } = page;
  const contexts = rows.context ? await page.contexts() : [];
  const lines = rows.text.map((text, row) => [text, rows.id[row], ...(rows.answers?.[row] ?? []).map(([, answer]) => answer)]);
  const small = (text) => text.toLowerCase();
  return { ofRows: lines.map((found) => small(found.join("\n"))), contexts: contexts.map(small) };
}

function columnOf(rows, name) {
  return rows.categories.find((column) => column.name === name) ?? rows.numbers.find((column) => column.name === name);
}

// The name of a row's category, "" where the page has no such column.
function categoryOf(rows, name, row) {
  const column = rows.categories.find((found) => found.name === name);
  return column ? column.names[column.codes[row]] : "";
}

function firstAnswer(rows, row) {
  return rows.answers[row].length ? rows.answers[row][0][1] : "(no answer)";
}

// What the model answered; null where there is no prediction.
function predictedText(rows, row) {
  return rows.predicted[row] === "" ? "(no answer)" : rows.predicted[row];
}

// What the model would rather have as the label; "" where it would have nothing else.
function proposedText(rows, row) {
  return rows.proposal[row] === "" ? "(no answer)" : rows.proposal[row] ?? "";
}

// The most suspicious of some rows, the first of all first.
function mostSuspicious(page, rows, count) {
  const { values } = columnOf(page.rows, "suspicion_rank");
  return rows.filter((row) => values[row] !== null).sort((one, other) => values[one] - values[other]).slice(0, count);
}

// Of every row whether a text stands in it: in question, context, answer or id, whatever the case.
async function rowsWith(page, text) {
  const wanted = text.toLowerCase();
  const { ofRows, contexts } = await page.searched();
  const inContext = contexts.map((context) => context.includes(wanted));
  return ofRows.map((line, row) => line.includes(wanted) || inContext[page.rows.context?.[row]] === true);
}

// The numbers of the rows that region toggles, correctness and search leave.
function rowsLeft(page) {
  const { n, rows, filters } = page;
  const regions = columnOf(rows, "region");
  const correctness = columnOf(rows, "correctness");
  const [from, to] = filters.correctness;
  const left = [];
  for (let row = 0; row < n; row++) {
    if (regions && filters.hidden.has(regions.names[regions.codes[row]])) continue;
    if (filters.found && !filters.found[row]) continue;
    const share = correctness ? correctness.values[row] : null;
    if ((from > 0 || to < 1) && (share === null || share < from - 1e-6 || share > to + 1e-6)) continue;
    left.push(row);
  }
  return left;
}
