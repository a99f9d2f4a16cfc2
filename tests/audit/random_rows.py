"""Small random data in which rows meet in many ways, and whether two rows meet by its definition."""

import numpy as np
import pandas as pd

from datamap.audit.meetings import joined_rows
from datamap.audit.texts import normalised

CONTEXTS = [
    "Aspirin was given to the man on Monday.",
    "aspirin was given to the man, on Monday",
    "Old notes say Aspirin was given to the man on Monday again",
    "the man",
    "nobody came",
    "!?",
    "...",
    "Stra\u00dfe 5",
    "STRASSE 5",
]
QUESTIONS = ["Who got it?", "who got it", "Who came to the man?", "Was it -5?", "Was it 5?", "?"]


def frame(random, n_rows, task):
    """Rows with repeats."""
    ids = [f"r{number}" for number in range(n_rows)]
    if task == "nli":
        premises, hypotheses = (random.choice(CONTEXTS, n_rows) for _ in range(2))
        labels = random.integers(0, 3, n_rows)
        return pd.DataFrame({"id": ids, "premise": premises, "hypothesis": hypotheses, "label": labels})
    contexts, questions = random.choice(CONTEXTS, n_rows), random.choice(QUESTIONS, n_rows)
    starts = random.integers(-1, 2, n_rows)
    answers = [
        {"text": [text[at : at + 2]], "answer_start": [int(at)]} if at >= 0 else {"text": [], "answer_start": []}
        for text, at in zip(contexts, starts, strict=True)
    ]
    return pd.DataFrame({"id": ids, "context": contexts, "question": questions, "answers": answers})


def rows(seed, task, n_splits):
    """Rows of one or two splits."""
    random = np.random.default_rng(seed)
    parts = [frame(random, int(random.integers(2, 12)), task) for _ in range(n_splits)]
    return joined_rows(parts, ["train", "dev"][:n_splits], ["a", "b", "c"] if task == "nli" else [])


def inside(one, other):
    """Whether one of two different normalised texts lies in the other (texts here repeat no run)."""
    short, long = sorted((one.split(), other.split()), key=len)
    n_words = min(len(short), 5)
    if n_words == 0 or (len(short) == len(long) and n_words < 5):
        return False
    mine, others = ({tuple(ws[at : at + n_words]) for at in range(len(ws) - n_words + 1)} for ws in (short, long))
    return 5 * len(mine & others) >= 4 * len(mine)


def meets(one, other):
    """The levels at which two rows meet, without templates, strongest first."""
    first, second = ("context", "question") if "context" in one else ("premise", "hypothesis")
    ends = [(normalised(row[first]), normalised(row[second])) for row in (one, other)]
    found = ["exact"] if (one[first], one[second]) == (other[first], other[second]) else []
    found += ["normalised"] if ends[0] == ends[1] else []
    found += ["answer"] if "answers" in one and same_span(one, other) else []
    common = set(ends[0]) & set(ends[1]) if first == "premise" else ends[0][0] == ends[1][0]
    found += ["context"] if common else []
    return found + (["contained"] if ends[0][0] != ends[1][0] and inside(ends[0][0], ends[1][0]) else [])


def same_span(one, other):
    """Whether two questions have the same place of the same context as first answer."""
    return bool(one["answers"]["text"]) and one["context"] == other["context"] and one["answers"] == other["answers"]
