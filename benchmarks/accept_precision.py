"""bf16 and fp16: which types products have, and whether training in them learns as in float32."""

import collections
import math

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from accept_inputs import Place, make_trainer
from acceptance import Finding
from datamap.options.precision import BF16, FLOAT32

PRODUCTS = ("mm", "bmm", "addmm", "baddbmm", "matmul", "linear", "attention", "convolution")
STEPS, LOSS_BOUND = 50, 0.02


class Products(TorchDispatchMode):
    """Counts the types of all floating-point operands of products, those of the backward pass included."""

    def __init__(self):
        super().__init__()
        self.types: collections.Counter = collections.Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Called by PyTorch for every operation."""
        name = function.name().split("::")[1].split(".")[0].strip("_")
        if any(name == product or (len(product) > 8 and product in name) for product in PRODUCTS):
            # the sums over attention weights are kept in float32, which is no operand of a product
            operands = [value for value in args[:3] if isinstance(value, torch.Tensor) and value.is_floating_point()]
            self.types.update({f"{name} {str(value.dtype).removeprefix('torch.')}": 1 for value in operands})
        return function(*args, **(kwargs or {}))


def check_products(place: Place) -> Finding:
    """Every product of a step in several micro-batches has operands of bfloat16."""
    choices = {"n_rows": 16, "max_steps": 1, "per_device_train_batch_size": 16, "precision": BF16}
    trainer = make_trainer(place, "products", micro_batch_tokens=3 * place.max_length, **choices)
    with Products() as seen:
        trainer.train()
    kinds = {name.split()[-1] for name in seen.types}
    listed = ", ".join(f"{name} {count}" for name, count in sorted(seen.types.items()))
    return Finding(kinds == {"bfloat16"}, listed, dict(seen.types))


def mean_loss(place: Place, precision: str) -> float:
    """The mean loss of some steps."""
    steps = place.some(STEPS, 6)
    rows = {"n_rows": place.some(256, 24), "max_steps": steps, "warmup_steps": steps // 5}
    trainer = make_trainer(place, f"learning_{precision}", precision=precision, **rows)
    return trainer.train().training_loss


def check_learning(place: Place) -> Finding:
    """The mean loss in bf16 beside float32's."""
    figures = {precision: mean_loss(place, precision) for precision in (FLOAT32, BF16)}
    apart = abs(figures[BF16] - figures[FLOAT32]) / figures[FLOAT32]
    words = f"mean loss float32 {figures[FLOAT32]:.4f}, bf16 {figures[BF16]:.4f}: {apart:.2%} apart (at most 2%)"
    return Finding(apart <= LOSS_BOUND, words, figures)


def check_fp16(place: Place) -> Finding:
    """Steps in fp16 end in a loss and weights that are numbers."""
    trainer = make_trainer(place, "learning_fp16", precision="fp16", n_rows=256, max_steps=STEPS, warmup_steps=10)
    loss = trainer.train().training_loss
    finite = math.isfinite(loss) and all(bool(value.isfinite().all()) for value in trainer.model.parameters())
    return Finding(finite, f"mean loss of {STEPS} steps {loss:.4f}", {"loss": loss})


CHECKS = {"products": (check_products, 0), "learning": (check_learning, 0), "fp16": (check_fp16, 1)}
