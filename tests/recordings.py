"""Recordings made by hand, and the files that analyze_cartography.py makes of one."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from datamap.dynamics import recordings
from datamap.files import manifests


def load(name, task):
    from datamap.data.examples import load_examples
    from datamap.data.sources import open_source

    return load_examples(open_source(name, task), "train", task)


def dynamics(n_examples, n_epochs, task="qa", seed=0):
    """Epochs of learnt, wavering and never learnt examples, float32 [n_examples] by measure.

    Where there are that many, example 3 was not seen in epoch 2, and example 7 in epoch 1 only.
    """
    generator = np.random.default_rng(seed)
    shapes = np.array([[8.0, 1.0], [1.0, 1.0], [1.0, 8.0]])[generator.choice(3, n_examples, p=(0.5, 0.3, 0.2))]
    epochs = []
    for number in range(1, n_epochs + 1):
        prob = generator.beta(shapes[:, 0], shapes[:, 1])
        epoch = {"gold_prob": prob, "correct": prob > 0.5, "margin": np.log(prob / (1 - prob)), "loss": -np.log(prob)}
        epoch["el2n"] = np.sqrt(2) * (1 - prob)
        if task == "qa":
            epoch |= {"start_prob": prob**0.3, "end_prob": prob**0.7, "span_f1": (1 + prob) / 2}
        unseen = [row for row in {1: (), 2: (3, 7)}.get(number, (7,)) if row < n_examples]
        epochs.append({name: np.array(values, dtype=np.float32) for name, values in epoch.items()})
        for values in epochs[-1].values():
            values[unseen] = np.nan
    return epochs


def record(directory, ids, epochs, *, dataset="demo", task="qa"):
    """A finished recording, with a manifest as run.py writes it."""
    counts = {name: np.arange(len(ids)) % 3 + extra for name, extra in (("n_windows", 2), ("n_gold_windows", 1))}
    hashes = {}
    for number, epoch in enumerate(epochs, start=1):
        path = recordings.epoch_path(directory, number)
        recordings.write_epoch(path, number, ids, epoch, counts)
        hashes[number] = manifests.file_hash(path)
    train = {"dataset": dataset, "split": "train", "n_rows": len(ids), "ids_sha256": manifests.ids_hash(ids)}
    fields = {"script": "run.py", "task": task, "seed": 42, "data": {"train": train}, "epoch_files": hashes}
    manifests.write_manifest(directory, fields)
    return directory


def read_table(directory, name="cartography_regions.csv"):
    return pd.read_csv(Path(directory) / name, dtype={"id": str, "group": str}, keep_default_na=False)


def read_samples(directory):
    return json.loads((Path(directory) / "category_samples.json").read_text(encoding="utf-8"))
