// The table of examples, the example that was clicked, and the file that takes a selection away.

const FIRST_ROWS = 50;
const MORE_ROWS = 200;
const TABLE_NUMBERS = ["confidence", "variability", "correctness", "suspicion_rank", "suspicion", "f1", "predicted_correct", "forgetting_events", "aum", "loss"];
const CSV_NUMBERS = ["confidence", "variability", "correctness", "suspicion_rank"];
const CSV_CATEGORIES = ["question_type", "region", "suspicion_kind", "seen", "cluster"];
const collator = new Intl.Collator("en", { numeric: true });

// The table's columns: key, heading, and the value of a row.
function tableColumns(page) {
  const { rows, head } = page;
  const columns = [{ key: "id", title: "id", value: (row) => rows.id[row] }];
  if (head.kind) columns.push({ key: "text", title: head.kind === "nli" ? "hypothesis" : "question", value: (row) => rows.text[row] });
  if (head.kind === "qa") columns.push({ key: "answer", title: "answer", value: (row) => firstAnswer(rows, row) });
  if (head.kind === "nli") columns.push({ key: "gold", title: "label", value: (row) => categoryOf(rows, "gold_label", row) });
  if (rows.predicted) columns.push({ key: "predicted", title: "prediction", value: (row) => predictedText(rows, row) });
  if (rows.proposal) columns.push({ key: "proposal", title: "proposal", value: (row) => proposedText(rows, row) });
  const category = (key) => ({ key, title: key, value: (row) => categoryOf(rows, key, row) });
  const numbers = ({ name, values }) => ({ key: name, title: name.replaceAll("_", " "), isNumber: true, value: (row) => values[row] });
  if (columnOf(rows, "region")) columns.push(category("region"));
  columns.push(...TABLE_NUMBERS.map((name) => columnOf(rows, name)).filter(Boolean).map(numbers));
  if (columnOf(rows, "cluster")) columns.push(category("cluster"));
  return columns;
}

// Row numbers in the order of a column; missing values come last either way.
function sorted(page, rows) {
  const column = page.columns.find((found) => found.key === page.sort.key);
  if (!column) return rows;
  const sign = page.sort.down ? -1 : 1;
  const keyed = rows.map((row) => [column.value(row), row]);
  keyed.sort(([one, first], [other, second]) => {
    if (one === other) return first - second;
    if (one === null || other === null) return one === null ? 1 : -1;
    return sign * (column.isNumber ? one - other : collator.compare(one, other)) || first - second;
  });
  return keyed.map(([, row]) => row);
}

function fillHead(page, onSort) {
  byId("head-row").replaceChildren(
    ...page.columns.map((column) => {
      const isSorted = page.sort.key === column.key;
      const order = isSorted ? (page.sort.down ? "descending" : "ascending") : null;
      const arrow = isSorted ? (page.sort.down ? " ▼" : " ▲") : "";
      const button = make("button", { type: "button", onclick: () => onSort(column.key) }, column.title + arrow);
      return make("th", { scope: "col", "aria-sort": order, class: column.isNumber && "number" }, button);
    })
  );
}

function tableRow(page, row) {
  const cells = page.columns.map((column) => {
    if (column.key === "id") {
      const open = () => openDetail(page, row, true);
      return make("td", {}, make("button", { type: "button", onclick: open }, column.value(row)));
    }
    if (column.isNumber) return make("td", { class: "number" }, figure(column.value(row)));
    return make("td", { class: `text ${column.key}-column` }, shortened(column.value(row) ?? "", 300));
  });
  const line = make("tr", { "data-row": row, class: page.opened === row && "open" }, ...cells);
  line.addEventListener("click", (event) => event.target.closest("button") || openDetail(page, row, false));
  return line;
}

// Fill the table with the first rows of a list; the button below shows more.
function fillTable(page, rows) {
  page.listed = sorted(page, rows);
  byId("rows").replaceChildren();
  addRows(page, FIRST_ROWS);
}

function addRows(page, count) {
  const body = byId("rows");
  const from = body.childElementCount;
  body.append(...page.listed.slice(from, from + count).map((row) => tableRow(page, row)));
  byId("more").hidden = body.childElementCount >= page.listed.length;
}

// Show an example: question, answers, context with the answer marked, all its numbers, its line over the epochs.
async function openDetail(page, row, takeFocus) {
  const { rows, head } = page;
  page.opened = row;
  const facts = [];
  if (head.kind) facts.push([head.kind === "nli" ? "Hypothesis" : "Question", rows.text[row]]);
  if (head.kind === "qa") facts.push(["Gold answer", rows.answers[row].map(([, text]) => text).join(" | ") || "(no answer)"]);
  if (rows.predicted) facts.push(["Prediction", predictedText(rows, row) ?? "(none)"]);
  if (rows.proposal && rows.proposal[row] !== null) facts.push(["Proposal", proposedText(rows, row)]);
  for (const column of rows.categories) facts.push([column.name.replaceAll("_", " "), column.names[column.codes[row]]]);
  const parts = [make("h3", {}, rows.id[row])];
  parts.push(make("div", { class: "facts" }, ...facts.map(([name, text]) => make("div", {}, make("b", {}, `${name}: `), text))));
  const contexts = await page.contexts();
  if (page.opened !== row) return;
  const box = rows.context ? markedContext(contexts[rows.context[row]], rows.answers[row]) : null;
  if (rows.context && rows.context_is_cut[row]) parts.push(make("p", { class: "hint" }, "A part of the context, around the answer:"));
  parts.push(box);
  const figures = rows.numbers.filter((column) => column.values[row] !== null);
  const probs = rows.gold_probs?.map((epoch) => epoch[row]) ?? [];
  if (probs.some((value) => value !== null)) {
    parts.push(make("div", { class: "hint" }, "Gold probability by epoch"), probabilityLine(probs, head.first_epoch));
  }
  const lines = figures.map((column) => make("div", {}, make("span", {}, column.name.replaceAll("_", " ")), make("span", {}, figure(column.values[row]))));
  parts.push(make("div", { class: "figures" }, ...lines));
  byId("detail").replaceChildren(...parts.filter(Boolean));
  for (const line of byId("rows").children) line.classList.toggle("open", line.dataset.row === String(row));
  const mark = box?.querySelector("mark");
  if (mark) box.scrollTop = mark.offsetTop - box.offsetTop - 40;
  if (takeFocus) byId("detail").focus({ preventScroll: true });
  if (window.innerWidth < 832) byId("detail").scrollIntoView();
}

// A cell of the file: quoted, and with an apostrophe before what a spreadsheet would take for a formula.
const isFormula = (text) => /^[=+\-@\uff1d\uff0b\uff0d\uff20\t\r\n]/.test(text) && !/^-?\d+(\.\d+)?(e[-+]?\d+)?$/i.test(text);
const cell = (text) => `"${(isFormula(text) ? "'" : "") + text.replaceAll('"', '""')}"`;

// name and text of every column of the file that a row stands in.
function csvFields(page, row, contexts) {
  const { rows, head } = page;
  const fields = [["id", rows.id[row]]];
  if (head.kind === "qa") {
    const answers = { text: rows.answers[row].map(([, text]) => text), answer_start: rows.answers[row].map(([start]) => start) };
    fields.push(["context", contexts[rows.context[row]]], ["question", rows.text[row]], ["answers", JSON.stringify(answers)]);
  }
  if (head.kind === "nli") {
    fields.push(["premise", contexts[rows.context[row]]], ["hypothesis", rows.text[row]], ["label", categoryOf(rows, "gold_label", row)]);
  }
  if (head.context_limit !== null) fields.push(["context_is_cut", String(rows.context_is_cut[row])]);
  for (const name of CSV_CATEGORIES) if (columnOf(rows, name)) fields.push([name, categoryOf(rows, name, row)]);
  for (const name of CSV_NUMBERS) if (columnOf(rows, name)) fields.push([name, String(columnOf(rows, name).values[row] ?? "")]);
  return fields;
}

// The rows as CSV that run.py and pandas read; the last column names the columns of a row that got an apostrophe.
async function csvOf(page, chosen) {
  const contexts = await page.contexts();
  const lines = chosen.map((row) => {
    const fields = csvFields(page, row, contexts);
    const changed = fields.filter(([, text]) => isFormula(text)).map(([name]) => name).join(" ");
    return [...fields.map(([, text]) => cell(text)), cell(changed)].join(",");
  });
  const names = csvFields(page, chosen[0] ?? 0, contexts).map(([name]) => name);
  return `\ufeff${[[...names, "apostrophe_before"].join(","), ...lines].join("\r\n")}\r\n`;
}

async function download(page) {
  const rows = page.listed.slice().sort((one, other) => one - other);
  const url = URL.createObjectURL(new Blob([await csvOf(page, rows)], { type: "text/csv;charset=utf-8" }));
  make("a", { href: url, download: "selection.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
