"""What gives an answer away without reading (QA): where it stands, how long it is, shared words, frequent texts.

All functions take canonical QA frames; the first answer of a row is its label. Rows without answers, and rows whose
label has no place in the context (a start of -1), enter no figure about places.
"""

import re
from collections import Counter, defaultdict

import numpy as np
import pandas as pd
from tqdm import tqdm

from datamap.audit.words import words_of
from datamap.evaluation.metrics import normalize_answer, squad_scores, squad_summary

N_DECILES = 10
N_FREQUENT = 20

_SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]*(?=\s)|[\r\n]")


def sentence_ends(context: str) -> list[int]:
    """Where the sentences of a context end, in characters, rising; the last end is the context's.

    A sentence ends behind a full stop, exclamation or question mark (and closing quotes and brackets behind it) that
    white space follows, and at a line break. What holds only white space is no sentence but part of the next one (at
    the end: of the last one), so that every character is in exactly one sentence. "Dr. Smith" are two, and text with
    other marks is one a line: a fixed rule, alike for answers and for chance.
    """
    ends, begin = [], 0
    for mark in _SENTENCE_END.finditer(context):
        if context[begin : mark.end()].strip():
            begin = mark.end()
            ends.append(begin)
    if context[begin:].strip() or not ends:
        return [*ends, len(context)]
    return [*ends[:-1], len(context)]


def places(frame: pd.DataFrame) -> dict:
    """Where in its context the label stands, beside a place drawn uniformly among those where it would fit.

    A label of a characters fits into a context of L at L - a + 1 starts.

    Returns:
        n_rows (those with a place); first_sentence_share, of labels that start in the first sentence, and
        first_sentence_chance; decile_shares and decile_chances, lists of ten that sum to 1, by start / (L - a) (0
        where label and context are equally long): decile d holds [d / 10, (d + 1) / 10), the last one 1, too. The
        chances are means over the rows of the share of legal starts there, about 0.1 a decile, less evenly where
        contexts are short. All in [0, 1], None without rows; a share above its chance gives answers away.
    """
    rows = _placed(frame)
    found = {"n_rows": len(rows)}
    if rows.empty:
        names = ("first_sentence_share", "first_sentence_chance", "decile_shares", "decile_chances")
        return found | dict.fromkeys(names)
    start = rows["start"].to_numpy()
    last = np.array([len(context) for context in rows["context"]]) - rows["answer_length"].to_numpy()
    first_end = {context: sentence_ends(context)[0] for context in rows["context"].unique()}
    first_ends = rows["context"].map(first_end).to_numpy()
    begins = -(-np.outer(last, np.arange(N_DECILES + 1)) // N_DECILES)
    begins[:, -1] = last + 1
    begins[last == 0, 1:] = 1
    decile = (begins[:, 1:] <= start[:, None]).sum(axis=1)
    return found | {
        "first_sentence_share": float((start < first_ends).mean()),
        "first_sentence_chance": float((np.minimum(first_ends, last + 1) / (last + 1)).mean()),
        "decile_shares": (np.bincount(decile, minlength=N_DECILES) / len(rows)).tolist(),
        "decile_chances": (np.diff(begins, axis=1) / (last + 1)[:, None]).mean(axis=0).tolist(),
    }


def _placed(frame: pd.DataFrame) -> pd.DataFrame:
    """context, question, answer_length (characters) and start of the rows whose label has a place in the context."""
    labels = [(len(a["text"][0]), a["answer_start"][0]) if a["text"] else (0, -1) for a in frame["answers"]]
    columns = dict(zip(("answer_length", "start"), np.array(labels, dtype=np.int64).T, strict=True))
    rows = frame[["context", "question"]].assign(**columns)
    return rows[rows["start"] >= 0]


def lengths(frame: pd.DataFrame) -> dict:
    """How long the labels are, in white-space words.

    Returns:
        n_rows, unanswerable_share (rows without answers, of all); of the rows with answers mean_words, the quantiles
        words_05, words_50, words_95 (interpolated), words_max, and one_word_share; shares in [0, 1], all five None
        without answers.
    """
    words = np.array([len(answers["text"][0].split()) for answers in frame["answers"] if answers["text"]])
    share = 1 - len(words) / len(frame)
    found = {"n_rows": len(frame), "unanswerable_share": share}
    names = ("mean_words", "words_05", "words_50", "words_95", "words_max", "one_word_share")
    if not len(words):
        return found | dict.fromkeys(names)
    figures = (words.mean(), *np.quantile(words, [0.05, 0.5, 0.95]), words.max(), (words == 1).mean())
    return found | {name: figure.item() for name, figure in zip(names, figures, strict=True)}


def overlaps(frame: pd.DataFrame) -> dict:
    """How often the sentence that shares most words with the question is the one that the label starts in.

    Counted are distinct words (`datamap.audit.words.words_of`), in rows whose context has at least two sentences and
    at least one word of the question. Of t sentences that share equally many, each has 1 / t of the row.

    Returns:
        n_rows (those counted), share, and chance, the mean of 1 / (number of sentences); in [0, 1], None without
        rows. A share above chance says how far matching words leads.
    """
    credits, chances = [], []
    groups = _placed(frame).groupby("context", sort=False)
    for context, rows in tqdm(groups, desc="Word overlap", unit="context", leave=False):
        ends = sentence_ends(str(context))
        if len(ends) < 2:
            continue
        sentences_of = _sentences_of_words(str(context), ends)
        answer_sentences = np.searchsorted(ends, rows["start"], side="right")
        for question, sentence in zip(rows["question"], answer_sentences.tolist(), strict=True):
            shared = Counter(place for word in set(words_of(question)) for place in sentences_of.get(word, ()))
            if shared:
                most = max(shared.values())
                credits.append((shared[sentence] == most) / list(shared.values()).count(most))
                chances.append(1 / len(ends))
    found = {"n_rows": len(credits), "share": None, "chance": None}
    return found | ({"share": float(np.mean(credits)), "chance": float(np.mean(chances))} if credits else {})


def _sentences_of_words(context: str, ends: list[int]) -> dict[str, list[int]]:
    """The numbers of the sentences, from 0, that each word of a context stands in."""
    found = defaultdict(list)
    for number, (begin, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        for word in set(words_of(context[begin:end])):
            found[word].append(number)
    return found


def frequent_answers(frame: pd.DataFrame, eval_frame: pd.DataFrame | None = None) -> dict:
    """Which texts are the label most often, and what always giving the most frequent one scores.

    Texts are compared as the SQuAD scripts do (`normalize_answer`); "" is no answer, or one of articles and
    punctuation alone.

    Args:
        frame: the rows that the frequent texts are taken from.
        eval_frame: the rows that the constant answer is scored on, against all their answers; without them `frame`.

    Returns:
        n_rows, n_distinct, top (up to N_FREQUENT dicts of answer, count and share of the rows in (0, 1], the most
        frequent first, equal ones by text), and constant: what `squad_summary` gives for the first of them, in
        percent, by the rules of SQuAD v2.0 where any of the scored rows has no answer, else by those of v1.1.
    """
    labels = [normalize_answer(answers["text"][0]) if answers["text"] else "" for answers in frame["answers"]]
    counts = sorted(Counter(labels).items(), key=lambda item: (-item[1], item[0]))
    top = [{"answer": text, "count": count, "share": count / len(labels)} for text, count in counts[:N_FREQUENT]]
    scored = frame if eval_frame is None else eval_frame
    golds = [answers["text"] for answers in scored["answers"]]
    unanswerable = np.array([not texts for texts in golds])
    em, f1 = squad_scores([counts[0][0]] * len(golds), golds, bool(unanswerable.any()))
    constant = squad_summary(em, f1, unanswerable)
    return {"n_rows": len(labels), "n_distinct": len(counts), "top": top, "constant": constant}
