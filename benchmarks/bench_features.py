"""Features: the recipe of Transformers' question-answering example against QaWindows."""

import argparse
import functools

import datasets
import numpy as np
from torch.utils.data import DataLoader
from transformers import default_data_collator

import timing
from datamap.features.windows import PadCollator, QaWindows
from inputs import DOC_STRIDE, MAX_LENGTH, demo_tokenizer, questions

BATCH_ROWS = 8


def measure(options: argparse.Namespace) -> list[timing.Row]:
    """Making the features of every question, and making them and reading them once in batches."""
    datasets.disable_progress_bars()
    datasets.disable_caching()  # or all but the first repeat would find their tokens there
    frame, tokenizer = questions(options.dataset), demo_tokenizer()
    columns = ["id", "question", "context", "answers"]
    raw = datasets.Dataset.from_list(frame[columns].to_dict("records"))

    def own() -> QaWindows:
        return QaWindows(frame, tokenizer, MAX_LENGTH, DOC_STRIDE)

    def usual() -> datasets.Dataset:
        return usual_features(raw, tokenizer)

    read = {
        "usual recipe": lambda: read_all(usual(), default_data_collator),
        "QaWindows": lambda: read_all(own(), PadCollator(tokenizer)),
    }
    amount = {"amount": len(frame), "unit": "questions"}
    made = {"usual recipe": usual, "QaWindows": own}
    compared = functools.partial(agreement, answers=frame["answers"])
    rows = timing.take_turns("features", made, compared=compared, **amount)
    return rows + timing.take_turns(f"features, then read once in batches of {BATCH_ROWS}", read, **amount)


def usual_features(raw: datasets.Dataset, tokenizer) -> datasets.Dataset:
    """Padded windows with their labels, as a data set."""

    def featurise(batch: dict[str, list]) -> dict[str, list]:
        encoded = tokenizer(
            [question.lstrip() for question in batch["question"]],
            batch["context"],
            truncation="only_second",
            max_length=MAX_LENGTH,
            stride=DOC_STRIDE,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            padding="max_length",
        )
        rows, offsets = encoded.pop("overflow_to_sample_mapping"), encoded.pop("offset_mapping")
        labels = []
        for window, row in enumerate(rows):
            cls_index = encoded["input_ids"][window].index(tokenizer.cls_token_id)
            sides = encoded.sequence_ids(window)
            labels.append(usual_label(batch["answers"][row], offsets[window], sides, cls_index))
        encoded["start_positions"], encoded["end_positions"] = (list(side) for side in zip(*labels, strict=True))
        return encoded

    return raw.map(featurise, batched=True, remove_columns=raw.column_names, load_from_cache_file=False)


def usual_label(answer: dict, offsets: list, sides: list, cls_index: int) -> tuple[int, int]:
    """Start and end token of the answer, found by walking over the window; `cls_index` twice where it is not inside."""
    if not answer["answer_start"]:
        return cls_index, cls_index
    begin = answer["answer_start"][0]
    end = begin + len(answer["text"][0])
    first, last = 0, len(sides) - 1
    while sides[first] != 1:
        first += 1
    while sides[last] != 1:
        last -= 1
    if begin < offsets[first][0] or end > offsets[last][1]:
        return cls_index, cls_index
    while first < len(offsets) and offsets[first][0] <= begin:
        first += 1
    while offsets[last][1] >= end:
        last -= 1
    return first - 1, last + 1


def read_all(features, collate) -> None:
    """One pass over features in batches, as an epoch of training reads them."""
    for _ in DataLoader(features, batch_size=BATCH_ROWS, collate_fn=collate):
        pass


def agreement(usual: datasets.Dataset, own: QaWindows, answers) -> str:
    """How many windows there are, and the shares of them with the same tokens and with the same labels.

    Labels are compared where both recipes define them: white space at the edges of an answer counts in the usual one,
    and it does not here.

    Raises:
        ValueError: the windows are not the same ones.
    """
    lengths = np.array([sum(mask) for mask in usual["attention_mask"]])
    if not np.array_equal(lengths, own.lengths):
        raise ValueError(f"the recipes cut different windows: {len(lengths)} and {len(own)}")
    same_tokens = [
        np.array_equal(ids[:length], own[row]["input_ids"])
        for row, (ids, length) in enumerate(zip(usual["input_ids"], lengths, strict=True))
    ]
    same_start = np.array(usual["start_positions"]) == own.start_positions
    same_labels = same_start & (np.array(usual["end_positions"]) == own.end_positions)
    defined = np.array([all(text == text.strip() for text in answer["text"][:1]) for answer in answers])[own.example]
    shares = f"same tokens in {np.mean(same_tokens):.2%}, same labels in {np.mean(same_labels[defined]):.2%}"
    return f"{len(own):,} windows, {shares} (of {defined.sum():,} without white space at an answer's edges)"
