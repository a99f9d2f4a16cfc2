"""Memory of a device: the budget of tokens, what was held, and how a full memory is told from other errors."""

import types

import numpy as np
import pytest
import torch
from transformers import BertConfig, DebertaV2Config, ElectraConfig

from datamap.errors import DataError
from datamap.training import memory

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}


def of_size(config, n_parameters, attention="sdpa"):
    """As much of a model as a budget looks at."""
    config._attn_implementation = attention
    weights = types.SimpleNamespace(numel=lambda: n_parameters)
    return types.SimpleNamespace(config=config, parameters=lambda: [weights])


@pytest.fixture
def card(monkeypatch):
    """Set the memory of the only GPU, in bytes."""

    def of(n_bytes):
        found = types.SimpleNamespace(total_memory=n_bytes)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: found)

    return of


def test_a_gpus_budget_is_what_its_memory_holds_beside_the_model(card):
    card(24e9)
    model = of_size(BertConfig(**LARGE), 334_000_000)
    room = 0.8 * (24e9 - 20 * 334e6 - 1e9)
    for in_16_bits, per_hidden, per_length in ((True, 44, 2), (False, 66, 4)):
        expected = int(room / (24 * (per_hidden * 1024 + per_length * 512)))
        assert memory.micro_batch_tokens(model, 512, GPU, in_16_bits=in_16_bits) == expected > 512


def test_attention_by_plain_products_keeps_its_probabilities(card):
    card(80e9)
    model = of_size(DebertaV2Config(**LARGE, pos_att_type=["p2c", "c2p"]), 434_000_000, "eager")
    room = 0.8 * (80e9 - 20 * 434e6 - 1e9)
    for in_16_bits, per_hidden, per_square in ((True, 44, 7 + 6), (False, 66, 9 + 10)):
        expected = int(room / (24 * (per_hidden * 1024 + per_square * 16 * 512)))
        assert memory.micro_batch_tokens(model, 512, GPU, in_16_bits=in_16_bits) == expected > 512
    model.config.pos_att_type = []
    expected = int(room / (24 * (44 * 1024 + 7 * 16 * 512)))
    assert memory.micro_batch_tokens(model, 512, GPU, in_16_bits=True) == expected


def test_one_row_goes_through_however_small_the_memory(card):
    card(4e9)
    model = of_size(BertConfig(**LARGE), 334_000_000)
    assert memory.micro_batch_tokens(model, 384, GPU, in_16_bits=True) == 384


def test_a_cpus_budget_is_its_caches(card):
    assert memory.micro_batch_tokens(of_size(ElectraConfig(), 13_000_000), 512, CPU, in_16_bits=True) == 1024
    packed = of_size(ElectraConfig(), 13_000_000, "rows_end_to_end")
    assert memory.micro_batch_tokens(packed, 512, CPU, in_16_bits=True) == 3072
    assert memory.eval_batch_tokens(of_size(ElectraConfig(), 13_000_000), 512, CPU, in_16_bits=True) is None


def test_a_model_that_names_no_heads_has_a_budget(card):
    """FNet attends by Fourier transforms, and its configuration has no heads."""
    from transformers import FNetConfig

    card(8e9)
    config = FNetConfig()
    assert not hasattr(config, "num_attention_heads")
    assert memory.micro_batch_tokens(of_size(config, 80_000_000, "eager"), 512, GPU, in_16_bits=False) > 512


def test_an_evaluation_keeps_few_layers_and_has_an_upper_bound(card):
    model = of_size(BertConfig(**LARGE), 334_000_000)
    card(8e9)
    assert memory.micro_batch_tokens(model, 512, GPU, in_16_bits=True) == 512
    expected = int(0.8 * (8e9 - 6 * 334e6 - 1e9) / (2 * (44 * 1024 + 2 * 512)))
    assert memory.eval_batch_tokens(model, 512, GPU, in_16_bits=True) == expected > 512
    card(24e9)
    assert memory.eval_batch_tokens(model, 512, GPU, in_16_bits=True) == 65_536


def test_apples_gpu_has_a_budget_of_its_own_memory(monkeypatch):
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 16e9)
    found = memory.micro_batch_tokens(of_size(ElectraConfig(), 13_000_000), 512, torch.device("mps"), in_16_bits=False)
    assert found == int(0.8 * (16e9 - 20 * 13e6 - 1e9) / (12 * (66 * 256 + 4 * 512))) > 1024


FULL = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be reported asynchronously"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9.00 GB, other allocations: 1.00 GB)"),
    RuntimeError("No executable batch size found, reached zero."),
]
HOST_FULL = [
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"),
    MemoryError("Unable to allocate 8.00 TiB for an array"),
]
OTHERS = [
    torch.AcceleratorError("CUDA error: device-side assert triggered"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`"),
    ValueError("out of memory"),
]


@pytest.mark.parametrize("error", FULL + HOST_FULL, ids=lambda error: str(error)[:30])
def test_a_full_memory_is_told_by_type_and_text_and_said_in_a_sentence(error):
    with pytest.raises(DataError) as caught, memory.said_where_full("lower --max_length"):
        raise error
    whose = "the" if error in HOST_FULL else "the GPU's"
    assert str(caught.value) == f"{whose} memory is full: lower --max_length."
    assert caught.value.__cause__ is error


def kept_by_a_layer(config, length, rows):
    """Bytes that autograd keeps of a model with one layer, and with two, for so many rows."""
    from torch._subclasses.fake_tensor import FakeTensorMode
    from transformers import AutoModelForQuestionAnswering

    found = []
    for layers in (1, 2):
        config.num_hidden_layers = layers
        kept = {}
        with FakeTensorMode(), GPU:
            model = AutoModelForQuestionAnswering.from_config(config).train()
            ids = torch.zeros(rows, length, dtype=torch.long)

            def keep(tensor, kept=kept):
                kept[tensor.untyped_storage()._cdata] = tensor
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                model(input_ids=ids, attention_mask=torch.ones_like(ids))
        found.append(sum(tensor.untyped_storage().nbytes() for tensor in kept.values()))
    return found[1] - found[0]


@pytest.mark.parametrize("kind", [BertConfig, DebertaV2Config], ids=["plain products", "relative positions"])
def test_the_bytes_of_a_token_are_those_that_autograd_keeps(kind):
    """In float32, for attention by plain products, of the large models; weights cancel between three rows and two."""
    from transformers.models.deberta_v2 import modeling_deberta_v2

    if isinstance(modeling_deberta_v2.make_log_bucket_position, torch.jit.ScriptFunction):
        pytest.skip(
            "this version of Transformers compiles DeBERTa's positions, which tensors without contents cannot pass"
        )
    positions = {"relative_attention": True, "position_buckets": 256, "pos_att_type": ["p2c", "c2p"]}
    sizes = LARGE | {"intermediate_size": 4096, "vocab_size": 100, "attn_implementation": "eager"}
    config, length = kind(**sizes, **(positions if kind is DebertaV2Config else {})), 512
    counted = (kept_by_a_layer(config, length, 3) - kept_by_a_layer(config, length, 2)) / length
    squares = memory.ATTENTION_BYTES[False] + (memory.POSITION_BYTES[False] if kind is DebertaV2Config else 0)
    assert counted == pytest.approx(memory.HIDDEN_BYTES[False] * 1024 + squares * 16 * length, rel=0.03)


@pytest.mark.parametrize("error", OTHERS, ids=lambda error: str(error)[:30])
def test_another_error_stays_what_it_is(error):
    with pytest.raises(type(error)) as caught, memory.said_where_full("lower --max_length"):
        raise error
    assert caught.value is error


def test_peak_memory_counts_what_was_held():
    before = memory.peak_memory(CPU)["host"]
    block = np.ones(60_000_000)
    grown = memory.peak_memory(CPU)["host"] - before
    del block
    assert before > 0.1
    assert grown > 0.2 or before > 1.5  # an earlier test may have held more
