"""What an audit finds in real data, beside loops over all pairs of rows that share no code with it."""

import itertools
import re
import unicodedata

import numpy as np
import pandas as pd
import pytest

from datamap.audit.meetings import find_meetings, joined_rows
from datamap.audit.pairs import pairs_table
from datamap.data.examples import load_examples
from datamap.data.sources import open_source
from tests.paths import REAL_DATA

pytestmark = pytest.mark.real_data
QA_FILES = ("wiki_train.json", "xquad_en.json", "covid_dirty.json", "amazon.json.gz")


def frame_of(name: str, task: str) -> pd.DataFrame:
    return load_examples(open_source(str(REAL_DATA / name), task), "train", task).frame


def plain(text: str) -> str:
    """A text without case, width and marks: by category, character by character."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold().replace("−", "-"))
    kept = []
    for place, character in enumerate(folded):
        around = folded[place - 1 : place] + folded[place + 1 : place + 2]
        before = folded[place - 1 : place]
        is_decimal = character in ".," and len(around) == 2 and around.isdigit() and place > 0
        is_sign = character == "-" and not re.match(r"\w", before) and folded[place + 1 : place + 2].isdigit()
        category = unicodedata.category(character)
        if category == "Cf":
            continue
        kept.append(" " if category[0] == "P" and not (is_decimal or is_sign) else character)
    return " ".join("".join(kept).split())


def lies_in(first: tuple[list[str], set], second: tuple[list[str], set]) -> bool:
    """Whether the shorter of two texts, words with their runs of five, lies in the other."""
    least, most = sorted((first[0], second[0]), key=len)
    if len(least) < 5:
        runs = [most[place : place + len(least)] for place in range(len(most) - len(least) + 1)]
        return bool(least) and least in runs
    inner, outer = sorted((first[1], second[1]), key=len)
    return 5 * len(inner & outer) >= 4 * len(inner)


def with_runs(words: list[str]) -> tuple[list[str], set]:
    return words, {tuple(words[place : place + 5]) for place in range(len(words) - 4)}


def looped_levels(frame: pd.DataFrame) -> np.ndarray:
    """The strongest level of every row but for wordings, by loops over contexts and over rows of the same context."""
    context_of = dict.fromkeys(frame["context"])
    plain_of = {text: plain(text) for text in context_of}
    by_plain: dict[str, list[str]] = {}
    for text, folded in plain_of.items():
        by_plain.setdefault(folded, []).append(text)
    words = {folded: with_runs(folded.split()) for folded in by_plain}
    near = {(a, b) for a, b in itertools.combinations(by_plain, 2) if lies_in(words[a], words[b])}
    rows = [
        (one.split, one.context, one.question, plain_of[one.context], plain(one.question), answer_of(one))
        for one in frame.itertuples()
    ]
    return np.array([level_of(row, rows, near) for row in rows], dtype=object)


def answer_of(row) -> tuple | None:
    starts = row.answers["answer_start"]
    return (starts[0], len(row.answers["text"][0])) if starts and starts[0] >= 0 else None


def level_of(row: tuple, rows: list[tuple], near: set) -> str:
    others = [other for other in rows if other[0] != row[0]]
    if any(other[1:3] == row[1:3] for other in others):
        return "exact"
    if any(other[3:5] == row[3:5] for other in others):
        return "normalised"
    if row[5] and any(other[1] == row[1] and other[5] == row[5] for other in others):
        return "answer"
    if any(other[3] == row[3] for other in others):
        return "context"
    found = any((other[3], row[3]) in near or (row[3], other[3]) in near for other in others)
    return "contained" if found else "none"


def test_levels_of_a_thousand_real_questions_against_loops():
    """Contexts go to both sides, some whole, some cut in two, so that every level has rows."""
    rng = np.random.default_rng(0)
    parts = [frame_of(name, "qa").sample(250, random_state=1) for name in QA_FILES]
    frame = pd.concat(parts, ignore_index=True)
    frame = frame.assign(id=[f"{number} {name}" for number, name in enumerate(frame["id"])])
    cut = rng.random(len(frame)) < 0.2
    answers = [
        {"text": [], "answer_start": []} if one else answer for one, answer in zip(cut, frame["answers"], strict=True)
    ]
    contexts = [text[len(text) // 3 :] if one else text for one, text in zip(cut, frame["context"], strict=True)]
    frame = frame.assign(context=contexts, answers=answers)
    copied = frame.sample(60, random_state=2)
    asked = [text.upper() if number % 2 else text for number, text in enumerate(copied["question"])]
    copied = copied.assign(id=[f"copy {name}" for name in copied["id"]], question=asked)
    side = rng.random(len(frame)) < 0.5
    rows = joined_rows([frame[side], pd.concat([frame[~side], copied])], ["train", "eval"], ())
    found = find_meetings(rows).of_rows(rows.side, across=True)
    expected = looped_levels(rows.frame)
    assert set(expected) == {"exact", "normalised", "context", "contained", "none"} | ({"answer"} & set(expected))
    assert np.where(found == "template", "none", found).tolist() == expected.tolist()


def test_the_repeated_questions_of_wiki_and_amazon():
    """Rows of the same texts beyond the first: what a plain dict counts."""
    for name, n_repeats in (("wiki_train.json", 182), ("amazon.json.gz", 177)):
        frame = frame_of(name, "qa")
        counted = len(frame) - len(set(zip(frame["context"], frame["question"], strict=True)))
        rows = joined_rows([frame], ["train"], ())
        table = pairs_table(rows, find_meetings(rows))
        assert (table["level"] == "exact").sum() == counted == n_repeats


def test_wiki_splits_share_no_context_and_xquad_none_with_wiki():
    train = frame_of("wiki_train.json", "qa")
    for other in ("wiki_dev.json", "xquad_en.json"):
        rows = joined_rows([train, frame_of(other, "qa")], ["train", "eval"], ())
        found = find_meetings(rows).of_rows(rows.side, across=True)
        assert set(found) == {"template", "none"}
