"""The end of a run, a recording, an evaluation: the data map, and the manifests that close them."""

import argparse
import logging
from pathlib import Path

import dynamics
import outputs
import recordings

logger = logging.getLogger(__name__)


def described(part) -> dict:
    """What a manifest says of the examples of one purpose."""
    return {
        "dataset": part.name,
        "split": part.split,
        "columns": part.columns,
        "held_out": part.held_out,
        "n_rows": len(part.frame),
        "ids_sha256": outputs.ids_hash(part.frame["id"]),
    }


def rows_fields(frame) -> dict:
    """What a manifest says of the rows that its directory has numbers for: hashes of their ids and of their texts."""
    return {"ids_sha256": outputs.ids_hash(frame["id"]), "texts_sha256": outputs.texts_hash(frame)}


def run_fields(options: argparse.Namespace, training_args, data: dict, settings: dict) -> dict:
    """What every manifest of run.py says."""
    return {
        "script": "run.py",
        "task": options.task,
        "model": options.model,
        "ablations": options.ablations,
        "seed": training_args.seed,
        "data": {purpose: described(part) for purpose, part in data.items()},
        "settings": settings,
        "arguments": vars(options),
        "training_arguments": training_args.to_dict(),
    }


def made_from(options: argparse.Namespace) -> list[Path]:
    """The directories with a manifest that a run read."""
    model = Path(options.model).expanduser()
    return [model] if model.is_dir() else []


def close_run(options: argparse.Namespace, training_args, data: dict, settings: dict) -> None:
    """Write the manifest of --output_dir."""
    fields = run_fields(options, training_args, data, settings)
    outputs.write_manifest(Path(training_args.output_dir), fields, made_from(options))


def close_evaluation(options: argparse.Namespace, training_args, data: dict, settings: dict, kind, of: dict) -> None:
    """Write the manifest of an evaluation or of predictions.

    Args:
        kind: an evaluations.Kind.
        of: the evaluations.identity of model, rows and ablation.
    """
    used = {purpose: part for purpose, part in data.items() if purpose != "train"}
    fields = run_fields(options, training_args, used, settings) | {"identity": of}
    fields["evaluated_model"] = training_args.output_dir if training_args.do_train else options.model
    outputs.write_manifest(Path(training_args.output_dir), fields, made_from(options), kind.manifest)


def close_recording(options: argparse.Namespace, trainer, data: dict, settings: dict) -> None:
    """Draw the data map of a finished recording and write its manifest.

    Args:
        trainer: with the recorder as it is after training.
        data: "train" and, where it is evaluated as well, "eval"; only the first is recorded.
    """
    import plots

    recorder, train = trainer.recorder, {"train": data["train"]}
    confidence, variability = (recorder.metrics[name].to_numpy() for name in ("confidence", "variability"))
    metrics = recorder.metrics.assign(region=dynamics.assign_regions(confidence, variability))
    n_epochs = len(recorder.epochs)
    if len(metrics):
        model = Path(outputs.short_name(options.model)).name  # of a model of a hub without its owner
        title = f"{train['train'].title}, learnt by {model}"
        figure = plots.data_map(metrics, title=title, n_epochs=n_epochs, seed=trainer.args.seed)
        outputs.write_figure(recorder.directory / recordings.MAP, figure)
    fields = run_fields(options, trainer.args, train, settings)
    fields |= {"n_epochs": n_epochs, "n_tracked": len(metrics), "epoch_files": recorder.hashes}
    fields |= {"run_id": recorder.run_id, "identity": recorder.identity}
    frame = train["train"].frame
    fields |= rows_fields(frame[frame["id"].isin(set(metrics["id"]))])
    recordings.end_recording(recorder.directory, fields, made_from(options))
    logger.info("The recording is in %s.", recorder.directory)
