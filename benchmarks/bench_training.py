"""Training: examples a second of the same Trainer, as the usual recipe has it and as run.py does.

Every way of training has a process of its own, so that settings of one never help another; they take turns, step by
step. A measurement trains some steps of 16 rows after one that is not timed.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from timing import REPEATS, Row  # noqa: E402

BATCH, DOC_STRIDE = 16, 128
SHAPES = ("ELECTRA-small", "MiniLM-L6")
# Tokens that the usual recipe pads to.
USUAL = {"ELECTRA-small": 512, "MiniLM-L6": 384}
WAYS = ("usual", "tuned by hand", "ours, float32", "ours, bf16")
# Optimizer steps in one measurement.
STEPS = {"usual": 1, "tuned by hand": 3, "ours, float32": 3, "ours, bf16": 6}


def described(shape: str, way: str) -> str:
    """A way of training in words."""
    if way == "usual":
        return f"usual: padded to {USUAL[shape]}, float32"
    return "tuned by hand: grouped by length, float32 by oneDNN" if way == "tuned by hand" else way


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
    """A QaTrainer that trains in one of WAYS."""
    import contextlib

    import torch
    from transformers import TrainingArguments

    import devices
    from inputs import questions
    from training import QaTrainer
    from windows import PadCollator, QaWindows

    place, ours = torch.device(device), way.startswith("ours")
    if ours or (way == "tuned by hand" and device == "cpu"):
        devices.use_exact_float32(place)
    if ours:
        devices.keep_freed_memory()
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
        bf16=way.endswith("bf16"),
        train_sampling_strategy="group_by_length" if way == "tuned by hand" else "random",
        max_steps=1 + STEPS[way],
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    budget = devices.micro_batch_tokens(model.config, USUAL[shape], place) if ours else sys.maxsize
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


def watch(trainer) -> dict:
    """Seconds, rows and tokens of the steps after the first one, filled in by every call of `train`."""
    from transformers import TrainerCallback

    import devices

    found = {"seconds": 0.0, "rows": 0, "tokens": 0, "gigabytes": 0.0}
    step = trainer.training_step

    def counted(model, inputs, *args, **kwargs):
        if trainer.state.global_step:
            found["rows"] += len(inputs["input_ids"])
            found["tokens"] += int(inputs["attention_mask"].sum())
        return step(model, inputs, *args, **kwargs)

    class Watch(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 1:
                found.update(rows=0, tokens=0, begin=time.perf_counter())

        def on_train_end(self, args, state, control, **kwargs):
            if args.device.type == "cuda":
                import torch

                torch.cuda.synchronize()
            found["seconds"] = time.perf_counter() - found["begin"]
            memory = devices.peak_memory(args.device)
            found["gigabytes"] = memory.get("gpu", memory.get("host", 0.0))

    trainer.training_step = counted
    trainer.add_callback(Watch())
    return found


def serve(shape: str, way: str, dataset: str, device: str) -> None:
    """Train a few steps for every line on stdin and print what they took."""
    import tempfile

    from transformers import set_seed

    with tempfile.TemporaryDirectory() as directory:
        trainer = make_trainer(shape, way, dataset, device, directory)
        found = watch(trainer)
        for line in sys.stdin:
            set_seed(int(line))
            trainer.args.seed = int(line)
            trainer.train()
            print(json.dumps({name: found[name] for name in ("seconds", "rows", "tokens", "gigabytes")}), flush=True)


def start(shape: str, way: str, options) -> subprocess.Popen:
    """A process that waits to be asked for measurements."""
    command = [sys.executable, __file__, shape, way, options.dataset, options.device]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    return subprocess.Popen(command, **pipes)


def ask(process: subprocess.Popen, seed: int) -> dict:
    """One measurement of a waiting process."""
    process.stdin.write(f"{seed}\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args} ended without an answer")
    return json.loads(line)


def measure_shape(shape: str, options) -> list[Row]:
    """The rows of one model."""
    from transformers import ElectraConfig

    from bench_ceilings import BF16, FAST_FLOAT32, ceiling
    from inputs import demo_config

    ways = {way: start(shape, way, options) for way in WAYS}
    found: dict[str, list[dict]] = {way: [] for way in WAYS}
    for seed in range(REPEATS + 1):
        for way, process in ways.items():
            found[way].append(ask(process, seed))
    for process in ways.values():
        process.stdin.close()
        process.wait()
    config = ElectraConfig() if shape == "ELECTRA-small" else demo_config()
    rows = []
    for way in WAYS:
        kept = found[way][1:]
        seconds = tuple(BATCH * one["seconds"] / one["rows"] for one in kept)
        tokens = sum(one["tokens"] for one in kept) / sum(one["rows"] for one in kept)
        speed = sum(one["rows"] for one in kept) / sum(one["seconds"] for one in kept)
        limit = ceiling(config, round(tokens), BF16 if way.endswith("bf16") else FAST_FLOAT32, options.device)
        note = f"{tokens:.0f} tokens a row, {speed * tokens:,.0f} tokens/s, {speed / limit:.0%} of the ceiling"
        note += f", {max(one['gigabytes'] for one in kept):.1f} GB at most"
        rows.append(Row(f"training, {shape}", described(shape, way), seconds, BATCH, "examples", note))
    return rows


def measure(options) -> list[Row]:
    """Seconds for 16 rows."""
    return [row for shape in SHAPES for row in measure_shape(shape, options)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="One way of training, asked through stdin.")
    for name in ("shape", "way", "dataset", "device"):
        parser.add_argument(name)
    serve(**vars(parser.parse_args()))
