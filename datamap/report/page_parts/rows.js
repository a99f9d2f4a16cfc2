// The page's data: contexts, which rows the filters leave, and what stands in a cell of a row.

// The distinct contexts, unpacked when they are first asked for.
function contextsLater() {
  const text = taken("context-data");
  let found = null;
  return () => (found ??= text ? unpacked(text) : Promise.resolve([]));
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

// The rows in which a text stands, as 0 or 1 by row: in question, context, answer or id, whatever the case.
async function rowsWith(page, text) {
  const wanted = text.toLowerCase();
  const { rows, n } = page;
  const has = (value) => value.toLowerCase().includes(wanted);
  const inContext = rows.context ? (await page.contexts()).map(has) : [];
  const found = new Uint8Array(n);
  for (let row = 0; row < n; row++) {
    const inAnswers = rows.answers && rows.answers[row].some(([, answer]) => has(answer));
    found[row] = has(rows.text[row]) || has(rows.id[row]) || inAnswers || (rows.context && inContext[rows.context[row]]);
  }
  return found;
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
