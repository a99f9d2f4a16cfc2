"""How much probability a model gives to a row's label, beside it and elsewhere, over all spans of all its windows."""

from typing import TYPE_CHECKING

import numpy as np

from datamap.evaluation.same_texts import same_text_spans
from datamap.evaluation.span_answers import refuse_nan
from datamap.evaluation.spans import NO_SPAN, WholeExamples, best_span_scores

if TYPE_CHECKING:
    import pandas as pd

    from datamap.features.windows import QaWindows

PROBABILITIES = ("label_prob", "boundary_prob", "place_prob", "null_prob", "expected_f1")
PREDICTED = ("predicted_score", "predicted_prob", "other_prob")
CHARACTERS = ("predicted_start", "predicted_end", "other_start", "other_end")


def overlaps(shape: tuple[int, int], first: int, last: int) -> np.ndarray:
    """Tokens that each span shares with the tokens `first` to `last` (inclusive), int64 of `shape`.

    The spans lie as in `best_span_scores`: [s, d] has the d + 1 tokens that begin at s.
    """
    begins = np.arange(shape[0])[:, None]
    ends = begins + np.arange(shape[1])
    return np.maximum(np.minimum(ends, last) - np.maximum(begins, first) + 1, 0)


class LabelMasses:
    """The probabilities of all outcomes of every question, summed up by how they relate to its label.

    P is one softmax over the start + end logit of every span of up to `max_answer_length` tokens of all windows of an
    example (one that lies in several windows counts once, with its highest score) and, with `allow_no_answer`, the null
    outcome (its score is the lowest over the windows). The label is the first answer. Windows come in any order and
    repeatedly; an example is summed up, and its logits are let go, when it is whole.
    """

    def __init__(self, windows: "QaWindows", frame: "pd.DataFrame", max_answer_length: int, allow_no_answer: bool):
        """`frame` is the canonical QA frame that `windows` were made from; lengths are in tokens."""
        self.windows, self.max_answer_length, self.allow_no_answer = windows, max_answer_length, allow_no_answer
        self.context_texts = frame["context"].tolist()
        self.labels: list = [answer["text"][0] if answer["text"] else None for answer in frame["answers"]]
        self.whole = WholeExamples(windows)
        n = windows.n_examples
        self.null_scores = np.full(n, np.inf)
        self.columns = {name: np.full(n, np.nan) for name in (*PROBABILITIES, *PREDICTED)}
        self.columns |= {name: np.full(n, NO_SPAN, dtype=np.int64) for name in CHARACTERS}

    def add(self, rows: np.ndarray, starts: np.ndarray, ends: np.ndarray, null_scores: np.ndarray) -> None:
        """Take a batch: window rows [b], start and end logits [b, length], null scores (logits) [b].

        Raises:
            DataError: the model's outputs are not numbers.
        """
        refuse_nan(null_scores)
        np.minimum.at(self.null_scores, self.windows.example[rows], null_scores)
        for example, parts in self.whole.take(rows, starts, ends):
            scores = best_span_scores(parts, self.max_answer_length)
            refuse_nan(scores)
            self._settle(example, scores)

    def table(self) -> dict[str, np.ndarray]:
        """What was found, an entry per example: probabilities in [0, 1], places in characters (end exclusive).

        - `label_prob`: the label and every span whose normalised text is the label's; `boundary_prob`: other spans that
          share a token with the label; `place_prob`: spans that share none; `null_prob`: the null outcome. They sum to
          1. Where the label is "no answer", the null outcome is `label_prob`, all spans are `place_prob`, the other two
          are 0; so without `allow_no_answer` its `label_prob` is 0.
        - `expected_f1`: sum of P(s) x F1(s, label), in tokens; 1 for what `label_prob` counts. Higher: the label is
          rather what the model would say.
        - `predicted_start`, `predicted_end`, `predicted_score` (logits), `predicted_prob`: the most probable outcome.
        - `other_start`, `other_end`, `other_prob`: the most probable one that `label_prob` does not count; NaN where
          there is none.

        Places are -1 for the null outcome. Of equally probable outcomes spans come first, the one that starts, then
        ends, earliest. A label that is too long or that no window holds can still be overlapped, and other places may
        have its text. Where no token stands for the label, or it does not stand in the context, the probabilities and
        `other_prob` are NaN; where there is no outcome at all, everything is.

        Raises:
            RuntimeError: not every window came.
        """
        if not self.whole.done.all():
            raise RuntimeError(f"{np.sum(~self.whole.done)} of {len(self.whole.done)} examples did not come whole")
        return self.columns

    def _settle(self, example: int, scores: np.ndarray) -> None:
        """Sum up an example from the scores of all its spans (see `best_span_scores`)."""
        null_score = self.null_scores[example] if self.allow_no_answer else -np.inf
        top = max(scores.max(initial=-np.inf), null_score)
        if top == -np.inf:
            return
        probs, null_prob = np.exp(scores - top), np.exp(null_score - top)
        total = probs.sum() + null_prob
        probs, null_prob = probs / total, float(null_prob / total)
        score = self._note_best("predicted", example, scores, null_score, top + np.log(total))
        self.columns["predicted_score"][example] = score
        if self.labels[example] is None:
            masses = null_prob, 0.0, probs.sum(), 0.0, null_prob
            null_score = -np.inf
        elif self.windows.gold_spans[example, 0] == NO_SPAN:
            return
        else:
            is_label, shared, f1 = self._compare(example, scores.shape)
            beside = ~is_label & (shared > 0)
            elsewhere = ~is_label & (shared == 0)
            masses = *(probs[part].sum() for part in (is_label, beside, elsewhere)), null_prob, (probs * f1).sum()
            scores = np.where(is_label, -np.inf, scores)
        for name, value in zip(PROBABILITIES, masses, strict=True):
            self.columns[name][example] = min(value, 1.0)
        self._note_best("other", example, scores, null_score, top + np.log(total))

    def _compare(self, example: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of every span: whether it counts as the label, tokens shared with the label, F1; each of `shape`."""
        first, last = self.windows.gold_spans[example]
        shared = overlaps(shape, first, last)
        f1 = 2 * shared / (np.arange(1, shape[1] + 1) + (last - first + 1))
        is_label = f1 == 1
        contexts, row = self.windows.contexts, self.windows.context_rows[example]
        tokens = slice(contexts.offsets[row], contexts.offsets[row + 1])
        places = contexts.char_starts[tokens], contexts.text_ends[tokens]
        is_label[same_text_spans(self.context_texts[example], *places, shape[1], self.labels[example])] = True
        f1[is_label] = 1.0
        return is_label, shared, f1

    def _note_best(self, name: str, example: int, scores: np.ndarray, null_score: float, log_total: float) -> float:
        """Write down the place (see `table`) and probability of the outcome with the highest score; returns that."""
        top = scores.max(initial=-np.inf)
        best = max(top, null_score)
        if best > -np.inf:
            self.columns[f"{name}_prob"][example] = min(np.exp(best - log_total), 1.0)
        if top > -np.inf and top >= null_score:
            first, further = divmod(int(scores.argmax()), scores.shape[1])
            contexts = self.windows.contexts
            first += contexts.offsets[self.windows.context_rows[example]]
            begin = contexts.char_starts[first]
            self.columns[f"{name}_start"][example] = begin
            self.columns[f"{name}_end"][example] = max(begin, contexts.text_ends[first + further])
        return float(best)
