"""A processor against the card on drawn batches: span search, measures, the recorder, and where a step waits."""

import types
import warnings

import numpy as np
import torch
from transformers import Trainer

from accept_inputs import Place, make_trainer, make_usual
from acceptance import Finding, within
from cartography_callback import CartographyCallback
from datamap.evaluation.gold_measures import nli_measures, qa_measures
from datamap.evaluation.spans import search_spans
from datamap.options.precision import BF16
from inputs import SEED

N_BATCHES, BATCH, LENGTH, REACH, N_BEST = 20, 64, 384, 30, 20
N_WINDOWS = 400
STEPS, SETTLED = 8, 3
MEASURES_BOUND = 1e-6


def logits(generator: torch.Generator, step: float) -> torch.Tensor:
    """Start and end logits [2, batch, length], in multiples of `step`, so that large steps make ties."""
    drawn = torch.randn(2, BATCH, LENGTH, generator=generator)
    return (drawn / step).round() * step if step else drawn


def bounds(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Where each window's context begins and ends; some hold fewer spans than are searched for."""
    starts = torch.randint(1, LENGTH - 2, (BATCH,), generator=generator)
    room = LENGTH - starts
    return starts, starts + (torch.rand(BATCH, generator=generator) * room).long().clamp(min=1)


def found_on(device: str, sides: torch.Tensor, contexts: tuple, n_best: int) -> list[torch.Tensor]:
    """What the span search finds on a device, on the host."""
    arguments = [values.to(device) for values in (*sides, *contexts)]
    return [values.cpu() for values in search_spans(*arguments, REACH, n_best)]


def check_spans(place: Place) -> Finding:
    """The best span with ties, and the 20 best: scores equal everywhere, places wherever no score occurs twice."""
    generator, others = torch.Generator().manual_seed(SEED), dict.fromkeys(("best", "scores", "places"), 0)
    for number in range(N_BATCHES):
        sides, contexts = logits(generator, 0.5 * (number % 2)), bounds(generator)
        sides[:, 1] = sides[:, 0]
        one, other = (found_on(device, sides, contexts, 1) for device in ("cpu", place.device))
        others["best"] += sum(int((a != b).sum()) for a, b in zip(one, other, strict=True))
        one, other = (found_on(device, sides, contexts, N_BEST) for device in ("cpu", place.device))
        others["scores"] += int((one[0] != other[0]).sum())
        scores = one[0]
        same = (scores[:, 1:] == scores[:, :-1]) | (number % 2 == 1)
        tied = torch.nn.functional.pad(same, (1, 0)) | torch.nn.functional.pad(same, (0, 1), value=True)
        others["places"] += sum(int(((a != b) & ~tied).sum()) for a, b in zip(one[1:], other[1:], strict=True))
    listed = ", ".join(f"{name} {count}" for name, count in others.items())
    return Finding(not any(others.values()), f"differing numbers in {N_BATCHES * BATCH} windows: {listed}", others)


def drawn_batch(generator: torch.Generator) -> tuple[dict, dict]:
    """(outputs, inputs) of a batch with ties, padding and rows that come twice, for QA and NLI alike."""
    starts, ends = logits(generator, 0.25)
    lengths = torch.randint(LENGTH // 2, LENGTH, (BATCH,), generator=generator)
    gold = torch.randint(0, LENGTH // 2, (2, BATCH), generator=generator).sort(0).values
    inputs = {
        "attention_mask": (torch.arange(LENGTH) < lengths[:, None]).long(),
        "start_positions": gold[0],
        "end_positions": gold[1],
        "labels": torch.randint(0, 3, (BATCH,), generator=generator),
        "row": torch.randint(0, N_WINDOWS, (BATCH,), generator=generator),
    }
    outputs = {"start_logits": starts, "end_logits": ends, "logits": starts[:, :3].contiguous()}
    return outputs, inputs


def moved(values: dict, device: str) -> dict:
    """Tensors by name, on a device."""
    return {name: tensor.to(device) for name, tensor in values.items()}


def check_measures(place: Place) -> Finding:
    """Probabilities, margins, correctness and span F1 of drawn batches."""
    generator, worst = torch.Generator().manual_seed(SEED), {"qa": 0.0, "nli": 0.0}
    for _ in range(N_BATCHES):
        outputs, inputs = drawn_batch(generator)
        losses = torch.rand(BATCH, generator=generator)
        for name, measure in (("qa", qa_measures), ("nli", nli_measures)):
            one = measure(outputs, inputs, losses)
            there = (moved(values, place.device) for values in (outputs, inputs))
            other = measure(*there, losses.to(place.device)).cpu()
            worst[name] = max(worst[name], float((one - other).abs().max()))
    return within(worst, MEASURES_BOUND)


class Windows:
    """As many windows as examples, for a recorder."""

    example, has_gold = np.arange(N_WINDOWS), np.ones(N_WINDOWS, dtype=bool)

    def __len__(self) -> int:
        return N_WINDOWS

    def fingerprint(self) -> str:
        """Of no text."""
        return "drawn"


def recorded(place: Place, device: str, mode: str) -> list[np.ndarray]:
    """A recorder's arrays after some batches, under a mode of torch.cuda.set_sync_debug_mode."""
    ids = [str(number) for number in range(N_WINDOWS)]
    folder = place.runs_dir / f"recorder_{device}"
    recorder = CartographyCallback(folder, ids, Windows(), task="qa", identity={})
    state = types.SimpleNamespace(is_world_process_zero=True, global_step=0, max_steps=10, epoch=0)
    recorder.on_train_begin(types.SimpleNamespace(device=torch.device(device)), state, None)
    recorder.on_epoch_begin(None, state, types.SimpleNamespace(should_training_stop=False))
    generator = torch.Generator().manual_seed(SEED)
    batches = [(*drawn_batch(generator), torch.rand(BATCH, generator=generator)) for _ in range(N_BATCHES)]
    batches = [
        (moved(outputs, device), moved(inputs, device), losses.to(device)) for outputs, inputs, losses in batches
    ]
    if device == "cuda":
        torch.cuda.set_sync_debug_mode(mode)
    for batch in batches:
        recorder.record(*batch)
    if device == "cuda":
        torch.cuda.set_sync_debug_mode("default")
    return list(recorder.gathered())


def check_recorder(place: Place) -> Finding:
    """The same arrays on both, and nothing in recording waits for the card."""
    one, other = recorded(place, "cpu", "default"), recorded(place, place.device, "error")
    figures = {"values": float(np.abs(one[0] - other[0]).max()), "first times": float(np.abs(one[1] - other[1]).max())}
    finding = within(figures, MEASURES_BOUND)
    return Finding(finding.right, f"{finding.words}; recording waits for nothing", figures)


def waits_of_a_step(trainer: Trainer) -> float:
    """How often a training step waits for the card, by PyTorch's own count of what it can see."""
    counts = []
    step = trainer.training_step

    def counted(*arguments, **more):
        counts.append(len(seen))
        return step(*arguments, **more)

    trainer.training_step = counted
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        trainer.train()
        torch.cuda.set_sync_debug_mode("default")
    texts = [str(warning.message) for warning in seen]
    waits = [number for number, text in enumerate(texts) if "synchroniz" in text]
    first, last = counts[SETTLED], counts[-1]
    return sum(first <= number < last for number in waits) / (len(counts) - 1 - SETTLED)


def check_waits(place: Place) -> Finding:
    """Waits of a whole step, recording on and off, beside the stock Trainer's over the same batches."""
    arguments = {"n_rows": 96, "max_steps": STEPS, "precision": BF16, "micro_batch_tokens": 10**6}
    figures = {
        "recording off": waits_of_a_step(make_trainer(place, "waits", **arguments)),
        "recording on": waits_of_a_step(make_trainer(place, "waits_recorded", record=True, **arguments)),
    }
    stock = {"n_rows": 96, "max_steps": STEPS, "precision": BF16, "shape": place.shape, "pads": False}
    figures["stock Trainer"] = waits_of_a_step(make_usual(place, "waits_usual", **stock))
    listed = ", ".join(f"{name} {count:.1f}" for name, count in figures.items())
    right = figures["recording on"] <= figures["recording off"] <= figures["stock Trainer"]
    return Finding(right, f"waits a step: {listed}", figures)


CHECKS = {
    "spans": (check_spans, 1),
    "measures": (check_measures, 1),
    "recorder": (check_recorder, 1),
    "waits": (check_waits, 1),
}
