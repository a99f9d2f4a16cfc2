"""Training: examples a second of the same Trainer, as the usual recipe has it and as run.py does.

Every way of training has a process of its own, so that settings of one never help another; they take turns, measurement
by measurement (the four of ELECTRA-small hold 15 GB together). A measurement trains some steps of 16 rows after some
that are not timed, because the memory of a training settles within its first steps, while the system still has to
find and clear it. The rows of the timed steps stand for a whole epoch: windows (where rows are grouped by length:
batches) at even distances in the order of their lengths.
"""

import argparse
import contextlib
import dataclasses
import functools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import timing  # noqa: E402
from timing import Row  # noqa: E402

BATCH, DOC_STRIDE = 16, 128
SHAPES = ("ELECTRA-small", "MiniLM-L6")
# Tokens that the usual recipe pads to.
USUAL = {"ELECTRA-small": 512, "MiniLM-L6": 384}
WAYS = ("usual", "tuned by hand", "ours, float32", "ours, bf16")
# Optimizer steps in one measurement, and those before it that are not timed.
STEPS = {"usual": 1, "tuned by hand": 6, "ours, float32": 6, "ours, bf16": 6}
UNTIMED = {"usual": 1, "tuned by hand": 8, "ours, float32": 8, "ours, bf16": 8}
GIVEN = ("seconds", "rows", "tokens", "gigabytes")


def described(shape: str, way: str, device: str) -> str:
    """A way of training in words."""
    if way == "usual":
        return f"usual: padded to {USUAL[shape]}, float32"
    precision = "float32 by oneDNN" if device == "cpu" else "bf16"
    return f"tuned by hand: grouped by length, {precision}" if way == "tuned by hand" else way


def in_bf16(way: str, device: str) -> bool:
    """Whether a way computes in bf16."""
    return way.endswith("bf16") or (way == "tuned by hand" and device == "cuda")


def make_model(shape: str):
    """(model, tokenizer): MiniLM-L6 as it comes, ELECTRA-small of its true size with random weights."""
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer, ElectraConfig, ElectraForQuestionAnswering

    import helpers

    path = helpers.model_path("demo")
    tokenizer = AutoTokenizer.from_pretrained(path)
    if shape == "MiniLM-L6":
        return AutoModelForQuestionAnswering.from_pretrained(path), tokenizer
    config = ElectraConfig(vocab_size=len(tokenizer))
    return ElectraForQuestionAnswering(config), tokenizer


class PadTo:
    """run.py's collator, padding on to a fixed length as the usual recipe does."""

    def __init__(self, collator, length: int):
        self.collator, self.length = collator, length

    def __call__(self, items: list[dict]) -> dict:
        from torch.nn.functional import pad

        batch = self.collator(items)
        wide = batch["input_ids"].shape[1]
        return {k: pad(v, (0, self.length - wide)) if v.shape[1:] == (wide,) else v for k, v in batch.items()}


def make_trainer(shape: str, way: str, dataset: str, device: str, directory: str):
    """A QaTrainer that trains in one of WAYS, on its rows in their order."""
    import torch
    from transformers import TrainingArguments

    from datamap.features.windows import PadCollator, QaWindows
    from datamap.training import devices, memory
    from datamap.training.trainer import QaTrainer
    from inputs import questions

    place, ours = torch.device(device), way.startswith("ours")
    if ours or (way == "tuned by hand" and device == "cpu"):
        devices.use_exact_float32(place)
    if ours:
        memory.keep_freed_memory()
    torch.manual_seed(0)
    model, tokenizer = make_model(shape)
    if ours:
        devices.choose_attention(model, place)
    windows = QaWindows(questions(dataset), tokenizer, USUAL[shape], DOC_STRIDE)
    collator = PadCollator(tokenizer)
    arguments = TrainingArguments(
        directory,
        per_device_train_batch_size=BATCH,
        use_cpu=device == "cpu",
        bf16=in_bf16(way, device),
        train_sampling_strategy="sequential",
        max_steps=UNTIMED[way] + STEPS[way],
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    fit = {"device": place, "in_16_bits": in_bf16(way, device)}
    budget = memory.micro_batch_tokens(model, USUAL[shape], **fit) if ours else sys.maxsize
    trainer = QaTrainer(
        model=model,
        args=arguments,
        train_dataset=windows,
        data_collator=PadTo(collator, USUAL[shape]) if way == "usual" else collator,
        micro_batch_tokens=budget,
    )
    if not ours:
        trainer.functions = contextlib.nullcontext()
    return trainer


def rows_of(lengths: np.ndarray, way: str, seed: int) -> list[int]:
    """The rows of one measurement in their order: those of steps that are not timed, then those of the others."""
    generator = np.random.default_rng(seed)
    by_length = np.argsort(lengths, kind="stable")
    together = BATCH if way == "tuned by hand" else 1
    groups = by_length[: len(lengths) // together * together].reshape(-1, together)

    def drawn(n_steps: int) -> np.ndarray:
        n_groups = n_steps * BATCH // together
        places = (np.arange(n_groups) + generator.random()) * len(groups) / n_groups
        return generator.permutation(groups[places.astype(int)]).ravel()

    return np.concatenate([drawn(UNTIMED[way]), drawn(STEPS[way])]).tolist()


def watch(trainer, n_untimed: int) -> dict:
    """Seconds, rows and tokens of the steps after the untimed ones, filled in by every call of `train`."""
    from transformers import TrainerCallback

    from datamap.training import memory

    found = {"seconds": 0.0, "rows": 0, "tokens": 0, "gigabytes": 0.0}
    step = trainer.training_step

    def counted(model, inputs, *args, **kwargs):
        if trainer.state.global_step >= n_untimed:
            found["rows"] += len(inputs["input_ids"])
            found["tokens"] += int(inputs["attention_mask"].sum())
        return step(model, inputs, *args, **kwargs)

    class Watch(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == n_untimed:
                found.update(rows=0, tokens=0, begin=time.perf_counter())

        def on_train_end(self, args, state, control, **kwargs):
            if args.device.type == "cuda":
                import torch

                torch.cuda.synchronize()
            found["seconds"] = time.perf_counter() - found["begin"]
            held = memory.peak_memory(args.device)
            found["gigabytes"] = held.get("gpu", held.get("host", 0.0))

    trainer.training_step = counted
    trainer.add_callback(Watch())
    return found


def serve(shape: str, way: str, dataset: str, device: str) -> None:
    """Train a few steps for every line on stdin, which is a seed, and print what they took."""
    from torch.utils.data import Subset

    with tempfile.TemporaryDirectory() as directory:
        trainer = make_trainer(shape, way, dataset, device, directory)
        windows, found = trainer.train_dataset, watch(trainer, UNTIMED[way])
        for line in sys.stdin:
            trainer.args.seed = int(line)
            trainer.train_dataset = Subset(windows, rows_of(windows.lengths, way, int(line)))
            trainer.train()
            print(json.dumps({name: found[name] for name in GIVEN}), flush=True)


@contextlib.contextmanager
def worker(shape: str, way: str, options: argparse.Namespace) -> Iterator[Callable[[int], dict]]:
    """A process that trains in one way while the block lasts, as a function from a seed to the numbers GIVEN."""
    command = [sys.executable, __file__, shape, way, options.dataset, options.device]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            yield functools.partial(ask, process, errors)
        finally:
            process.kill()
            process.wait()


def ask(process: subprocess.Popen, errors: IO, seed: int) -> dict:
    """One measurement of a waiting process.

    Raises:
        RuntimeError: the process has ended; with its last words.
    """
    with contextlib.suppress(BrokenPipeError):
        print(seed, file=process.stdin, flush=True)
    line = process.stdout.readline()
    if not line:
        errors.seek(0)
        words = errors.read()[-2000:]
        raise RuntimeError(f"{process.args} ended with {process.wait()} and without an answer: {words}")
    return json.loads(line)


def measure_shape(shape: str, options: argparse.Namespace) -> Iterator[Row]:
    """The rows of one model; where it is stopped, of the rounds that were finished."""
    found: dict[str, list[dict]] = {way: [] for way in WAYS}
    with contextlib.ExitStack() as stack:
        workers = {way: stack.enter_context(worker(shape, way, options)) for way in WAYS}
        try:
            take_rounds(shape, workers, found)
        except (KeyboardInterrupt, RuntimeError):
            yield from rows_of_ways(shape, options.device, found)
            raise
    yield from rows_of_ways(shape, options.device, found)


def take_rounds(shape: str, workers: dict[str, Callable[[int], dict]], found: dict[str, list[dict]]) -> None:
    """Have the ways take turns, and add what is measured to `found`."""
    for seed in timing.rounds(f"training, {shape}", timing.REPEATS):
        for way, measured in workers.items():
            found[way].append(measured(seed))


def rows_of_ways(shape: str, device: str, found: dict[str, list[dict]]) -> Iterator[Row]:
    """The rows of one model, of the rounds in which every way was measured."""
    n_rounds = min(len(measured) for measured in found.values())
    rows = {way: row_of(shape, way, device, found[way][:n_rounds]) for way in WAYS if n_rounds}
    for way, row in rows.items():
        ratio = f", {rows['tuned by hand'].median / row.median:.2f} times as fast as tuned by hand"
        yield dataclasses.replace(row, note=row.note + (ratio if way in WAYS[2:] else ""))


def row_of(shape: str, way: str, device: str, found: list[dict]) -> Row:
    """The row of one way; the ceiling is that of the same precision, for rows of as many tokens."""
    from transformers import ElectraConfig

    from bench_ceilings import BF16, FAST_FLOAT32, ceiling
    from inputs import demo_config

    config = ElectraConfig() if shape == "ELECTRA-small" else demo_config()
    tokens = sum(one["tokens"] for one in found) / sum(one["rows"] for one in found)
    seconds = tuple(BATCH * one["seconds"] / one["rows"] for one in found)
    row = Row(f"training, {shape}", described(shape, way, device), seconds, BATCH, "examples")
    speed = row.amount / row.median
    limit = ceiling(config, round(tokens), BF16 if in_bf16(way, device) else FAST_FLOAT32, device)
    note = f"{tokens:.0f} tokens a row, {speed * tokens:,.0f} tokens/s, {speed / limit:.0%} of the ceiling"
    memory = max(one["gigabytes"] for one in found)
    return dataclasses.replace(row, note=f"{note}, {memory:.1f} GB at most")


def measure(options) -> Iterator[Row]:
    """Seconds for 16 rows."""
    for shape in SHAPES:
        yield from measure_shape(shape, options)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="One way of training, asked through stdin.")
    for name in ("shape", "way", "dataset", "device"):
        parser.add_argument(name)
    serve(**vars(parser.parse_args()))
