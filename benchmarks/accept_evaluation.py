"""Evaluation in float32: a processor against the card, small batches against large ones."""

import numpy as np

from accept_inputs import Place, make_trainer
from acceptance import Finding

SAME_SHARE = 0.999


def predicted(place: Place, name: str, trained: dict, **choices) -> tuple[list[str], float]:
    """(predictions, loss) of an evaluation with given weights."""
    trainer = make_trainer(place, f"evaluation_{name}", n_rows=place.some(1200, 48), **choices)
    trainer.model.load_state_dict(trained)
    loss = trainer.evaluate()["eval_loss"]
    return [row["predicted_answer"] for row in trainer.evaluation.predictions()], loss


def trained_weights(place: Place) -> dict:
    """Weights after some steps, so that predictions are not those of chance alone."""
    trainer = make_trainer(place, "evaluated", n_rows=place.some(256, 24), max_steps=place.some(60, 4))
    trainer.train()
    return {name: value.detach().cpu() for name, value in trainer.model.state_dict().items()}


def compared(one: tuple, other: tuple) -> Finding:
    """Right where nearly all predictions are the same."""
    same = float(np.mean([a == b for a, b in zip(one[0], other[0], strict=True)]))
    figures = {"same": same, "losses apart": abs(one[1] - other[1])}
    words = f"{same:.2%} of {len(one[0])} predictions the same (at least {SAME_SHARE:.1%}), "
    words += f"losses {figures['losses apart']:.1e} apart, {len(set(one[0]))} different predictions"
    return Finding(same >= SAME_SHARE, words, figures)


def check_devices(place: Place) -> Finding:
    """A processor against the card."""
    trained = trained_weights(place)
    return compared(*(predicted(place, device, trained, device=device) for device in ("cpu", place.device)))


def check_batches(place: Place) -> Finding:
    """Batches of 8 against batches of 64."""
    trained = trained_weights(place)
    sizes = (8, 64)
    return compared(*(predicted(place, f"by_{n}", trained, per_device_eval_batch_size=n) for n in sizes))


CHECKS = {"devices": (check_devices, 1), "batches": (check_batches, 0)}
