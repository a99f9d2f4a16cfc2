"""What a device does well: its precision, an exact fast path for float32, attention; and how many of it are used."""

import logging
from typing import TYPE_CHECKING

import torch

from datamap.errors import UsageError
from datamap.options.precision import BF16, FLOAT32, NO_BF16, precision_name
from datamap.training.attention import use_row_attention
from datamap.training.memory import keep_freed_memory

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, TrainingArguments

logger = logging.getLogger(__name__)

# The largest error of a product of two matrices of PROBE x PROBE standard normal numbers, against float64 and in units
# of the product's own standard deviation (√PROBE), that still is float32's own.
PROBE, EXACT_ERROR = 512, 2e-5


def refuse_bf16_model(config: "PreTrainedConfig", precision: str) -> None:
    """UsageError where a model's own code does not compute in bf16."""
    if precision == BF16 and config.model_type in NO_BF16:
        raise UsageError("DeBERTa's attention (the first version's) fails in bf16: give --precision float32.")


def use_exact_float32(device: torch.device) -> bool:
    """Let oneDNN multiply float32 matrices on a CPU where its result is float32's own; whether it does from now on.

    oneDNN's own choice of kernels is about twice as fast as the maths library's on some processors. PyTorch calls it
    for float32 only where lower precision is allowed; whether a processor makes use of that is tried on one product.
    """
    settings = torch.backends.mkldnn.matmul
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(PROBE, PROBE, generator=generator) for _ in range(2))
    error = (one @ other - (one.double() @ other.double())).abs().max() / PROBE**0.5
    if error > EXACT_ERROR:
        settings.fp32_precision = before
        return False
    return True


def choose_attention(model: "PreTrainedModel", device: torch.device) -> None:
    """Have a model attend in the fastest way there is.

    On a CPU that is `attention.attend`, or plain products for a model that attends in another way; on a GPU what
    Transformers takes by itself, PyTorch's fused attention where the model has it.
    """
    if device.type == "cpu" and not use_row_attention(model):
        model.set_attn_implementation("eager")


def copy_without_waiting(training_args: "TrainingArguments") -> None:
    """Have the Trainer copy batches to a GPU while it computes; they lie in pinned memory."""
    if training_args.device.type == "cuda" and training_args.dataloader_pin_memory:
        training_args.accelerator_config.non_blocking = True


def keep_float32(precision: str) -> None:
    """Have a GPU multiply float32 numbers as such where the precision is "float32".

    PyTorch lets convolutions round them to TF32 by itself, and --torch_compile switches that on for all products.
    """
    if precision == FLOAT32:
        torch.backends.cuda.matmul.fp32_precision = "ieee"
        torch.backends.cudnn.conv.fp32_precision = "ieee"
        torch.backends.cudnn.rnn.fp32_precision = "ieee"


def speed_up(device: torch.device, precision: str) -> bool:
    """Set this process up to compute fast; whether float32 goes through oneDNN from now on."""
    keep_freed_memory()
    if device.type == "cuda":
        keep_float32(precision)
        torch.backends.cuda.enable_cudnn_sdp(
            False
        )  # it makes a plan for every new shape, which takes longer than a step
    return use_exact_float32(device)


def settle_computing(training_args: "TrainingArguments", config: "PreTrainedConfig") -> dict:
    """Set this process up to train fast; what the manifest says of it.

    Returns:
        "precision" and "exact_float32_by_onednn" (whether float32 goes that way).
    """
    if training_args.bf16 and training_args.precision_is_free and config.model_type in NO_BF16:
        training_args.bf16, training_args.mixed_precision = False, "no"
        logger.info("Computing in float32 after all: this model's attention fails in bfloat16.")
    precision = precision_name(training_args)
    refuse_bf16_model(config, precision)
    return {"precision": precision, "exact_float32_by_onednn": speed_up(training_args.device, precision)}
