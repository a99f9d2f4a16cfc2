// The screen: one row at a time, keys, and what follows a decision.

// Keys with the names of their buttons, which those of single answers and labels do not have here.
const ANSWER_KEYS = [["1", "", "The first answer is right"], ["2", "", "The second answer is right"]];
const LABEL_KEYS = [["1 …", "", "This label is right"]];
const NEITHER_KEYS = [
  ["b", "both", "Both are right"], ["n", "mark", "Neither: mark the right words"], ["u", "no-answer", "The text does not answer it"],
];
const COMMON_KEYS = [["d", "leave-out", "Leave this row out of the data"], ["s", "later", "Later (no decision)"], ["z", "undo", "Undo"]];
const SAID = {
  stays: "the published label stays", other: "the other answer becomes the label", both: "both answers count",
  marked: "your words become the label", no_answer: "the row becomes unanswerable", label: "the label changes", left_out: "the row is left out",
};
const SNIPPET = 90;

const shownAnswer = ([text]) => (text ? text : "the text does not answer it");
const currentRow = (page) => page.rows[page.place];

// The names of label and other answer, once they may be told.
function originOf(page, option) {
  return option.decision === "stays" ? "published label" : "found by the models";
}

function say(text) {
  byId("said").textContent = text;
}

// Buttons for the options of a row, each with the key that takes it.
function fillOptions(page, row) {
  const found = page.decisions.get(row.id);
  const told = page.head.show_origin || Boolean(found);
  const answers = page.isNli
    ? page.head.labels.map((label, place) => ({ key: String(place + 1), text: String(label), origin: label === row.before ? "published label" : "", act: () => decide(page, "label", label), isChosen: found && sameValue(found.after, label) }))
    : optionsOf(row).map((option, place) => ({ key: String(place + 1), text: shownAnswer(option.answer), isPlaced: spanOf(page.context, option.answer), hasText: option.answer[0] !== "", origin: originOf(page, option), act: () => decide(page, option.decision, option.answer), isChosen: found && sameOption(row, option, found) }));
  byId("options").replaceChildren(...answers.map((answer) => optionLine(answer, told)));
}

// Whether a decision took this answer.
const sameOption = (row, option, found) => found.decision === "both" || (found.after !== null && sameValue(found.after, option.decision === "stays" ? row.before : valueOf(option.answer)));

function optionLine({ key, text, origin, act, isChosen, isPlaced, hasText }, told) {
  const note = told && origin ? make("small", {}, ` ${origin}`) : null;
  const absent = hasText && !isPlaced ? make("small", {}, " (does not stand in the text)") : null;
  const hasKey = key.length === 1; // the tenth label and those after it have a button alone
  const attributes = { type: "button", class: `answer${isPlaced ? ` option-${key}` : ""}${isChosen ? " chosen" : ""}`, "aria-keyshortcuts": hasKey && key, onclick: act };
  const button = make("button", attributes, hasKey ? make("kbd", {}, key) : null, " ", make("bdi", {}, text), absent, note);
  const find = isPlaced ? make("button", { type: "button", "aria-label": `scroll to answer ${key}`, onclick: () => scrollToMark(byId("context"), `mark.in-${key}`) }, "show") : null;
  return make("div", {}, button, find);
}

// The marks of a row's answers, and what its decision put in their place.
function spansOf(page, row) {
  if (page.isNli) return [];
  const spans = optionsOf(row).map((option, place) => [spanOf(page.context, option.answer), String(place + 1)]);
  const found = page.decisions.get(row.id);
  if (page.pick) spans.push([rangeOf(page.pick), "picked"]);
  else if (found?.decision === "marked") spans.push([spanOf(page.context, [found.after.text[0], found.after.answer_start[0]]), "picked"]);
  return spans.filter(([span]) => span).map(([[from, to], name]) => ({ from, to, name }));
}

// Show the row at a place of the page's order.
function show(page, place) {
  page.place = place;
  page.pick = null;
  page.marking = false;
  const row = currentRow(page);
  page.context = page.contexts[row.context];
  page.words = null;
  byId("number").textContent = `Row ${number(place + 1)} of ${number(page.rows.length)}`;
  byId("text").textContent = row.text;
  fillOptions(page, row);
  fillActions(page, row);
  const box = byId("context");
  box.setAttribute("aria-label", page.isNli ? "premise" : "context");
  drawContext(box, page.context, spansOf(page, row));
  scrollToMark(box, "mark");
  box.classList.remove("marking");
  byId("marking").hidden = true;
  byId("actions").hidden = false;
  fillProgress(page);
  if (document.activeElement === document.body) byId("row").focus({ preventScroll: true });
}

function fillActions(page, row) {
  const has = { both: !page.isNli && bothCanBe(row), undo: page.history.length > 0 };
  const keys = [...(page.isNli ? [] : NEITHER_KEYS), ...COMMON_KEYS];
  byId("actions").replaceChildren(...keys.map(([key, name, text]) => make("button", { type: "button", id: name, "aria-keyshortcuts": key, disabled: has[name] === false, onclick: () => press(page, key) }, text, " ", make("kbd", {}, key))));
}

function fillProgress(page) {
  const found = [...page.decisions.values()];
  const count = (test) => found.filter(test).length;
  const nLeftOut = count(({ decision }) => decision === "left_out");
  const nChanged = count(({ decision }) => decision !== "stays") - nLeftOut;
  const pace = rowsAnHour(found.map(({ at }) => at));
  const parts = [`${number(found.length)} decided`, `${number(nChanged)} changed`];
  if (nLeftOut) parts.push(`${number(nLeftOut)} left out`);
  parts.push(`${number(page.rows.length - found.length)} left`);
  if (pace) parts.push(`${number(Math.round(pace))} rows an hour`);
  byId("progress").textContent = parts.join(" · ");
  byId("estimate").textContent = estimateSentence(page);
  byId("kept").textContent = page.isKept
    ? `Decisions are kept in this browser${page.isUnsaved ? "; those since the last file are not saved to one yet" : ""}.`
    : "This browser keeps nothing of this page: save the file before you close it.";
  const isDone = found.length === page.rows.length;
  byId("done").hidden = !isDone;
  if (isDone) byId("done").textContent = "Every row of this page is decided. Save corrections.jsonl and apply it with apply_corrections.py.";
}

// Keep a decision, tell which answer was which, and go on to the next row that is not decided.
function decide(page, decision, answer) {
  const row = currentRow(page);
  const found = { ...decided(row, decision, answer), at: new Date().toISOString().replace(/\.\d+Z$/, "Z") };
  page.history.push({ place: page.place, before: page.decisions.get(row.id) });
  page.decisions.set(row.id, found);
  page.later.delete(row.id);
  changed(page);
  say(`Row ${number(page.place + 1)}: ${SAID[found.decision]}. ${toldOrigins(page, row)}`);
  const next = nextOpen(page, page.place);
  show(page, next ?? page.place);
}

function toldOrigins(page, row) {
  if (page.isNli) return `Published was ${row.before}.`;
  const options = optionsOf(row);
  if (options.length === 1) return "There was one answer, the published one.";
  const name = (option) => (option.decision === "stays" ? "the published label" : "what the models found");
  return `1 was ${name(options[0])}, 2 ${name(options[1])}.`;
}

// The next row after a place that is neither decided nor put off, then the first put off; null where all are decided.
function nextOpen(page, place) {
  const order = page.rows.map((_, step) => (place + 1 + step) % page.rows.length);
  const open = order.filter((found) => !page.decisions.has(page.rows[found].id));
  return open.find((found) => !page.later.has(page.rows[found].id)) ?? open[0] ?? null;
}

function putOff(page) {
  page.later.add(currentRow(page).id);
  say(`Row ${number(page.place + 1)} comes again later.`);
  show(page, nextOpen(page, page.place) ?? page.place);
}

function undo(page) {
  const last = page.history.pop();
  if (!last) return;
  const row = page.rows[last.place];
  if (last.before) page.decisions.set(row.id, last.before);
  else page.decisions.delete(row.id);
  changed(page);
  say(`Row ${number(last.place + 1)}: the decision is undone.`);
  show(page, last.place);
}

function changed(page) {
  page.isUnsaved = true;
  page.isKept = keep(page);
}

// Marking: from the first mark of the row, or its first word.
function startMarking(page, pick) {
  if (page.isNli) return;
  page.words ??= wordsOf(page.context);
  if (!page.words.length) return;
  page.marking = true;
  const first = spansOf(page, currentRow(page))[0];
  const [anchor, focus] = pick ?? page.words[wordAt(page.words, first ? first.from : 0)];
  page.pick = { anchor, focus };
  byId("marking").hidden = false;
  byId("actions").hidden = true;
  byId("context").classList.add("marking");
  byId("context").focus({ preventScroll: true });
  drawPick(page);
}

function drawPick(page) {
  const box = byId("context");
  const top = box.scrollTop;
  drawContext(box, page.context, spansOf(page, currentRow(page)));
  box.scrollTop = top;
  const mark = box.querySelector("mark.picked");
  const isOut = mark.offsetTop < box.scrollTop || mark.offsetTop + mark.offsetHeight > box.scrollTop + box.clientHeight;
  if (isOut) scrollToMark(box, "mark.picked");
  sayMarked(page);
}

function sayMarked(page) {
  byId("marked").replaceChildren("Marked: ", make("bdi", {}, page.context.slice(...rangeOf(page.pick))));
}

// While words are marked, what a finger or the mouse selects counts as it grows; the context is drawn anew afterwards,
// since that would end the selection.
function selecting(page) {
  const found = page.marking ? selectedIn(byId("context")) : null;
  const pick = found && snapped(page.context, page.words, found, false);
  if (!pick) return;
  page.pick = { anchor: pick[0], focus: pick[1] };
  sayMarked(page);
}

function takePick(page) {
  const [from, to] = rangeOf(page.pick);
  decide(page, "marked", [page.context.slice(from, to), pointsOf(page.context, from)]);
  byId("row").focus({ preventScroll: true });
}

// Arrow keys while words are marked.
function movePick(page, event) {
  const box = byId("context");
  if (event.key === "ArrowUp" || event.key === "ArrowDown") {
    page.pick = movedByLine(box, page.words, page.pick, event.key === "ArrowDown" ? 1 : -1, event.shiftKey);
  } else {
    const isForward = (event.key === "ArrowRight") !== isRightToLeft(page.context, page.pick.focus);
    const step = isForward ? 1 : -1;
    page.pick = event.altKey
      ? movedByCharacter(page.context, page.pick, step, event.shiftKey)
      : movedByWord(page.words, page.pick, step, event.shiftKey);
  }
  drawPick(page);
}

// What a pointer selected in the context becomes the words marked.
function pointed(page, event) {
  const found = page.isNli ? null : selectedIn(byId("context"));
  if (!found) return;
  page.words ??= wordsOf(page.context);
  const pick = snapped(page.context, page.words, found, event.altKey);
  getSelection().removeAllRanges();
  if (pick) startMarking(page, pick);
}

// What a key does; false where it does nothing.
function press(page, key) {
  const row = currentRow(page);
  const options = page.isNli ? [] : optionsOf(row);
  if (/^[1-9]$/.test(key)) {
    const place = Number(key) - 1;
    if (page.isNli && place < page.head.labels.length) decide(page, "label", page.head.labels[place]);
    else if (place < options.length) decide(page, options[place].decision, options[place].answer);
    else return false;
  } else if (key === "d") decide(page, "left_out");
  else if (key === "s") putOff(page);
  else if (key === "z") undo(page);
  else if (key === "?") toggle("keys", "help");
  else if (page.isNli) return false;
  else if (key === "n") startMarking(page);
  else if (key === "u") decide(page, "no_answer", ["", -1]);
  else if (key === "b" && bothCanBe(row)) decide(page, "both");
  else return false;
  return true;
}

function keyPressed(page, event) {
  if (event.target.matches("input, select") || event.ctrlKey || event.metaKey) return;
  if (page.marking && event.key.startsWith("Arrow")) movePick(page, event);
  else if (page.marking && event.key === "Enter" && !event.target.closest("button")) takePick(page);
  else if (page.marking && event.key === "Escape") show(page, page.place);
  else if (event.altKey || event.repeat || !press(page, event.key.toLowerCase())) return;
  event.preventDefault();
}

function toggle(panel, button) {
  byId(panel).hidden = !byId(panel).hidden;
  byId(button).setAttribute("aria-expanded", String(!byId(panel).hidden));
}

// The list to jump in; it tells nothing but what was decided.
function fillList(page) {
  const which = byId("which").value;
  const wanted = { all: () => true, open: (found) => !found, decided: Boolean, changed: (found) => found && found.decision !== "stays" }[which];
  const lines = page.rows.flatMap((row, place) => {
    const found = page.decisions.get(row.id);
    if (!wanted(found)) return [];
    const state = found ? SAID[found.decision] : page.later.has(row.id) ? "later" : "";
    const jump = () => {
      toggle("jump", "list");
      show(page, place);
      byId("row").focus({ preventScroll: true });
    };
    return [make("li", {}, make("button", { type: "button", "aria-current": place === page.place && "true", onclick: jump }, `${number(place + 1)} `, make("bdi", {}, shortened(row.text, SNIPPET)), make("small", {}, ` ${state}`)))];
  });
  byId("rows").replaceChildren(...(lines.length ? lines : [make("li", {}, "none")]));
}

function save(page) {
  const url = URL.createObjectURL(new Blob([linesOf(page).map((line) => `${line}\n`).join("")], { type: "application/jsonl;charset=utf-8" }));
  make("a", { href: url, download: "corrections.jsonl" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
  page.isUnsaved = false;
  page.isKept = keep(page);
  say(`corrections.jsonl with ${number(page.decisions.size + page.foreign.length)} decisions goes to your downloads.`);
  fillProgress(page);
}

// Go on from a file: where both know a row, the later decision counts.
async function openFile(page, file) {
  let found = null;
  try {
    found = readLines(page, await file.text());
  } catch (error) {
    say(`${file.name} was not opened: ${error.message}.`);
    return;
  }
  for (const [id, decision] of found.decisions) {
    const own = page.decisions.get(id);
    if (!own || own.at <= decision.at) page.decisions.set(id, decision);
  }
  const known = new Set(page.foreign);
  page.foreign.push(...found.foreign.filter((line) => !known.has(line)));
  page.history = [];
  changed(page);
  const more = found.foreign.length ? ` ${number(found.foreign.length)} lines about rows that are not on this page stay in the file as they are.` : "";
  say(`${number(found.decisions.size)} decisions of ${file.name} are here.${more}`);
  show(page, nextOpen(page, -1) ?? 0);
}

function fillHelp(page) {
  const afterwards = page.head.show_origin ? "" : " Which one is published is told afterwards.";
  byId("task").textContent = `Read, then say which ${page.isNli ? "label" : "answer"} is right.${afterwards}`;
  const choose = page.isNli ? LABEL_KEYS : [...ANSWER_KEYS, ...NEITHER_KEYS];
  byId("key-list").replaceChildren(...[...choose, ...COMMON_KEYS, ["?", "", "This help"]].flatMap(([key, , text]) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, text)]));
}

function listen(page) {
  const on = (id, event, act) => byId(id).addEventListener(event, act);
  document.addEventListener("keydown", (event) => keyPressed(page, event));
  on("context", "pointerup", (event) => setTimeout(() => pointed(page, event)));
  document.addEventListener("selectionchange", () => selecting(page));
  on("take", "click", () => takePick(page));
  on("give-up", "click", () => show(page, page.place));
  on("save", "click", () => save(page));
  on("open", "click", () => byId("file").click());
  on("file", "change", async () => {
    const [file] = byId("file").files;
    if (file) await openFile(page, file);
    byId("file").value = "";
  });
  on("list", "click", () => {
    toggle("jump", "list");
    if (!byId("jump").hidden) fillList(page);
  });
  on("which", "change", () => fillList(page));
  on("help", "click", () => toggle("keys", "help"));
  on("reviewer", "change", () => {
    page.reviewer = byId("reviewer").value.trim();
    page.isKept = keep(page);
  });
  on("theme", "click", () => {
    const isDark = document.documentElement.dataset.theme === "dark";
    document.documentElement.dataset.theme = isDark ? "light" : "dark";
    byId("theme").textContent = isDark ? "Dark page" : "Light page";
  });
  addEventListener("storage", (event) => {
    if (event.key !== page.key) return;
    takeKept(page);
    show(page, page.place);
  });
  addEventListener("beforeunload", (event) => {
    if (page.isUnsaved) event.preventDefault();
  });
}

async function open() {
  const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = isDark ? "dark" : "light";
  byId("theme").textContent = isDark ? "Light page" : "Dark page";
  const head = JSON.parse(taken("head-data"));
  const [rows, contexts] = await Promise.all([unpacked(taken("row-data")), unpacked(taken("context-data"))]);
  const page = { head, rows, contexts, key: `review:${head.key}`, isNli: head.labels.length > 0, place: 0, history: [], later: new Set() };
  page.field = page.isNli ? "label" : "answers";
  page.byId = new Map(rows.map((row) => [row.id, row]));
  takeKept(page);
  page.isKept = keep(page);
  document.title = `${head.title}: review`;
  byId("title").textContent = `${head.title}: review of labels`;
  byId("reviewer").value = page.reviewer;
  if (page.isNli) byId("number").after(byId("context"));
  fillHelp(page);
  show(page, nextOpen(page, -1) ?? 0);
  if (page.decisions.size) say(`Going on after ${number(page.decisions.size)} decisions that this browser kept.`);
  listen(page);
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  document.documentElement.dataset.ready = Math.round(performance.now());
}

open().catch((error) => {
  byId("problem").hidden = false;
  byId("problem").textContent = `The page could not be opened in this browser (${error.message}). Use a version from 2023 or later of Chrome, Edge, Firefox or Safari.`;
  throw error;
});
