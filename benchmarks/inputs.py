"""The questions and the model that items are measured on."""

import helpers
from datamap.data.examples import load_examples, sample_rows
from datamap.data.sources import open_source

SEED = 42
MAX_LENGTH, DOC_STRIDE = 384, 128


def questions(dataset: str, n_rows: int | None = None):
    """The training split of a data set as a canonical frame, or `n_rows` of its rows, drawn with the seed."""
    examples = load_examples(open_source(dataset, "qa"), "train", "qa").trainable()
    return sample_rows(examples, n_rows, SEED).frame


def demo_tokenizer():
    """The tokenizer of --model demo."""
    return helpers.load_tokenizer(helpers.model_path("demo"))


def demo_config():
    """The configuration of --model demo."""
    return helpers.load_config(helpers.model_path("demo"))
