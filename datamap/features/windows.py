"""Windows: tokenised contexts, cut to the model's length, kept ragged and put together when they are asked for."""

import dataclasses
import hashlib
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch

from datamap.errors import DataError, UsageError
from datamap.features.batches import rounded
from datamap.features.tokens import Ragged, TokenizedContexts, tokenize_contexts, tokenize_pairs, tokenize_texts

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerFast

NEUTRAL_QUESTION = "What does the text say?"
MODEL_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
NOT_FOUND = -1
INEXACT = "gold answer cannot be predicted exactly"
NOT_PREDICTABLE = "kept, cannot be predicted"


@dataclasses.dataclass(frozen=True)
class PairTemplate:
    """The special tokens around a question and a context: prefix, question, middle, context, suffix.

    The arrays `prefix`, `middle` and `suffix` hold token ids; the `_type` fields the token type of each part.
    `cls_index` is the position of the classifier token, which stands for "no answer".
    """

    prefix: np.ndarray
    middle: np.ndarray
    suffix: np.ndarray
    question_type: int
    context_type: int
    prefix_types: np.ndarray
    middle_types: np.ndarray
    suffix_types: np.ndarray
    cls_index: int

    @property
    def n_special(self) -> int:
        """How many special tokens a window carries."""
        return len(self.prefix) + len(self.middle) + len(self.suffix)


def pair_template(tokenizer: "PreTrainedTokenizerFast") -> PairTemplate:
    """Read the pair template off one encoded pair.

    Raises:
        DataError: the tokenizer is not a fast one, or has no classifier token at the start of a pair.
    """
    if not tokenizer.is_fast:
        raise DataError(
            f"{tokenizer.name_or_path} has no fast tokenizer (tokenizer.json): choose a --model that has one."
        )
    encoding = tokenizer("a", "b", return_token_type_ids=True)
    sides = np.array([-1 if side is None else side for side in encoding.sequence_ids()])
    ids = np.array(encoding["input_ids"], dtype=np.int64)
    types = np.array(encoding["token_type_ids"], dtype=np.int64)
    question, context = np.flatnonzero(sides == 0), np.flatnonzero(sides == 1)
    parts = slice(0, question[0]), slice(question[-1] + 1, context[0]), slice(context[-1] + 1, len(ids))
    cls_positions = np.flatnonzero(ids[parts[0]] == tokenizer.cls_token_id)
    if len(cls_positions) == 0:
        raise DataError(
            f"{tokenizer.name_or_path} does not begin a pair with a classifier token ([CLS]), which stands for "
            "'no answer': choose an encoder such as ELECTRA, BERT, RoBERTa or DeBERTa for --model."
        )
    prefix, middle, suffix = (ids[part] for part in parts)
    prefix_types, middle_types, suffix_types = (types[part] for part in parts)
    return PairTemplate(
        prefix,
        middle,
        suffix,
        int(types[question[0]]),
        int(types[context[0]]),
        prefix_types,
        middle_types,
        suffix_types,
        int(cls_positions[0]),
    )


def gold_char_spans(answers: Iterable[dict]) -> np.ndarray:
    """The first gold span of every example without the white space at its edges, int64 [n, 2].

    A row is (start, exclusive end) in characters of the context, or (-1, -1) for an unanswerable example or a gold
    answer that does not stand in the context.
    """
    spans = []
    for answer in answers:
        start = answer["answer_start"][0] if answer["text"] else NOT_FOUND
        text = answer["text"][0] if answer["text"] else ""
        if start < 0 or not text.strip():
            spans.append((NOT_FOUND, NOT_FOUND))
            continue
        start += len(text) - len(text.lstrip())
        spans.append((start, start + len(text.strip())))
    return np.array(spans, dtype=np.int64).reshape(-1, 2)


def gold_token_spans(contexts: TokenizedContexts, context_rows: np.ndarray, char_spans: np.ndarray) -> np.ndarray:
    """Token span of every gold answer by one array search over all contexts, int64 [n, 2], both ends inclusive.

    The span reaches from the first to the last token that shares a character with the answer. Transformers'
    question-answering example gives the same, except where several tokens stand for one character (bytes of an emoji;
    it takes only some of them) and where the tokenizer drops characters (it looks for a token that reaches the
    answer's end, so the label of an answer that ends in a dropped mark is one token too long). Positions count from
    the context's first token; (-1, -1) where there is no gold span or no token shares a character with it.
    """
    stride = np.int64(2) ** 32
    token_base = np.repeat(np.arange(len(contexts.offsets) - 1, dtype=np.int64) * stride, np.diff(contexts.offsets))
    base, first = context_rows.astype(np.int64) * stride, contexts.offsets[context_rows]
    starts = np.searchsorted(token_base + contexts.char_ends, base + char_spans[:, 0], side="right")
    ends = np.searchsorted(token_base + contexts.char_starts, base + char_spans[:, 1], side="left") - 1
    spans = np.stack([starts - first, ends - first], axis=1)
    spans[(char_spans[:, 0] == NOT_FOUND) | (starts > ends)] = NOT_FOUND
    return spans


class QaWindows(torch.utils.data.Dataset):
    """The windows of a QA frame; item i is a dict of unpadded arrays, put together from the shared context tokens.

    Attributes, one entry per window unless said otherwise:
        example: row of the frame that the window belongs to.
        first, last: the window's context tokens, counted in the context (last is exclusive).
        start_positions, end_positions: gold labels as positions in the window; the classifier token where the window
            does not hold the whole gold span.
        has_gold: whether the window holds the whole gold span (for an unanswerable example: every window).
        gold_spans: each example's gold span (see `gold_token_spans`), int64 [n_examples, 2].
        gold_lengths: tokens in each example's gold span, 0 where there is none (one entry per example).
        without_tokens: the examples, by row, whose gold answer no token stands for; {row: answer}.
        inexact: the examples, by row, whose gold tokens have another text than the answer; {row: (answer, text)}.
    """

    def __init__(
        self,
        frame: "pd.DataFrame",
        tokenizer: "PreTrainedTokenizerFast",
        max_length: int,
        doc_stride: int,
        ablation: str = "none",
        to_train_on: bool = False,
    ):
        """Tokenise `frame` (canonical QA frame) into windows of `max_length` tokens that overlap by `doc_stride`.

        Windows `to_train_on` are without those of answers that no token stands for: their label would say that there
        is no answer.

        Raises:
            UsageError: `doc_stride` leaves no room in `max_length`, or the tokenizer has no mask token for q_only.
            DataError: there is nothing to train on.
        """
        self.template = pair_template(tokenizer)
        self.context_id = context_mask_id(tokenizer, ablation)
        self.use_token_types = "token_type_ids" in tokenizer.model_input_names
        self.n_examples = len(frame)
        codes, distinct = factorize(frame["context"])
        self.context_rows = codes
        self.contexts = tokenize_contexts(tokenizer, distinct)
        questions = [NEUTRAL_QUESTION] * len(frame) if ablation == "p_only" else [q.lstrip() for q in frame["question"]]
        room = max_length - self.template.n_special
        self.questions, self.cut_questions = fit_questions(tokenize_texts(tokenizer, questions), room, doc_stride)
        self._cut_windows(room, doc_stride)
        self._label_windows(frame)
        self.to_train_on = to_train_on
        if to_train_on:
            self._leave_out_without_tokens(tokenizer.name_or_path)

    def _cut_windows(self, room: int, doc_stride: int) -> None:
        n_tokens = np.diff(self.contexts.offsets)[self.context_rows]
        capacity = room - self.questions.lengths
        step = capacity - doc_stride
        n_windows = 1 + np.maximum(0, -(-(n_tokens - capacity) // step))
        self.example = np.repeat(np.arange(self.n_examples), n_windows)
        ordinal = np.arange(len(self.example)) - np.repeat(np.cumsum(n_windows) - n_windows, n_windows)
        self.first = ordinal * step[self.example]
        self.last = np.minimum(self.first + capacity[self.example], n_tokens[self.example])

    def _label_windows(self, frame: "pd.DataFrame") -> None:
        char_spans = gold_char_spans(frame["answers"])
        self.gold_spans = spans = gold_token_spans(self.contexts, self.context_rows, char_spans)
        self.gold_lengths = np.where(spans[:, 0] == NOT_FOUND, 0, spans[:, 1] - spans[:, 0] + 1)
        self._compare_gold(frame["context"].tolist(), char_spans, spans)
        unanswerable = np.fromiter((not answer["text"] for answer in frame["answers"]), dtype=bool, count=len(frame))
        start, end = spans[self.example, 0], spans[self.example, 1]
        holds_span = (start >= self.first) & (end < self.last) & (start != NOT_FOUND)
        shift = self.context_starts(np.arange(len(self.example))) - self.first
        self.start_positions = np.where(holds_span, start + shift, self.template.cls_index)
        self.end_positions = np.where(holds_span, end + shift, self.template.cls_index)
        self.has_gold = holds_span | unanswerable[self.example]

    def _compare_gold(self, contexts: list[str], char_spans: np.ndarray, spans: np.ndarray) -> None:
        """Note the gold answers that no token stands for and those whose tokens have another text."""
        lost = np.flatnonzero((char_spans[:, 0] != NOT_FOUND) & (spans[:, 0] == NOT_FOUND))
        self.without_tokens = {row: contexts[row][slice(*char_spans[row])] for row in lost.tolist()}
        rows = np.flatnonzero(spans[:, 0] != NOT_FOUND)
        first, last = (spans[rows] + self.contexts.offsets[self.context_rows[rows], None]).T
        own = np.stack([self.contexts.char_starts[first], self.contexts.text_ends[last]], axis=1)
        differs = (own != char_spans[rows]).any(axis=1)
        pairs = zip(rows[differs].tolist(), char_spans[rows[differs]], own[differs], strict=True)
        self.inexact = {row: (contexts[row][slice(*gold)], contexts[row][slice(*text)]) for row, gold, text in pairs}

    def _leave_out_without_tokens(self, tokenizer: str) -> None:
        """Keep the windows of the other examples."""
        kept = ~np.isin(self.example, list(self.without_tokens))
        if not kept.any():
            raise DataError(
                f"no token of {tokenizer} stands for any of the {self.n_examples} gold answers to train on, such as "
                f"{next(iter(self.without_tokens.values()))!r}: look at the data, or choose another --model."
            )
        for name in ("example", "first", "last", "start_positions", "end_positions", "has_gold"):
            setattr(self, name, getattr(self, name)[kept])

    def problems(self, max_answer_length: int | None) -> list[tuple]:
        """What only tokens show, as (row, problem, action, before, after): cut questions, gold answers out of reach.

        A gold answer is out of reach when its tokens have another text, when there are none, and when it exceeds
        `max_answer_length`, the length asked for (None: no limit).
        """
        found = []
        for row, n_tokens in self.cut_questions.items():
            lengths = f"{n_tokens} tokens", f"{self.questions.lengths[row]} tokens"
            found.append((row, "question too long", "cut for the model", *lengths))
        action = "left out of training" if self.to_train_on else NOT_PREDICTABLE
        found += [(row, "gold answer without tokens", action, gold, "") for row, gold in self.without_tokens.items()]
        found += [(row, INEXACT, "kept, labelled by its tokens", *texts) for row, texts in self.inexact.items()]
        limit = self.gold_lengths.max() if max_answer_length is None else max_answer_length
        for row in np.flatnonzero(self.gold_lengths > limit).tolist():
            length = f"{self.gold_lengths[row]} tokens"
            found.append((row, "gold answer longer than --max_answer_length", NOT_PREDICTABLE, length, length))
        return found

    def without_gold_window(self) -> dict[int, str]:
        """The reason for every example, by its row, of which no window holds the whole gold span."""
        rows = np.flatnonzero(np.bincount(self.example[self.has_gold], minlength=self.n_examples) == 0)
        reasons = "the gold answer does not fit into a window", "no token stands for the gold answer"
        return {row: reasons[row in self.without_tokens] for row in rows.tolist()}

    def fingerprint(self) -> str:
        """SHA-256 over the tokens and labels of all windows: equal exactly when a model is trained on the same."""
        parts = (self.contexts.token_ids, self.contexts.offsets, self.context_rows, self.questions.flat)
        labels = (self.example, self.first, self.last, self.start_positions, self.end_positions, self.has_gold)
        return array_hash([*parts, *labels, np.array([self.context_id or NOT_FOUND])])

    @property
    def lengths(self) -> np.ndarray:
        """Tokens in every window, special ones included, int64 [n_windows]."""
        return self.template.n_special + self.questions.lengths[self.example] + self.last - self.first

    def context_starts(self, windows: np.ndarray) -> np.ndarray:
        """Position of each window's first context token in the window."""
        return len(self.template.prefix) + self.questions.lengths[self.example[windows]] + len(self.template.middle)

    def char_spans(self, windows: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Turn token positions in windows (both inclusive) into character spans of the contexts (end exclusive).

        A span of tokens without characters of their own is empty.
        """
        shift = self.contexts.offsets[self.context_rows[self.example[windows]]] + self.first[windows]
        shift -= self.context_starts(windows)
        begins = self.contexts.char_starts[starts + shift]
        return begins, np.maximum(begins, self.contexts.text_ends[ends + shift])

    def __len__(self) -> int:
        return len(self.example)

    def __getitem__(self, window: int) -> dict:
        template, example = self.template, self.example[window]
        question = self.questions[example]
        begin = self.contexts.offsets[self.context_rows[example]]
        context = self.contexts.token_ids[begin + self.first[window] : begin + self.last[window]]
        if self.context_id is not None:
            context = np.full(len(context), self.context_id)
        item = {
            "input_ids": np.concatenate([template.prefix, question, template.middle, context, template.suffix]),
            "start_positions": self.start_positions[window],
            "end_positions": self.end_positions[window],
            "context_start": len(template.prefix) + len(question) + len(template.middle),
            "context_end": len(template.prefix) + len(question) + len(template.middle) + len(context),
            "row": window,
        }
        if self.use_token_types:
            question_types = np.full(len(question), template.question_type)
            context_types = np.full(len(context), template.context_type)
            parts = [template.prefix_types, question_types, template.middle_types, context_types, template.suffix_types]
            item["token_type_ids"] = np.concatenate(parts)
        return item


class NliPairs(torch.utils.data.Dataset):
    """Premise and hypothesis as one sequence a row; item i is a dict of unpadded arrays."""

    def __init__(
        self, frame: "pd.DataFrame", tokenizer: "PreTrainedTokenizerFast", max_length: int, ablation: str = "none"
    ):
        """Tokenise `frame` (canonical NLI frame); the longer side is cut first beyond `max_length` tokens.

        `ablation` "q_only" keeps the hypothesis alone, "p_only" the premise alone.
        """
        first = (frame["hypothesis"] if ablation == "q_only" else frame["premise"]).tolist()
        second = frame["hypothesis"].tolist() if ablation == "none" else None
        self.input_ids, self.token_types = tokenize_pairs(tokenizer, first, second, max_length)
        self.use_token_types = "token_type_ids" in tokenizer.model_input_names
        self.lengths = self.input_ids.lengths
        self.labels = frame["label"].to_numpy(dtype=np.int64)
        self.n_examples = len(frame)
        self.example, self.has_gold = np.arange(len(frame)), np.ones(len(frame), dtype=bool)

    def without_gold_window(self) -> dict[int, str]:
        """As in QaWindows; every pair has its label."""
        return {}

    def fingerprint(self) -> str:
        """SHA-256 over the tokens and labels of all pairs."""
        return array_hash([self.input_ids.flat, self.input_ids.offsets, self.token_types.flat, self.labels])

    def __len__(self) -> int:
        return self.n_examples

    def __getitem__(self, row: int) -> dict:
        item = {"input_ids": self.input_ids[row], "labels": self.labels[row], "row": row}
        if self.use_token_types:
            item["token_type_ids"] = self.token_types[row]
        return item


def array_hash(arrays: Iterable[np.ndarray]) -> str:
    """SHA-256 over the shapes, types and contents of arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def factorize(texts: Collection[str]) -> tuple[np.ndarray, list[str]]:
    """Codes (int64 [n]) and the distinct texts in order of first appearance."""
    distinct = dict.fromkeys(texts)
    code_of = {text: code for code, text in enumerate(distinct)}
    return np.fromiter((code_of[text] for text in texts), dtype=np.int64, count=len(texts)), list(distinct)


def context_mask_id(tokenizer: "PreTrainedTokenizerFast", ablation: str) -> int | None:
    """The token id that hides the context under q_only, None under the other ablations."""
    if ablation != "q_only":
        return None
    if tokenizer.mask_token_id is None:
        raise UsageError(
            f"--ablations q_only needs a mask token, which {tokenizer.name_or_path} lacks: choose another --model."
        )
    return tokenizer.mask_token_id


def fit_questions(questions: list[list[int]], room: int, doc_stride: int) -> tuple[Ragged, dict[int, int]]:
    """Cut the questions that leave the context no more than `doc_stride` tokens, so that windows can advance.

    Returns:
        The questions and, for each row that was cut, its length before (its question now takes half of the room
        beside the stride).

    Raises:
        UsageError: not even a short question fits.
    """
    allowed = (room - doc_stride) // 2
    if allowed < 4:
        raise UsageError(
            f"--doc_stride {doc_stride} leaves no room for question and context in windows of {room} tokens "
            "without the special ones: lower --doc_stride or raise --max_length."
        )
    cut = {row: len(question) for row, question in enumerate(questions) if room - len(question) <= doc_stride}
    fitted = [question[:allowed] if row in cut else question for row, question in enumerate(questions)]
    return Ragged.from_rows(fitted), cut


class PadCollator:
    """Pad the sequences of a batch to its longest one and stack everything else; the mask marks what is not padding.

    For a GPU they are padded on to the next size that it likes, there is no mask where nothing is padded, and `lengths`
    (int64 [batch]) stays on the host.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerFast", *, for_gpu: bool = False):
        self.fill = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id}
        self.for_gpu = for_gpu

    def __call__(self, items: list[dict]) -> dict:
        lengths = np.array([len(item["input_ids"]) for item in items])
        longest = int(lengths.max())
        positions = np.arange(rounded(longest) if self.for_gpu else longest)
        mask = positions < lengths[:, None]
        batch = {"attention_mask": torch.from_numpy(mask.astype(np.int64))}
        for key in items[0]:
            if key in self.fill:
                padded = np.full(mask.shape, self.fill[key], dtype=np.int64)
                padded[mask] = np.concatenate([item[key] for item in items])
                batch[key] = torch.from_numpy(padded)
            else:
                batch[key] = torch.from_numpy(np.array([item[key] for item in items], dtype=np.int64))
        if self.for_gpu:
            batch["lengths"] = lengths
            if mask.all():
                del batch["attention_mask"]
        return batch
