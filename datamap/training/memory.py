"""Memory of a device: how many tokens fit at a time, the most that was held, and how a full one is told."""

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from datamap.errors import DataError
from datamap.options.defaults import CPU_MICRO_BATCH_TOKENS, CPU_PADDED_TOKENS
from datamap.training.packing import can_pack

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Bytes a parameter takes in training (weights, gradients and Adam's two moments in float32, weights in 16 bits), and in
# evaluation.
TRAINED_BYTES, EVALUATED_BYTES = 20, 6
# Bytes that a GPU's libraries take, and the share of the rest that is used.
LIBRARIES_BYTES, USED_SHARE = 1e9, 0.8
# Bytes of activations a token and layer, in 16 bits and in float32: times the hidden size; times the length, for the
# mask that fused attention keeps; times heads and length, for a model that keeps its attention's probabilities instead;
# and the same again for one that attends to relative positions as DeBERTa v2 and v3 do.
HIDDEN_BYTES = {True: 44, False: 66}
MASK_BYTES = {True: 2, False: 4}
ATTENTION_BYTES = {True: 7, False: 9}
POSITION_BYTES = {True: 6, False: 10}
# Layers whose activations an evaluation holds at a time, and tokens with which it keeps a GPU busy.
EVALUATED_LAYERS, EVAL_BATCH_TOKENS = 2, 65_536
USUAL_HEAD, USUAL_LAYERS = 64, 12
# What the libraries say when a device's memory is full, beside PyTorch's own type of error.
FULL_WORDS = (
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "No executable batch size found",
)
HOST_WORDS = "DefaultCPUAllocator"
# What helps where not even the model has room.
NO_ROOM = "the model has no room there, so end what else uses it (nvidia-smi shows it), or take a smaller model"
# Of glibc's mallopt (malloc.h), and how many bytes may lie free, and from which size on a block is always given back.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES, LARGE_BYTES = 2**29, 2**25


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device's memory is full.

    PyTorch has a type for it where its own allocator is refused; the driver (torch.AcceleratorError), cuBLAS, cuDNN,
    Apple's backend and Accelerate's search for a batch size say it in the text of a RuntimeError.
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in (*FULL_WORDS, HOST_WORDS))


@contextlib.contextmanager
def said_where_full(remedy: str) -> Iterator[None]:
    """Turn the error of a full memory within the block into one sentence.

    Args:
        remedy: what to do, such as "lower --micro_batch_tokens".

    Raises:
        DataError: a device's memory is full, the GPU's unless the error's text says otherwise.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        whose = "the" if isinstance(error, MemoryError) or HOST_WORDS in str(error) else "the GPU's"
        raise DataError(f"{whose} memory is full: {remedy}.") from error


def sizes_of(model: "PreTrainedModel") -> tuple[int, int, int]:
    """(hidden size, layers, attention heads) of a model; what its configuration does not name is taken as usual."""
    config = model.config
    hidden = getattr(config, "hidden_size", None) or model.get_input_embeddings().weight.shape[1]
    layers = getattr(config, "num_hidden_layers", None) or USUAL_LAYERS
    heads = getattr(config, "num_attention_heads", None) or max(1, hidden // USUAL_HEAD)
    return hidden, layers, heads


def total_memory(device: torch.device) -> float:
    """Bytes of a GPU's memory that a process may take."""
    if device.type == "mps":
        return torch.mps.recommended_max_memory()
    return torch.cuda.get_device_properties(device).total_memory


def tokens_that_fit(
    model: "PreTrainedModel", max_length: int, device: torch.device, *, in_16_bits: bool, trains: bool
) -> int:
    """Tokens, padding included, that a GPU's memory holds at a time beside the model; at least one row's.

    The bytes a token takes are counted over what autograd keeps of a layer (docs/gpu.md has the list): under autocast
    each linear layer keeps its own copy of its input in 16 bits.
    """
    hidden, layers, heads = sizes_of(model)
    a_layer = HIDDEN_BYTES[in_16_bits] * hidden
    if model.config._attn_implementation != "eager":
        a_layer += MASK_BYTES[in_16_bits] * max_length
    else:
        a_layer += ATTENTION_BYTES[in_16_bits] * heads * max_length
        if getattr(model.config, "pos_att_type", None):
            a_layer += POSITION_BYTES[in_16_bits] * heads * max_length
    held = (TRAINED_BYTES if trains else EVALUATED_BYTES) * sum(weights.numel() for weights in model.parameters())
    room = USED_SHARE * (total_memory(device) - held - LIBRARIES_BYTES)
    return max(max_length, int(room / (a_layer * (layers if trains else EVALUATED_LAYERS))))


def micro_batch_tokens(model: "PreTrainedModel", max_length: int, device: torch.device, *, in_16_bits: bool) -> int:
    """Tokens, padding included, that are trained on at a time: what suits a CPU or what a GPU's memory holds."""
    if device.type == "cpu":
        return CPU_MICRO_BATCH_TOKENS if can_pack(model) else CPU_PADDED_TOKENS
    return tokens_that_fit(model, max_length, device, in_16_bits=in_16_bits, trains=True)


def eval_batch_tokens(
    model: "PreTrainedModel", max_length: int, device: torch.device, *, in_16_bits: bool
) -> int | None:
    """Tokens, padding included, in a batch of an evaluation on a GPU; None on a CPU, which goes by rows."""
    if device.type == "cpu":
        return None
    return min(EVAL_BATCH_TOKENS, tokens_that_fit(model, max_length, device, in_16_bits=in_16_bits, trains=False))


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
