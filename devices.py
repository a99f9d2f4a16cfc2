"""What a device does well: its precision, an exact fast path for float32, attention; and how many of it are used."""

import logging

import torch

from cpu_functions import use_fast_attention
from errors import UsageError
from helpers import AUTO, BF16, FLOAT32, FP16, TF32
from memory import keep_freed_memory

logger = logging.getLogger(__name__)

# The largest error of a product of two matrices of PROBE x PROBE standard normal numbers, against float64 and in units
# of the product's own standard deviation (√PROBE), that still is float32's own.
PROBE, EXACT_ERROR = 512, 2e-5
# Models whose own code fails in bfloat16.
NO_BF16 = {"deberta"}


def multiplies_in_bf16(device: torch.device) -> bool:
    """Whether a device has products in bfloat16, by what it says of itself."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    from transformers.utils import is_torch_bf16_available_on_device

    return is_torch_bf16_available_on_device(device.type)


def settle_precision(asked: str, device: torch.device, model_type: str | None = None) -> tuple[str, str]:
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


def refuse_bf16_model(config, precision: str) -> None:
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


def choose_attention(model, device: torch.device) -> None:
    """Have a model attend in the fastest way there is.

    On a CPU that is `cpu_functions.attend`, or plain products for a model that attends in another way; on a GPU what
    Transformers takes by itself, PyTorch's fused attention where the model has it.
    """
    if device.type == "cpu" and not use_fast_attention(model):
        model.set_attn_implementation("eager")


def use_one_gpu(training_args) -> None:
    """Have a process that was not started by torchrun train on one GPU, as the Trainer does where it must.

    Its other way, nn.DataParallel, takes a batch for each GPU, and its threads open autocast without a type, so that
    bf16 would silently be float16 without a scaler.
    """
    n_gpus = training_args.n_gpu
    if n_gpus < 2:
        return
    training_args._n_gpu = 1
    logger.info("Using one of %d GPUs; start with torchrun --nproc_per_node %d for all.", n_gpus, n_gpus)


def copy_without_waiting(training_args) -> None:
    """Have the Trainer copy batches to a GPU while it computes; they lie in pinned memory."""
    if training_args.device.type == "cuda" and training_args.dataloader_pin_memory:
        training_args.accelerator_config.non_blocking = True


def precision_name(training_args) -> str:
    """What TrainingArguments compute in: "bf16", "fp16", "float32", or "tf32" where --tf32 true asked for it."""
    if training_args.bf16 or training_args.fp16:
        return BF16 if training_args.bf16 else FP16
    return TF32 if training_args.tf32 and training_args.device.type == "cuda" else FLOAT32


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


def settle_computing(training_args, config) -> dict:
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
