"""Small frames of rows made by hand."""

import pandas as pd

from datamap.data.examples import Examples


def qa_frame(*rows: tuple) -> pd.DataFrame:
    """A canonical QA frame from (context, question, answer texts, answer starts)."""
    return pd.DataFrame(
        {
            "id": [str(number) for number in range(len(rows))],
            "context": [row[0] for row in rows],
            "question": [row[1] for row in rows],
            "answers": [{"text": list(row[2]), "answer_start": list(row[3])} for row in rows],
            "usable_for_training": [True] * len(rows),
        }
    )


def nli_examples(names, labels):
    """Sentence pairs that differ in nothing but their label."""
    frame = pd.DataFrame(
        {"id": [str(n) for n in range(len(labels))], "premise": "p", "hypothesis": "h", "label": labels}
    )
    return Examples(frame, pd.DataFrame(), "name", "train", tuple(names))


def raw_frame(*rows):
    """Rows as `sources` gives them: every column of Python objects."""
    names = dict.fromkeys(key for row in rows for key in row)
    return pd.DataFrame({name: pd.Series([row.get(name) for row in rows], dtype=object) for name in names})


def aspirin_rows(n_rows):
    """Questions as a file has them, four about each short note; ids 000, 001, …"""
    answers = {"text": ["aspirin"], "answer_start": [10]}
    return [
        {"id": f"{n:03d}", "context": f"Eve takes aspirin {n // 4}.", "question": f"Question {n}?", "answers": answers}
        for n in range(n_rows)
    ]
