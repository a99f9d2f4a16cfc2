// The context with what is marked in it, and words marked by hand. Places count UTF-16 units here, as the DOM does;
// the data's places count code points, as Python does.

// Code points of a text's beginning as units, and back.
const unitsOf = (text, points) => (points <= 0 ? 0 : Array.from(text.slice(0, 2 * points)).slice(0, points).join("").length);
const pointsOf = (text, units) => Array.from(text.slice(0, units)).length;

// The units [from, to) of an answer, null where it does not stand in the context.
function spanOf(context, [text, start]) {
  if (start < 0 || !text) return null;
  const from = unitsOf(context, start);
  return context.startsWith(text, from) ? [from, from + text.length] : null;
}

// Fill the box with the context; spans: [{ from, to, name }], in which parts may lie in several.
function drawContext(box, context, spans) {
  const edges = [0, context.length, ...spans.flatMap(({ from, to }) => [from, to])];
  const places = [...new Set(edges)].sort((one, other) => one - other);
  const parts = [];
  for (let place = 0; place + 1 < places.length; place++) {
    const [from, to] = [places[place], places[place + 1]];
    const around = spans.filter((span) => span.from <= from && to <= span.to);
    const text = context.slice(from, to);
    if (!around.length) {
      parts.push(text);
      continue;
    }
    const begins = around.filter((span) => span.from === from && span.name !== "picked").map((span) => span.name);
    const names = around.map(({ name }) => (name === "picked" ? name : `in-${name}`)).join(" ");
    parts.push(make("mark", { class: names, "data-names": begins.join(" ") || null }, text));
  }
  box.replaceChildren(...parts);
}

// Bring a mark into the middle of the box.
function scrollToMark(box, selector) {
  const mark = box.querySelector(selector);
  box.scrollTop = mark ? Math.max(0, mark.offsetTop - (box.clientHeight - mark.offsetHeight) / 2) : 0;
}

// The words of a text, and whatever else is not blank, as [from, to).
function wordsOf(text) {
  const parts = new Intl.Segmenter("en", { granularity: "word" }).segment(text);
  return Array.from(parts, ({ index, segment }) => [index, index + segment.length]).filter(([from, to]) => text.slice(from, to).trim());
}

// The number of the first word that ends after a place; the last one where none does.
function wordAt(words, place) {
  let [low, high] = [0, words.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (words[middle][1] > place) high = middle;
    else low = middle + 1;
  }
  return low;
}

// A place one character on or back: what a reader takes for one, not a unit.
function characterBeside(text, place, step) {
  const near = Math.max(0, place - 64);
  const parts = new Intl.Segmenter("en", { granularity: "grapheme" }).segment(text.slice(near, place + 64));
  const edges = [...Array.from(parts, ({ index }) => near + index), Math.min(text.length, place + 64)];
  return step > 0 ? edges.find((edge) => edge > place) ?? text.length : edges.findLast((edge) => edge < place) ?? 0;
}

const rangeOf = ({ anchor, focus }) => [Math.min(anchor, focus), Math.max(anchor, focus)];

// The place of the character at an end of a selection that lies inside it.
const insideOf = (end, other) => (end > other ? end - 1 : end);

// The selection whose moving end is a word; with `extending` the word at its other end stays, else it is this word alone.
function movedTo(words, pick, to, extending) {
  const from = extending ? wordAt(words, insideOf(pick.anchor, pick.focus)) : to;
  return to >= from ? { anchor: words[from][0], focus: words[to][1] } : { anchor: words[from][1], focus: words[to][0] };
}

// The selection moved by words.
function movedByWord(words, pick, step, extending) {
  const to = wordAt(words, insideOf(pick.focus, pick.anchor)) + step;
  return movedTo(words, pick, Math.min(words.length - 1, Math.max(0, to)), extending);
}

// The selection moved by characters; it never becomes empty.
function movedByCharacter(text, pick, step, extending) {
  if (!extending) {
    const [from, to] = rangeOf(pick);
    const anchor = step > 0 ? Math.min(to, characterBeside(text, text.length, -1)) : characterBeside(text, from, -1);
    return { anchor, focus: characterBeside(text, anchor, 1) };
  }
  let focus = characterBeside(text, pick.focus, step);
  if (focus === pick.anchor) focus = characterBeside(text, focus, step);
  return focus === pick.anchor ? pick : { anchor: pick.anchor, focus };
}

// The selection moved to the line above or below: its word nearest to the same place across.
function movedByLine(box, words, pick, step, extending) {
  const edge = insideOf(pick.focus, pick.anchor);
  const rect = domRange(box, edge, edge + 1).getBoundingClientRect();
  const height = parseFloat(getComputedStyle(box).lineHeight);
  const hidden = rect.top - height < box.getBoundingClientRect().top || rect.bottom + height > box.getBoundingClientRect().bottom;
  if (hidden) box.scrollTop += step * height;
  const y = (rect.top + rect.bottom) / 2 + step * height - (hidden ? step * height : 0);
  const place = placeAtPoint(box, rect.left + 1, y);
  return place === null ? movedByWord(words, pick, step, extending) : movedTo(words, pick, wordAt(words, place), extending);
}

// Whether the paragraph around a place is written from right to left: its first letter says so.
function isRightToLeft(text, place) {
  const from = text.lastIndexOf("\n", place - 1) + 1;
  const letter = /\p{L}/u.exec(text.slice(from, from + 2000));
  return Boolean(letter) && /[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/u.test(letter[0]);
}

// The units of the box's text that a selection of the browser covers; null where it is empty or elsewhere.
function selectedIn(box) {
  const selection = getSelection();
  if (!selection.rangeCount || selection.isCollapsed) return null;
  const range = selection.getRangeAt(0);
  if (!box.contains(range.startContainer) || !box.contains(range.endContainer)) return null;
  const [from, to] = [placeOf(box, range.startContainer, range.startOffset), placeOf(box, range.endContainer, range.endOffset)];
  return from < to ? [from, to] : null;
}

function placeOf(box, node, offset) {
  const before = document.createRange();
  before.setStart(box, 0);
  before.setEnd(node, offset);
  return before.toString().length;
}

function placeAtPoint(box, x, y) {
  const found = document.caretPositionFromPoint?.(x, y);
  const range = found ? null : document.caretRangeFromPoint?.(x, y);
  const [node, offset] = found ? [found.offsetNode, found.offset] : [range?.startContainer, range?.startOffset];
  return node && box.contains(node) ? placeOf(box, node, offset) : null;
}

// A range of the document over units of the box's text.
function domRange(box, from, to) {
  const range = document.createRange();
  const walker = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
  let place = 0;
  let started = false;
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const end = place + node.length;
    if (!started && from < end) {
      range.setStart(node, from - place);
      started = true;
    }
    if (started && to <= end) {
      range.setEnd(node, to - place);
      break;
    }
    place = end;
  }
  return range;
}

// Units widened to whole words, without the blanks around them; null where there is nothing but blanks.
function snapped(text, words, [from, to], byCharacter) {
  const part = text.slice(from, to);
  if (!part.trim()) return null;
  const first = from + part.length - part.trimStart().length;
  const last = first + part.trim().length;
  return byCharacter ? [first, last] : [Math.min(first, words[wordAt(words, first)][0]), Math.max(last, words[wordAt(words, last - 1)][1])];
}
