"""Exactly the budget's tokens at length 512: how much of the card's memory a step then takes."""

import torch

from accept_inputs import Place, make_model
from acceptance import Finding
from datamap.options.precision import BF16, FLOAT32
from datamap.training import memory
from inputs import SEED

LENGTH, STEPS, RESERVED_BOUND = 512, 3, 0.9
SHAPES = ("ELECTRA-small", "BERT-large", "DeBERTa-v3-large")


def reserved_share(shape: str, precision: str) -> tuple[float, int]:
    """(the most memory that PyTorch held, as a share of the card's; tokens) over some steps of Adam."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    model = make_model(shape, "cuda").train()
    n_tokens = budget_of(model, precision)
    n_rows = max(1, n_tokens // LENGTH)
    generator = torch.Generator("cuda").manual_seed(SEED)
    tokens = torch.randint(5, 1000, (n_rows, LENGTH), device="cuda", generator=generator)
    inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    inputs["attention_mask"][:, -1] = 0  # padding, so that attention has a mask to lay over
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    for _ in range(STEPS):
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == BF16):
            outputs = model(**inputs)
        (outputs.start_logits.float().logsumexp(1) + outputs.end_logits.float().logsumexp(1)).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_reserved() / torch.cuda.get_device_properties(0).total_memory, n_rows * LENGTH


def budget_of(model, precision: str) -> int:
    """The suite's budget for a model on this card."""
    return memory.micro_batch_tokens(model, LENGTH, torch.device("cuda"), in_16_bits=precision == BF16)


def check_shape(shape: str, precision: str):
    """The check of one model in one precision, as a function of a Place."""

    def check(place: Place) -> Finding:
        share, n_tokens = reserved_share(shape, precision)
        words = f"{n_tokens:,} tokens at a time take {share:.1%} of the memory (below {RESERVED_BOUND:.0%})"
        return Finding(share < RESERVED_BOUND, words, {"tokens": n_tokens, "share": share})

    return check


CHECKS = {f"{shape}, {p}": (check_shape(shape, p), 1) for shape in SHAPES for p in (BF16, FLOAT32)}
