"""Speed: training beside the usual recipe and the usual one tuned by hand, evaluation, embedding; share of the peak.

Each way trains some steps after some that are not timed. Examples a second are rows a second: every way sees windows
of the same questions, whose notes are as short and as long as `accept_inputs.long_questions` makes them.
"""

import dataclasses
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import Trainer, TrainerCallback

from accept_card import peak_operations
from accept_inputs import SHAPES, Place, long_questions, make_model, make_tokenizer, make_trainer, make_usual
from acceptance import Finding
from bench_ceilings import linear_layers
from datamap.embeddings.encoder import CPU_BATCH_TOKENS, GPU_BATCH_TOKENS, Encoder, assemble, embed, plan_qa
from datamap.features import batches
from datamap.features.windows import QaWindows, pair_template
from datamap.options.precision import BF16, FLOAT32

WARM, TIMED, ROUNDS = 6, 30, 2
MOST_ROWS = 1024  # run.py's default on a GPU, where tokens bound a batch first
# Of the speed of the usual way tuned by hand, on a card: what two measurements of one way differ by.
SLOWEST = 0.97
GROUPED = {"train_sampling_strategy": "group_by_length"}


@dataclasses.dataclass(frozen=True)
class Way:
    """A way of training: its name, whether the suite's, and what differs in it.

    Attributes:
        multiple: tokens that the suite's batches are padded to a multiple of.
        by_cudnn: whether cuDNN may attend, which is PyTorch's default and not the suite's.
    """

    name: str
    is_ours: bool
    choices: dict
    multiple: int = batches.GPU_MULTIPLE
    by_cudnn: bool = False

    def trainer(self, place: Place, shape: str, batch: int) -> Trainer:
        """A trainer that goes this way."""
        common = {"n_rows": place.some(1200, 24), "shape": shape, "max_steps": place.some(WARM + TIMED, 3)}
        common |= {"per_device_train_batch_size": batch, "dataloader_num_workers": place.some(2, 0)}
        folder = f"speed_{shape}_{batch}_{self.name}".replace(" ", "_").replace(",", "")
        trainer = (make_trainer if self.is_ours else make_usual)(place, folder, **(common | self.choices))
        batches.GPU_MULTIPLE = self.multiple
        torch.backends.cuda.enable_cudnn_sdp(self.by_cudnn or not self.is_ours)
        return trainer


OURS = {"precision": BF16}
USUAL, TUNED = "usual", "usual tuned"
WAYS = (
    Way(USUAL, False, {"precision": FLOAT32, "pads": True}),
    Way(TUNED, False, OURS | GROUPED | {"pads": False, "optim": "adamw_torch_fused"}),
    Way("ours", True, OURS),
    Way("ours, recording", True, OURS | {"record": True}),
    Way("ours, grouped", True, OURS | GROUPED),
    Way("ours by cuDNN", True, OURS, by_cudnn=True),
    Way("ours by cuDNN, multiples of 64", True, OURS, multiple=64, by_cudnn=True),
)


class Clock(TrainerCallback):
    """Seconds, rows and tokens of the steps behind the first ones."""

    def __init__(self, trainer: Trainer, warm: int):
        self.warm, self.rows, self.tokens, self.seconds = warm, 0, 0, 0.0
        self.masks: list[torch.Tensor] = []
        step = trainer.training_step

        def counted(model, inputs, *arguments, **more):
            self.rows += len(inputs["input_ids"])
            self.masks.append(mask_of(inputs))
            return step(model, inputs, *arguments, **more)

        trainer.training_step = counted
        trainer.add_callback(self)

    def on_step_end(self, args, state, control, **kwargs):
        """Start the clock once it is warm."""
        if state.global_step == self.warm:
            settle(args.device)
            self.rows, self.begin = 0, time.perf_counter()
            self.masks.clear()

    def on_train_end(self, args, state, control, **kwargs):
        """Stop the clock."""
        settle(args.device)
        self.seconds = time.perf_counter() - self.begin
        self.tokens = sum(int(mask.sum()) for mask in self.masks)


def mask_of(inputs: dict) -> torch.Tensor:
    """Which tokens are no padding; a batch without padding may have no mask."""
    return inputs["attention_mask"] if "attention_mask" in inputs else torch.ones_like(inputs["input_ids"])


def settle(device: torch.device) -> None:
    """Wait for a card."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def operations(shape: str, n_tokens: float, length: float) -> float:
    """Operations of a training step's products over tokens in rows of a length."""
    config = SHAPES[shape]
    linear = sum(inputs * outputs for inputs, outputs in linear_layers(config))
    attention = 2 * config.num_hidden_layers * config.hidden_size * length
    return 6 * n_tokens * (linear + attention)


def measured(place: Place, shape: str, batch: int, way: Way) -> list[tuple[float, float]]:
    """(rows a second, operations a second) of a way of training, the first time and again with the same batches."""
    trainer = way.trainer(place, shape, batch)
    clock, found = Clock(trainer, place.some(WARM, 1)), []
    for _ in range(ROUNDS):
        trainer.train()
        done = operations(shape, clock.tokens, clock.tokens / clock.rows)
        found.append((clock.rows / clock.seconds, done / clock.seconds))
    return found


def check_training(shape: str, batch: int):
    """The check of one model and batch size, as a function of a Place: all ways, and ours no slower than the others."""

    def check(place: Place) -> Finding:
        computed = shape if place.device == "cuda" else "tiny"
        found = {way.name: measured(place, computed, batch, way) for way in WAYS}
        peak = peak_operations() if place.device == "cuda" else float("inf")
        words = [
            f"{name} {again:,.0f} (at first {first:,.0f}; {done / peak:.1%} of the peak)"
            for name, ((first, _), (again, done)) in found.items()
        ]
        figures = {name: {"at first": first[0], "again": again[0]} for name, (first, again) in found.items()}
        for usual in (USUAL, TUNED):
            ratios = {name: figures[name]["again"] / figures[usual]["again"] for name in ("ours", "ours, grouped")}
            words += [f"{name} {ratio:.2f} times the {usual}" for name, ratio in ratios.items()]
        right = place.device == "cpu" or ratios["ours, grouped"] >= SLOWEST
        return Finding(right, "examples/s: " + ", ".join(words), figures)

    return check


def check_evaluation(place: Place) -> Finding:
    """Windows a second of an evaluation, by batch size."""
    figures = {}
    for batch in (8, 32, MOST_ROWS):
        rows = {"n_rows": place.some(1200, 24), "per_device_eval_batch_size": batch, "precision": BF16}
        trainer = make_trainer(place, f"speed_evaluation_{batch}", **rows)
        trainer.evaluate()
        begin = time.perf_counter()
        trainer.evaluate()
        settle(trainer.args.device)
        figures[f"batches of {batch}"] = len(trainer.eval_dataset) / (time.perf_counter() - begin)
    return Finding(True, ", ".join(f"{name} {speed:,.0f} windows/s" for name, speed in figures.items()), figures)


def vectors(place: Place, precision: str) -> Iterator[float]:
    """Rows a second of embedding, again and again."""
    frame, tokenizer = long_questions(place.some(1200, 24)), make_tokenizer()
    model = make_model(place.shape).base_model
    encoder = Encoder(model, tokenizer, precision=precision, cls_index=pair_template(tokenizer).cls_index)
    plan = plan_qa(QaWindows(frame, tokenizer, place.max_length, place.max_length // 3))
    budget = GPU_BATCH_TOKENS if place.device == "cuda" else CPU_BATCH_TOKENS
    while True:
        with tempfile.TemporaryDirectory(dir=place.runs_dir) as folder:
            begin = time.perf_counter()
            assemble(embed(plan, encoder, budget, Path(folder)), len(frame), Path(folder) / "vectors.npy")
            yield len(frame) / (time.perf_counter() - begin)


def check_embedding(place: Place) -> Finding:
    """Rows a second of embedding, the second time."""
    figures = {}
    for precision in (FLOAT32, BF16):
        again = vectors(place, precision)
        figures[precision] = [next(again) for _ in range(2)][-1]
    return Finding(True, ", ".join(f"{name} {speed:,.0f} rows/s" for name, speed in figures.items()), figures)


CHECKS = {
    "training ELECTRA-small, batches of 8": (check_training("ELECTRA-small", 8), 0),
    "training ELECTRA-small, batches of 32": (check_training("ELECTRA-small", 32), 1),
    "training BERT-base, batches of 8": (check_training("BERT-base", 8), 1),
    "training BERT-base, batches of 32": (check_training("BERT-base", 32), 1),
    "evaluation": (check_evaluation, 0),
    "embedding": (check_embedding, 0),
}
