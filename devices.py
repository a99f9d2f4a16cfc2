"""What a device does well: its precision, an exact fast path for float32, memory that is kept, its peak."""

import ctypes
import sys
from pathlib import Path

import torch

from cpu_functions import use_fast_attention
from errors import UsageError
from helpers import AUTO, BF16, CPU_MICRO_BATCH_TOKENS, FLOAT32

# The share of a GPU's memory that activations may take; weights, gradients and the optimizer's state have the rest.
ACTIVATIONS_SHARE = 0.4
# The largest error of a product of two matrices of PROBE x PROBE standard normal numbers, against float64 and in units
# of the product's own standard deviation (√PROBE), that still is float32's own.
PROBE, EXACT_ERROR = 512, 2e-5
# Of glibc's mallopt (malloc.h), and how many bytes may lie free, and from which size on a block is always given back.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES, LARGE_BYTES = 2**29, 2**25


def settle_precision(asked: str, device: torch.device) -> tuple[str, str]:
    """(precision, why): "float32", or "bf16" where it was asked for or, with "auto", where the device multiplies in it.

    Raises:
        UsageError: bf16 was asked for on a GPU that has none.
    """
    if device.type == "cuda":
        is_native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        able = torch.cpu.get_capabilities() if device.type == "cpu" else {}
        is_native = any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    if asked == BF16 and device.type == "cuda" and not is_native:
        raise UsageError("--precision bf16: this GPU does not compute in bfloat16, so give float32.")
    if asked != AUTO:
        return asked, "it was asked for"
    if is_native:
        return BF16, f"this {device.type.upper()} multiplies in bfloat16"
    return FLOAT32, f"this {device.type.upper()} does not multiply in bfloat16"


def refuse_bf16_model(config, precision: str) -> None:
    """UsageError where a model's own code does not compute in bf16."""
    if precision == BF16 and config.model_type == "deberta":
        raise UsageError("DeBERTa's attention (the first version's) fails in bf16: add --precision float32.")


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


def keep_freed_memory() -> None:
    """Have the C library keep some freed memory for the next step, instead of giving it back to the kernel each time.

    Every page that comes back from the kernel is cleared first.
    Acts with glibc (Linux), and does nothing elsewhere.
    """
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        library.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def micro_batch_tokens(config, max_length: int, device: torch.device) -> int:
    """Tokens, padding included, that are trained on at a time: what a CPU's cache or a GPU's memory holds.

    On a GPU activations take `hidden_size` · (34 + 5 · heads · length / hidden_size) bytes a token and layer in 16 bits
    (Korthikanti et al. 2022, arXiv 2205.05198, equation 1), and twice that in float32, which is what is reckoned with.
    """
    if device.type != "cuda":
        return CPU_MICRO_BATCH_TOKENS
    a_layer = 2 * (34 * config.hidden_size + 5 * config.num_attention_heads * max_length)
    room = ACTIVATIONS_SHARE * torch.cuda.get_device_properties(device).total_memory
    return max(max_length, int(room / (a_layer * config.num_hidden_layers)))


def peak_memory(device: torch.device) -> dict[str, float]:
    """The most memory that this process has held so far, in GB (10^9 bytes): "host" (Linux) and, on a GPU, "gpu"."""
    found = {}
    status = Path("/proc/self/status")  # getrusage would also count the process that started this one
    if status.is_file():
        kilobytes = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        if kilobytes:
            found["host"] = 1024 * int(kilobytes[0]) / 1e9
    if device.type == "cuda":
        found["gpu"] = torch.cuda.max_memory_allocated(device) / 1e9
    return found


def precision_name(training_args) -> str:
    """What TrainingArguments compute in: "bf16", "fp16" or "float32"."""
    return BF16 if training_args.bf16 else "fp16" if training_args.fp16 else FLOAT32


def speed_up(device: torch.device) -> bool:
    """Set this process up to compute fast; whether float32 goes through oneDNN from now on."""
    keep_freed_memory()
    return use_exact_float32(device)


def settle_computing(training_args, asked_tokens: int | None, config, max_length: int) -> dict:
    """Set this process up to train fast; what the manifest says of it.

    Returns:
        "precision", "exact_float32_by_onednn" (whether float32 goes that way) and "micro_batch_tokens".
    """
    device = training_args.device
    refuse_bf16_model(config, precision_name(training_args))
    return {
        "precision": precision_name(training_args),
        "exact_float32_by_onednn": speed_up(device),
        "micro_batch_tokens": asked_tokens or micro_batch_tokens(config, max_length, device),
    }
