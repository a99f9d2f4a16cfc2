"""Precisions by name, and which of them a device computes in."""

import logging
from typing import TYPE_CHECKING

from datamap.errors import UsageError

if TYPE_CHECKING:
    import torch
    from transformers import TrainingArguments

logger = logging.getLogger(__name__)

AUTO, FLOAT32, BF16 = PRECISIONS = ("auto", "float32", "bf16")
FP16, TF32 = "fp16", "tf32"  # by Transformers' own flags
# Models whose own code fails in bfloat16.
NO_BF16 = {"deberta"}


def multiplies_in_bf16(device: "torch.device") -> bool:
    """Whether a device has products in bfloat16, by what it says of itself."""
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    from transformers.utils import is_torch_bf16_available_on_device

    return is_torch_bf16_available_on_device(device.type)


def settle_precision(asked: str, device: "torch.device", model_type: str | None = None) -> tuple[str, str]:
    """(precision, why): "float32", or "bf16" where it was asked for or, with "auto", where device and model have it.

    Args:
        model_type: as a configuration names it; None where it is not known yet.

    Raises:
        UsageError: bf16 was asked for on a GPU that has none.
    """
    is_native, name = multiplies_in_bf16(device), "GPU" if device.type == "cuda" else device.type.upper()
    if asked == BF16 and device.type != "cpu" and not is_native:
        raise UsageError(f"--precision bf16: this {name} does not compute in bfloat16, so give float32.")
    if asked != AUTO:
        return asked, "it was asked for"
    if model_type in NO_BF16:
        return FLOAT32, "this model's attention fails in bfloat16"
    if is_native:
        return BF16, f"this {name} multiplies in bfloat16"
    hint = "; --fp16 is faster, with a loss that is scaled" if device.type == "cuda" else ""
    return FLOAT32, f"this {name} does not multiply in bfloat16{hint}"


def use_one_gpu(training_args: "TrainingArguments") -> None:
    """Have a process that was not started by torchrun train on one GPU, as the Trainer does where it must.

    Its other way, nn.DataParallel, takes a batch for each GPU, and its threads open autocast without a type, so that
    bf16 would silently be float16 without a scaler.
    """
    n_gpus = training_args.n_gpu
    if n_gpus < 2:
        return
    training_args._n_gpu = 1
    logger.info("Using one of %d GPUs; start with torchrun --nproc_per_node %d for all.", n_gpus, n_gpus)


def precision_name(training_args: "TrainingArguments") -> str:
    """What TrainingArguments compute in: "bf16", "fp16", "float32", or "tf32" where --tf32 true asked for it."""
    if training_args.bf16 or training_args.fp16:
        return BF16 if training_args.bf16 else FP16
    return TF32 if training_args.tf32 and training_args.device.type == "cuda" else FLOAT32
