"""Recording training dynamics: the same step of training with and without it, in turn, and an epoch's file."""

import argparse
import statistics
import tempfile
import types
from pathlib import Path

import torch

from bench_training import BATCH, make_trainer
from cartography_callback import CartographyCallback
from timing import Row, take_turns

REPEATS = 41
SHAPE = "MiniLM-L6"


def measure(options: argparse.Namespace) -> list[Row]:
    """Both precisions."""
    return [row for way in ("ours, float32", "ours, bf16") for row in measure_way(way, options)]


def measure_way(way: str, options: argparse.Namespace) -> list[Row]:
    """Forward and backward of 16 rows, recording off and on, and the writing of an epoch by its number of examples."""
    with tempfile.TemporaryDirectory() as directory:
        trainer = make_trainer(SHAPE, way, options.dataset, options.device, directory)
        windows = trainer.train_dataset
        ids = [str(row) for row in range(windows.n_examples)]
        recorder = CartographyCallback(Path(directory) / "recording", ids, windows, task="qa", identity={})
        state = types.SimpleNamespace(is_world_process_zero=True, epoch=0, global_step=0, max_steps=1)
        recorder.on_train_begin(trainer.args, state, None)
        recorder.on_epoch_begin(trainer.args, state, None)
        rows = compare(trainer, recorder, way)
        return [*rows, writing(recorder, state, rows[0].median * len(windows) / BATCH, way)]


def compare(trainer, recorder, way: str) -> list[Row]:
    """The rows for one step without and with the recorder; each batch is seen once by both."""
    windows, device = trainer.train_dataset, trainer.args.device
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(windows), generator=generator).tolist()
    batch = trainer.data_collator([windows[row] for row in order[:BATCH]])
    batch = {name: values.to(device) for name, values in batch.items()}

    def step(with_recorder) -> None:
        trainer.recorder = with_recorder
        trainer.training_step(trainer.model, batch, BATCH)
        trainer.model.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()

    variants = {"off": lambda: step(None), "on": lambda: step(recorder)}
    item = f"recording, a step of {BATCH} rows, {SHAPE}, {way}"
    off, on = take_turns(item, variants, amount=BATCH, unit="examples", repeats=REPEATS)
    pairs = [after / before - 1 for before, after in zip(off.seconds, on.seconds, strict=True)]
    note = f"median of the pairs' differences {statistics.median(pairs):+.2%}"
    return [off, Row(on.item, on.variant, on.seconds, on.amount, on.unit, note)]


def writing(recorder, state, epoch_seconds: float, way: str) -> Row:
    """The row for the end of an epoch in which every window was seen."""

    def finish() -> None:
        recorder.seen_at[:-1] = 0
        recorder.is_written, recorder.number = False, 1
        recorder.finish_epoch(state)

    (row,) = take_turns(f"recording, an epoch's file, {way}", {f"{len(recorder.ids):,} examples": finish})
    note = f"{row.median / epoch_seconds:.2%} of the {epoch_seconds:.0f} s that the epoch takes"
    return Row(row.item, row.variant, row.seconds, note=note)
