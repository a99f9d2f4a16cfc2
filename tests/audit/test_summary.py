"""The sentences of a summary, word for word."""

import pandas as pd

from datamap.audit.summary import alike_line, contradiction_line, group_line, level_lines, opening

FIGURES = {"split": "dev", "other": "train", "n_rows": 1200, "copies": 0.1, "context": 0.62, "none": 0.2, "both": 0.514}
LEVELS = pd.DataFrame(
    [("across", "train", "contained", 3, 0.9), ("across", "train", "template", 3, 0.9),
     ("across", "dev", "contained", 96, 0.08), ("across", "dev", "template", 1200, 0.1)],
    columns=["scope", "split", "level", "rows", "share"],
)  # fmt: skip


def test_questions_are_said_to_be_about_contexts_that_training_has():
    assert opening(FIGURES, LEVELS, is_qa=True) == (
        "62.0% of the 1,200 dev questions are about a context that train has, and 10.0% are copies of train rows; 8.0% "
        "more are about a context inside another or around it, 10.0% have only the wording of a question in common; "
        "20.0% share nothing with train."
    )


def test_pairs_are_said_to_share_a_sentence_or_both():
    assert opening(FIGURES, LEVELS, is_qa=False) == (
        "62.0% of the 1,200 dev pairs share a sentence with train (51.4% both), and 10.0% are copies of train rows; "
        "20.0% share nothing with train."
    )


def test_one_split_is_compared_with_itself():
    assert opening(FIGURES | {"other": None}, LEVELS, is_qa=True) == (
        "10.0% of the 1,200 dev questions repeat another one (exact or but for case, blanks, punctuation); 62.0% share "
        "their context with another question."
    )


def test_levels_are_lines_and_splits_columns():
    told = level_lines(LEVELS, is_qa=True).splitlines()
    assert told[1].split() == ["train", "meets", "dev", "dev", "meets", "train"]
    assert told[2].split()[-4:] == ["3", "(90.0%)", "96", "(8.0%)"]
    assert told[3].split()[-4:] == ["3", "(90.0%)", "1,200", "(10.0%)"]


def test_the_short_lines_as_worked_by_hand():
    assert contradiction_line({"rows": {"exact": 1000, "normalised": 2000}}) == (
        "1,000 rows have the very texts of another row and another label; 2,000 where case, blanks and punctuation do "
        "not count."
    )
    figures = {"levels": ["context", "contained"], "n_groups": 1500, "largest": 1100, "largest_share": 0.25}
    assert group_line(figures) == (
        "1,500 groups that must stay together, by context and contained; the largest has 1,100 rows (25.0%)."
    )
    assert alike_line(pd.DataFrame({"cosine": [0.99, 0.95, 0.9, 0.5]})) == (
        "Nearest rows by their vectors, of 4 looked up: 25.0% at 0.99 or more, 50.0% at 0.95 or more, 75.0% at 0.9 or "
        "more (cosine; not counted above)."
    )
