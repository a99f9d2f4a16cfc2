"""What run.py refuses once it knows the data: arguments that do not fit to them, rows that are not as they should be.

Only the standard library is imported at the top, so that `--help` answers at once.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datamap.errors import DataError, UsageError, shortlist
from datamap.files import manifests, outputs

if TYPE_CHECKING:
    from transformers import TrainingArguments


def refuse_trained_rows(options: argparse.Namespace, data: dict) -> None:
    """UsageError when rows are held out for evaluation alone, but --model was trained with others held out."""
    if "train" in data or "eval" not in data or data["eval"].held_out is None:
        return
    evaluated = data["eval"]
    trained = manifests.trained_part(options.model, evaluated.name)
    if trained and trained["held_out"] != evaluated.held_out:
        raise UsageError(
            f"--validation_fraction {options.validation_fraction}: --model {options.model} was trained on "
            f"{evaluated.name} with {trained['held_out'] or 'nothing'} held out, so it has seen these rows."
        )
    before, now = trained.get("groups_sha256"), evaluated.grouping.sha256 if evaluated.grouping is not None else None
    if trained and before != now:
        how, remedy = "without --groups", "leave it out"
        if before is not None:
            file = manifests.read_manifest(options.model)["arguments"]["groups"]
            how, remedy = f"with --groups {file} as it was then", "give that file"
        raise UsageError(
            f"--model {options.model} was trained on {evaluated.name} {how}, so it has seen some of the rows that this "
            f"run would hold out: {remedy}."
        )


def refuse_dropped_rows(training_args: "TrainingArguments", features: dict) -> None:
    """UsageError when --dataloader_drop_last drops every row."""
    n_rows = training_args.train_batch_size * training_args.world_size
    if "train" in features and training_args.dataloader_drop_last and len(features["train"]) < n_rows:
        raise UsageError(
            f"--dataloader_drop_last drops all of the {len(features['train'])} rows, which do not fill a batch of "
            f"{n_rows}: leave it out or lower --per_device_train_batch_size."
        )


def refuse_unknown_figure(training_args: "TrainingArguments", evaluation: Any) -> None:
    """UsageError when the best model is to be chosen by a figure that the evaluation does not give."""
    asked = training_args.metric_for_best_model
    if asked is None or evaluation is None or not evaluation.labelled:
        return
    if asked.removeprefix("eval_") not in evaluation.selectable():
        listed = shortlist((f"eval_{name}" for name in sorted(evaluation.selectable())), most=12)
        raise UsageError(f"--metric_for_best_model {asked} is not a figure of the evaluation; choose one of {listed}.")


def refuse_problems(options: argparse.Namespace, directory: Path, problems: dict) -> None:
    """Stop here, with the problems in their files, if the data are to be strict.

    Raises:
        DataError: `--strict_data` and there is a problem.
    """
    listed = {purpose: frame for purpose, frame in problems.items() if len(frame)}
    if not options.strict_data or not listed:
        return
    paths = {purpose: directory / outputs.PROBLEM_FILES[purpose] for purpose in listed}
    for purpose, path in paths.items():
        if outputs.is_first_process():
            outputs.write_csv(path, listed[purpose])
    raise DataError(
        f"--strict_data: the data have {sum(map(len, listed.values()))} problems, listed in "
        f"{' and '.join(map(str, paths.values()))}; mend them or leave the flag out."
    )
