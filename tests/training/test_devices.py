"""What a device does well: the precision that is chosen, the float32 path."""

import numpy as np
import pytest
import torch

from datamap.errors import UsageError
from datamap.options import precision as options_precision
from datamap.training import devices

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("able", "expected"),
    [({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({"avx2": True, "avx512_bf16": False}, "float32")],
)
def test_auto_takes_bf16_where_the_processor_multiplies_in_it(monkeypatch, able, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    precision, why = options_precision.settle_precision("auto", CPU)
    assert precision == expected
    assert ("does not" in why) is (expected == "float32")
    assert options_precision.settle_precision("float32", CPU)[0] == "float32"
    assert options_precision.settle_precision("bf16", CPU)[0] == "bf16"


@pytest.mark.parametrize(("is_native", "expected"), [(True, "bf16"), (False, "float32")])
def test_auto_on_a_gpu_and_bf16_where_it_is_not(monkeypatch, is_native, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: is_native)
    assert options_precision.settle_precision("auto", GPU)[0] == expected
    if not is_native:
        with pytest.raises(UsageError, match="float32"):
            options_precision.settle_precision("bf16", GPU)


def product_error() -> float:
    generator = torch.Generator().manual_seed(7)
    one, other = (torch.randn(300, 900, generator=generator), torch.randn(900, 200, generator=generator))
    exact = one.double().numpy() @ other.double().numpy()
    return float(np.abs((one @ other).numpy() - exact).max() / np.abs(exact).max())


@pytest.fixture
def stock_float32():
    """The setting of float32 products, put back afterwards."""
    settings = torch.backends.mkldnn.matmul
    before, settings.fp32_precision = settings.fp32_precision, "ieee"
    yield settings
    settings.fp32_precision = before


def test_float32_stays_float32_whatever_path_it_takes(stock_float32):
    assert product_error() < 1e-6
    devices.use_exact_float32(CPU)
    assert product_error() < 1e-6


def test_a_path_that_is_not_exact_is_not_taken(stock_float32, monkeypatch):
    monkeypatch.setattr(devices, "EXACT_ERROR", 0.0)
    assert devices.use_exact_float32(CPU) is False
    assert stock_float32.fp32_precision == "ieee"


def test_nothing_is_set_for_a_gpu(stock_float32):
    assert devices.use_exact_float32(GPU) is False
    assert stock_float32.fp32_precision == "ieee"
