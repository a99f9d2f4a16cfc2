"""One optimizer step in float32: a processor against the card, budgets of tokens, checkpointing."""

from accept_inputs import Place, make_trainer
from acceptance import Finding, within

# A step of plain gradient descent at rate 1, so that the weights tell the gradient.
PLAIN = {"max_steps": 1, "optim": "sgd", "learning_rate": 1.0, "lr_scheduler_type": "constant", "max_grad_norm": 0.0}
PLAIN |= {"per_device_train_batch_size": 16, "train_sampling_strategy": "sequential", "n_rows": 16}
SMALL_BUDGET, LARGE_BUDGET = 200, 100_000
DEVICES_BOUND, BUDGETS_BOUND = 2e-5, 2e-6


def stepped(place: Place, name: str, **choices) -> dict:
    """The weights after the step, on the host."""
    trainer = make_trainer(place, f"step_{name}", **(PLAIN | {"micro_batch_tokens": LARGE_BUDGET} | choices))
    trainer.train()
    return {name: value.detach().cpu() for name, value in trainer.model.state_dict().items()}


def difference(one: dict, other: dict) -> float:
    """The largest difference of any weight."""
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def check_devices(place: Place) -> Finding:
    """The same gradient on both, without dropout."""
    one, other = (stepped(place, device, device=device, dropout=False) for device in ("cpu", place.device))
    return within({"largest difference": difference(one, other)}, DEVICES_BOUND)


def check_budgets(place: Place) -> Finding:
    """The same gradient whatever goes through the model at a time, without dropout."""
    budgets = (SMALL_BUDGET, LARGE_BUDGET)
    one, other = (stepped(place, f"budget_{n}", micro_batch_tokens=n, dropout=False) for n in budgets)
    return within({"largest difference": difference(one, other)}, BUDGETS_BOUND)


def check_checkpointing(place: Place) -> Finding:
    """The same gradient where activations are computed again, with dropout on a card.

    On a CPU the suite's own dropout stays out of checkpointing, and draws other masks.
    """
    dropout = place.device == "cuda"
    one = stepped(place, "kept", dropout=dropout)
    other = stepped(place, "computed_again", dropout=dropout, gradient_checkpointing=True)
    return within({"largest difference": difference(one, other)}, BUDGETS_BOUND)


CHECKS = {"devices": (check_devices, 1), "budgets": (check_budgets, 0), "checkpointing": (check_checkpointing, 0)}
