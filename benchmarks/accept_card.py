"""The card itself: what it is, and what its products and copies reach."""

import statistics
import subprocess
import time
from collections.abc import Callable

import torch

from accept_inputs import Place
from acceptance import Finding

SIDE, COPIED_BYTES, REPEATS = 8192, 2**32, 10


def seconds_of(call: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median seconds of a call on the card, after three that are not timed."""
    found = []
    for _ in range(3 + repeats):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        call()
        torch.cuda.synchronize()
        found.append(time.perf_counter() - begin)
    return statistics.median(found[3:])


def peak_operations() -> float:
    """Operations a second of a large product in bfloat16, on drawn numbers."""
    one, other = (torch.randn(SIDE, SIDE, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return 2 * SIDE**3 / seconds_of(lambda: one @ other)


def check_card(place: Place) -> Finding:
    """Name, driver, versions; right where the card computes in bfloat16."""
    properties = torch.cuda.get_device_properties(0)
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = subprocess.run(query, capture_output=True, text=True, check=False).stdout.split() or ["unknown"]
    values = torch.empty(COPIED_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(values)
    figures = {
        "cards": place.n_cards,
        "gigabytes": properties.total_memory / 1e9,
        "capability": properties.major + properties.minor / 10,
        "bf16_teraflops": peak_operations() / 1e12,
        "copied_gigabytes_per_second": 2 * COPIED_BYTES / seconds_of(lambda: target.copy_(values)) / 1e9,
    }
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    words = (
        f"{properties.name}, driver {driver[0]}, CUDA {torch.version.cuda}, bf16 {'native' if native else 'missing'}"
    )
    listed = ", ".join(f"{name} {value:,.1f}" for name, value in figures.items())
    return Finding(native, f"{words}, {listed}", figures)


CHECKS = {"card": (check_card, 1)}
