"""Embeddings: padded batches in the order of the file against encoder.embed's batches by a budget of tokens."""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from transformers import AutoModel

import helpers
import timing
from datamap.embeddings.encoder import CPU_BATCH_TOKENS, GPU_BATCH_TOKENS, assemble, embed, plan_qa
from datamap.features.windows import QaWindows
from datamap.options.precision import BF16, FLOAT32
from extract_embeddings import make_encoder
from inputs import DOC_STRIDE, MAX_LENGTH, SEED, demo_config, demo_tokenizer, questions

N_ROWS = {"cpu": 256, "cuda": 6000}
BATCH_ROWS = 16


def measure(options: argparse.Namespace) -> list[timing.Row]:
    """From texts to vectors; loading the model is not timed."""
    known = options.dataset, options.device
    variants = {"usual recipe, float32": (usual, known)}
    variants["tuned by hand: sorted by length, float32 by oneDNN"] = (tuned, known)
    variants |= {f"encoder.embed, {name}": (own, (*known, name)) for name in (FLOAT32, BF16)}
    n_rows = len(rows_in_one_window(*known))
    return timing.take_turns_apart("embeddings", variants, amount=n_rows, unit="rows", compared=difference)


def rows_in_one_window(dataset: str, device: str):
    """Some rows whose context fits into one window, so that both ways see the same tokens."""
    frame = questions(dataset)
    windows = QaWindows(frame, demo_tokenizer(), MAX_LENGTH, DOC_STRIDE)
    answered = (np.bincount(windows.example) == 1) & (windows.gold_lengths > 0)
    chosen = frame[answered]
    return chosen.sample(min(N_ROWS[device], len(chosen)), random_state=SEED)


def usual(dataset: str, device: str) -> Callable[[], np.ndarray]:
    """The usual recipe as a call that gives float32 [n_rows, 2 x hidden size]."""
    frame, tokenizer = rows_in_one_window(dataset, device), demo_tokenizer()
    model = AutoModel.from_pretrained(helpers.model_path("demo")).eval().to(device)

    def call() -> np.ndarray:
        batches = [frame.iloc[begin : begin + BATCH_ROWS] for begin in range(0, len(frame), BATCH_ROWS)]
        return np.concatenate([usual_vectors(model, tokenizer, batch, device) for batch in batches])

    return call


def tuned(dataset: str, device: str) -> Callable[[], np.ndarray]:
    """As `usual`, as one who knows would write it: rows sorted by length, padded to the longest of their batch."""
    from datamap.training.devices import use_exact_float32

    use_exact_float32(torch.device(device))
    frame, tokenizer = rows_in_one_window(dataset, device), demo_tokenizer()
    model = AutoModel.from_pretrained(helpers.model_path("demo")).eval().to(device)

    def call() -> np.ndarray:
        lengths = [len(ids) for ids in tokenizer(frame["question"].tolist(), frame["context"].tolist())["input_ids"]]
        order = np.argsort(lengths, kind="stable")
        parts = [order[begin : begin + BATCH_ROWS] for begin in range(0, len(order), BATCH_ROWS)]
        vectors = [usual_vectors(model, tokenizer, frame.iloc[part], device, padding="longest") for part in parts]
        return np.concatenate(vectors)[np.argsort(order)]

    return call


def usual_vectors(model, tokenizer, batch, device: str, padding: str = "max_length") -> np.ndarray:
    """The vectors of one batch: [CLS] beside the mean over the tokens that share a character with the answer."""
    encoded = tokenizer(
        batch["question"].tolist(),
        batch["context"].tolist(),
        truncation="only_second",
        max_length=MAX_LENGTH,
        padding=padding,
        return_offsets_mapping=True,
        return_tensors="pt",
    )
    offsets = encoded.pop("offset_mapping")
    with torch.no_grad():
        hidden = model(**encoded.to(device)).last_hidden_state.cpu()
    found = []
    for row, answer in enumerate(batch["answers"]):
        begin = answer["answer_start"][0]
        end = begin + len(answer["text"][0])
        in_context = torch.tensor([side == 1 for side in encoded.sequence_ids(row)])
        inside = in_context & (offsets[row, :, 0] < end) & (offsets[row, :, 1] > begin)
        found.append(torch.cat([hidden[row, 0], hidden[row, inside].mean(0)]))
    return torch.stack(found).numpy()


def own(dataset: str, device: str, precision: str) -> Callable[[], np.ndarray]:
    """The suite's way as a call that gives the same, through its files."""
    frame, tokenizer = rows_in_one_window(dataset, device), demo_tokenizer()
    place = PartialState(cpu=device == "cpu").device
    asked = argparse.Namespace(bf16=False, precision=precision)
    encoder = make_encoder(asked, helpers.model_path("demo"), demo_config(), tokenizer, place)
    batch_tokens = CPU_BATCH_TOKENS if device == "cpu" else GPU_BATCH_TOKENS

    def call() -> np.ndarray:
        plan = plan_qa(QaWindows(frame, tokenizer, MAX_LENGTH, DOC_STRIDE))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "vectors.npy"
            assemble(embed(plan, encoder, batch_tokens, Path(folder)), len(frame), path)
            return np.load(path)

    return call


def difference(usual_way: np.ndarray, own_way: np.ndarray) -> str:
    """The largest difference between the vectors, beside their own size."""
    largest = np.abs(own_way - usual_way).max()
    return f"largest difference to the usual recipe {largest:.1e} (values up to {np.abs(usual_way).max():.1f})"
