"""The end of a recording: its data map and its manifest."""

import argparse
import logging
from pathlib import Path

from datamap.dynamics import measures, recordings
from datamap.files import outputs, pictures
from datamap.files.manifests import made_from, rows_fields, run_fields

logger = logging.getLogger(__name__)


def close_recording(options: argparse.Namespace, trainer, data: dict, settings: dict) -> None:
    """Draw the data map of a finished recording and write its manifest.

    Args:
        trainer: with the recorder as it is after training.
        data: "train" and, where it is evaluated as well, "eval"; only the first is recorded.
    """
    from datamap.dynamics import plots

    recorder, train = trainer.recorder, {"train": data["train"]}
    confidence, variability = (recorder.metrics[name].to_numpy() for name in ("confidence", "variability"))
    metrics = recorder.metrics.assign(region=measures.assign_regions(confidence, variability))
    n_epochs = len(recorder.epochs)
    if len(metrics):
        model = Path(outputs.short_name(options.model)).name  # of a model of a hub without its owner
        title = f"{train['train'].title}, learnt by {model}"
        figure = plots.data_map(metrics, title=title, n_epochs=n_epochs, seed=trainer.args.seed)
        pictures.write_figure(recorder.directory / recordings.MAP, figure)
    fields = run_fields(options, trainer.args, train, settings)
    fields |= {"n_epochs": n_epochs, "n_tracked": len(metrics), "epoch_files": recorder.hashes}
    fields |= {"run_id": recorder.run_id, "identity": recorder.identity}
    frame = train["train"].frame
    fields |= rows_fields(frame[frame["id"].isin(set(metrics["id"]))])
    recordings.end_recording(recorder.directory, fields, made_from(options))
    logger.info("The recording is in %s.", recorder.directory)
