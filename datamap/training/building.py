"""The trainer of a run: model, arguments, features and evaluation put together, and how it computes."""

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from transformers import PreTrainedConfig, PreTrainedModel, TrainerCallback, TrainingArguments, set_seed

from datamap import errors
from datamap.errors import UsageError
from datamap.features.windows import PadCollator
from datamap.training import refusals
from datamap.training.cpu_functions import can_stand_in
from datamap.training.devices import choose_attention, settle_computing
from datamap.training.memory import NO_ROOM, eval_batch_tokens, micro_batch_tokens, said_where_full
from datamap.training.objective import emphasis_of
from datamap.training.trainer import ExampleTrainer, NliTrainer, QaTrainer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from datamap.data.examples import Examples
    from datamap.features.windows import NliPairs, QaWindows


def build_trainer(
    options: argparse.Namespace,
    training_args: TrainingArguments,
    features: dict,
    evaluation: Any,
    *,
    trained_on: "Examples | None",
    config: PreTrainedConfig,
    tokenizer: "PreTrainedTokenizerFast",
    load: Callable[[], PreTrainedModel],
    max_length: int,
    make_recorder: Callable[[dict], object] = lambda computing: None,
    callbacks: Sequence[TrainerCallback] = (),
) -> tuple[ExampleTrainer, dict]:
    """Seed everything, load the model and put the trainer together.

    Args:
        features: QaWindows or NliPairs by purpose: "train", and "eval" or "predict" for what is looked at.
        evaluation: over the latter.
        trained_on: the rows that are trained on, None where none are.
        load: gives the model; called when the random numbers are seeded.
        max_length: of a window, in tokens.
        make_recorder: gives the CartographyCallback, or None; called with how to compute, once that is settled.

    Returns:
        The trainer, and what the manifest says of how it computes.

    Raises:
        UsageError: the Trainer refuses its arguments, or they do not fit to the rows.
    """
    set_seed(training_args.seed)
    computing = settle_computing(training_args, config)
    model = load()
    computing["attention"] = settle_attention(model, training_args)
    refusals.refuse_dropped_rows(training_args, features)
    device = training_args.device
    fit = {"max_length": max_length, "device": device, "in_16_bits": training_args.bf16 or training_args.fp16}
    computing["micro_batch_tokens"] = options.micro_batch_tokens or micro_batch_tokens(model, **fit)
    training_args.remove_unused_columns = False  # the items are ours and carry nothing unused
    looked_at: Any = features.get("eval", features.get("predict"))
    try:
        with said_where_full(NO_ROOM):
            trainer = (QaTrainer if options.task == "qa" else NliTrainer)(
                model=model,
                args=training_args,
                train_dataset=features.get("train"),
                eval_dataset=looked_at,
                processing_class=tokenizer,
                data_collator=PadCollator(tokenizer, for_gpu=device.type == "cuda"),
                callbacks=list(callbacks),
                evaluation=evaluation,
                recorder=make_recorder(computing),
                examples_per_row=examples_per_row(features.get("train", looked_at)),
                micro_batch_tokens=computing["micro_batch_tokens"],
                eval_batch_tokens=eval_batch_tokens(model, **fit),
                emphasis=emphasis_of(training_args, trained_on, features.get("train")),
            )
    except (ValueError, ImportError, OSError) as error:
        raise UsageError(f"the Trainer refuses its arguments: {errors.one_line(error)}.") from error
    return trainer, computing


def settle_attention(model: PreTrainedModel, training_args: TrainingArguments) -> str:
    """Give the model the attention that is fastest where our functions stand in for PyTorch's; its name."""
    if can_stand_in(training_args):
        choose_attention(model, training_args.device)
    return model.config._attn_implementation


def examples_per_row(features: "QaWindows | NliPairs") -> float:
    """Examples for each window or pair, which turns a speed in rows into one in examples."""
    return features.n_examples / len(features)
