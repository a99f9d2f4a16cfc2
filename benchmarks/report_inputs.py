"""A made-up analysis of the demo questions in any number: what report.html is measured, tested and pictured with.

The texts are the demo's; metrics, clusters and predictions are drawn with a seed, so nothing is trained.
"""

import numpy as np
import pandas as pd

from datamap.data.examples import Examples
from datamap.dynamics.measures import assign_regions, over_epochs
from datamap.joint.join import text_columns
from datamap.joint.patterns import interesting_patterns

SEED, N_EPOCHS, N_UNTRACKED = 42, 5, 4
WORDS = (
    "dose, daily, tablet", "age, old, patient", "date, admitted, ward", "allergy, known, penicillin",
    "pain, scale, left",    "scan, bone, left", "smoking, pack, years", "wound, day, dressing",
)  # fmt: skip
# Beta distributions of the gold probability of learnt, wavering and never learnt examples.
SHAPES = np.array([[9.0, 1.2], [1.1, 1.1], [1.0, 9.0]])


def questions(n_rows: int) -> pd.DataFrame:
    """A canonical frame of demo questions; beyond the demo's own rows its notes come again under other numbers."""
    from datamap.data.examples import load_examples
    from datamap.data.sources import open_source

    frame = load_examples(open_source("demo:noisy", "qa"), "train", "qa").frame
    copies = []
    for number in range(-(-n_rows // len(frame))):
        copy = frame.assign(id=frame["id"] + (f"-copy{number}" if number else ""))
        if number:
            opening = f"Note {number}. "
            copy["context"] = opening + frame["context"]
            copy["answers"] = [
                {"text": answer["text"], "answer_start": [start + len(opening) for start in answer["answer_start"]]}
                for answer in frame["answers"]
            ]
        copies.append(copy)
    return pd.concat(copies, ignore_index=True).iloc[:n_rows]


def analysed(texts: pd.DataFrame, seed: int = SEED) -> tuple[pd.DataFrame, np.ndarray, dict]:
    """(unified frame, gold probabilities [n_epochs, n_rows], patterns) made up for a canonical QA frame."""
    generator = np.random.default_rng(seed)
    n_rows = len(texts)
    frame = text_columns(Examples(texts, pd.DataFrame(), "demo:noisy", "train"))
    cluster = generator.integers(-2, len(WORDS), n_rows).clip(-1)
    shares = np.where((cluster == 2)[:, None], (0.2, 0.3, 0.5), (0.6, 0.28, 0.12))
    kind = (generator.random(n_rows)[:, None] > np.cumsum(shares, axis=1)).sum(axis=1).clip(max=2)
    growth = np.linspace(0.45, 1, N_EPOCHS)[:, None] ** 0.4
    probs = (generator.beta(*SHAPES[kind].T, (N_EPOCHS, n_rows)) * np.where(kind == 0, growth, 1)).clip(1e-4, 1 - 1e-4)
    metrics = dynamics_of(probs)
    metrics[: min(N_UNTRACKED, n_rows - 1)] = None
    probs[:, metrics["confidence"].isna()] = np.nan
    frame = pd.concat([frame, metrics], axis=1)
    frame["untracked_reason"] = np.where(metrics["region"].isna(), "no window holds the whole answer", None)
    angle = cluster * 2 * np.pi / len(WORDS)
    centres = np.where(cluster == -1, 0, np.array([np.cos(angle), np.sin(angle)]) * 6)
    spread = np.where(cluster == -1, 3.5, 0.9)
    frame["cluster"], frame["words"] = cluster, [WORDS[number] if number >= 0 else "" for number in cluster]
    frame["cluster_probability"] = np.where(cluster == -1, 0, generator.random(n_rows))
    frame["x"], frame["y"] = centres + generator.normal(size=(2, n_rows)) * spread
    frame["predicted_answer"] = np.where(kind == 2, "something else", frame["answer"])
    frame["f1"] = np.where(kind == 2, 0.0, 1.0)
    return frame, probs, interesting_patterns(frame, seed)


def measures_of(probs: np.ndarray) -> dict[str, np.ndarray]:
    """What a recording would say of gold probabilities, float32 of their shape by measure."""
    found = {"gold_prob": probs, "start_prob": probs**0.4, "end_prob": probs**0.6, "correct": probs > 0.5}
    found |= {"span_f1": (1 + probs) / 2, "margin": np.log(probs / (1 - probs)), "loss": -np.log(probs)}
    return {name: np.asarray(values, dtype=np.float32) for name, values in found.items()}


def dynamics_of(probs: np.ndarray) -> pd.DataFrame:
    """Region and metrics for gold probabilities [n_epochs, n_rows]."""
    metrics = over_epochs(measures_of(probs))
    metrics.insert(0, "region", assign_regions(metrics["confidence"].to_numpy(), metrics["variability"].to_numpy()))
    types = {name: "Int64" for name in ("forgetting_events", "num_epochs")} | {"never_learnt": "boolean"}
    return metrics.astype(types)
