// What was decided: kept in the browser, saved as corrections.jsonl and read from it; how many errors are left.

const CHANGES = new Set(["other", "marked", "no_answer", "label"]); // decisions after which the published label does not stand
const LEAST_AUDITED = 30; // rows of the audit before anything is said of the rest
const PAUSE = 300_000; // milliseconds without a decision that do not count as work
const LEAST_WORK = 60_000; // milliseconds of work before a pace is said

// A value as text, whatever the order of its keys.
const plain = (value) => JSON.stringify(value?.text ? [value.text, value.answer_start] : value);
const sameValue = (one, other) => plain(one) === plain(other);
const isValue = (value) => value === null || ["string", "number"].includes(typeof value) || (Array.isArray(value?.text) && Array.isArray(value.answer_start));

// An answer [text, start] as the value of a row; an empty text is "no answer".
const valueOf = ([text, start]) => (text ? { text: [text], answer_start: [start] } : { text: [], answer_start: [] });

// What of a row's published answers counts as the label: the first one.
function labelOf(row) {
  const { text, answer_start } = row.before;
  return text.length ? [text[0], answer_start[0]] : ["", -1];
}

// Label and other answer in the order in which they are called 1 and 2.
function optionsOf(row) {
  const label = { answer: labelOf(row), decision: "stays" };
  if (!row.other) return [label];
  const other = { answer: row.other, decision: "other" };
  return row.is_swapped ? [other, label] : [label, other];
}

// The decision that leads to a value: what it makes of the row, and how it is called.
function decided(row, decision, answer) {
  if (decision === "left_out") return { decision, after: null };
  if (decision === "both") {
    const { text, answer_start } = row.before;
    const [other, start] = row.other;
    return { decision, after: { text: [...text, other], answer_start: [...answer_start, start] } };
  }
  if (decision === "label") return answer === row.before ? { decision: "stays", after: row.before } : { decision, after: answer };
  const after = decision === "stays" ? row.before : valueOf(answer);
  const stands = decision === "stays" || sameValue(answer, labelOf(row));
  if (stands) return { decision: "stays", after: row.before };
  return { decision: row.other && sameValue(answer, row.other) ? "other" : decision, after };
}

// Whether both answers can stand beside each other: neither is "no answer".
const bothCanBe = (row) => Boolean(row.other) && row.other[0] !== "" && row.before.text.length > 0;

// A line of corrections.jsonl.
function lineOf(page, row, found) {
  const { id, before, before_sha256, kind, score, rank, drawn } = row;
  const line = { id, field: page.field, before, after: found.after, before_sha256, decision: found.decision, kind, score, rank, drawn };
  return JSON.stringify({ ...line, reviewer: found.reviewer ?? page.reviewer, decided_at: found.at });
}

// The lines of the file: foreign ones as they came, then the page's own in its order.
function linesOf(page) {
  const own = page.rows.filter((row) => page.decisions.has(row.id)).map((row) => lineOf(page, row, page.decisions.get(row.id)));
  return [...page.foreign, ...own];
}

// Decisions of a file by id and the lines about rows that are not on this page; an Error says which line is wrong.
function readLines(page, text) {
  const found = { decisions: new Map(), foreign: [] };
  text.replace(/^\ufeff/, "").split("\n").forEach((line, place) => {
    if (!line.trim()) return;
    const where = `line ${place + 1}`;
    let entry = null;
    try {
      entry = JSON.parse(line);
    } catch {
      throw new Error(`${where} is not JSON`);
    }
    if (typeof entry?.id !== "string" || !isValue(entry.after)) throw new Error(`${where} is no correction`);
    const row = page.byId.get(entry.id);
    if (!row) {
      found.foreign.push(line.trim());
      return;
    }
    if (!sameValue(entry.before, row.before)) throw new Error(`${where} is about another label of the row ${entry.id}`);
    const { after, reviewer = "", decided_at: at = "" } = entry;
    found.decisions.set(entry.id, { decision: entry.decision ?? impliedBy(row, after), after, reviewer, at });
  });
  if (!found.decisions.size) throw new Error("it decides about no row of this page");
  return found;
}

// How a decision that was written by hand is called.
function impliedBy(row, after) {
  if (after === null) return "left_out";
  if (sameValue(after, row.before)) return "stays";
  if (!after.text) return "label";
  return after.text.length ? "marked" : "no_answer";
}

// Keep everything in the browser; false where it keeps nothing.
function keep(page) {
  const state = { reviewer: page.reviewer, foreign: page.foreign, decisions: [...page.decisions], isUnsaved: page.isUnsaved };
  try {
    localStorage.setItem(page.key, JSON.stringify(state));
    return true;
  } catch {
    return false;
  }
}

// Take what the browser kept of this page, here or in another window.
function takeKept(page) {
  let state = null;
  try {
    state = JSON.parse(localStorage.getItem(page.key));
  } catch {
    state = null;
  }
  page.decisions = new Map(state?.decisions ?? []);
  page.foreign = state?.foreign ?? [];
  page.reviewer = state?.reviewer ?? "";
  page.isUnsaved = state?.isUnsaved ?? false;
}

// Rows an hour over the time of work: pauses of more than five minutes do not count.
function rowsAnHour(times) {
  const sorted = times.map(Date.parse).filter((time) => !Number.isNaN(time)).sort((one, other) => one - other);
  const steps = sorted.slice(1).map((time, place) => time - sorted[place]).filter((step) => step <= PAUSE);
  const worked = steps.reduce((sum, step) => sum + step, 0);
  return worked >= LEAST_WORK ? (3_600_000 * steps.length) / worked : null;
}

// Whether the queue would have reached a row of the audit by itself: the next rank that the audit did not take is decided.
function isReached(row, draws) {
  if (row.rank === null) return false;
  let rank = row.rank + 1;
  while (draws.get(rank) === "audit") rank += 1;
  return draws.get(rank) === "queue";
}

// The rows of the audit that tell of those which the queue did not reach, and how many labels did not stand there.
function audited(page) {
  const decidedRows = page.rows.filter((row) => page.decisions.has(row.id));
  const draws = new Map(decidedRows.filter((row) => row.rank !== null).map((row) => [row.rank, row.drawn]));
  const sample = decidedRows.filter((row) => row.drawn === "audit" && !isReached(row, draws));
  const wrong = sample.filter((row) => CHANGES.has(page.decisions.get(row.id).decision));
  return { nSample: sample.length, nWrong: wrong.length, nLeft: page.head.n_rows - decidedRows.length - page.foreign.length };
}

// P(X <= k) of a binomial distribution.
function binomialBelow(k, n, p) {
  if (p <= 0) return 1;
  if (p >= 1) return k >= n ? 1 : 0;
  let log = n * Math.log1p(-p);
  let sum = Math.exp(log);
  for (let x = 1; x <= k; x++) {
    log += Math.log((n - x + 1) / x) + Math.log(p) - Math.log1p(-p);
    sum += Math.exp(log);
  }
  return Math.min(1, sum);
}

// The 95% interval of Clopper and Pearson (1934) for k of n.
function shareInterval(k, n) {
  const solve = (isBelow) => {
    let [low, high] = [0, 1];
    for (let step = 0; step < 60; step++) {
      const middle = (low + high) / 2;
      if (isBelow(middle)) low = middle;
      else high = middle;
    }
    return (low + high) / 2;
  };
  const low = k === 0 ? 0 : solve((p) => 1 - binomialBelow(k - 1, n, p) < 0.025);
  const high = k === n ? 1 : solve((p) => binomialBelow(k, n, p) > 0.025);
  return [low, high];
}

// The sentence about the errors that are left.
function estimateSentence(page) {
  const { nSample, nWrong, nLeft } = audited(page);
  if (nSample < LEAST_AUDITED) return page.rows.some((row) => row.drawn === "audit") ? "How many errors are left is said once enough rows are decided that were drawn at random." : "";
  const [low, high] = shareInterval(nWrong, nSample).map((share) => Math.round(share * nLeft));
  const count = Math.round((nWrong / nSample) * nLeft);
  return `About ${number(count)} of the ${number(nLeft)} rows not decided probably have a label that would not stand (95% interval ${number(low)} to ${number(high)}): ${nWrong} of ${nSample} rows drawn at random did.`;
}
