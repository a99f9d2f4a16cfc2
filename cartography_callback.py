"""Recording of training dynamics: every window's numbers from the very forward pass that trains it.

Dataset cartography (Swayamdipta et al. 2020, arXiv 2009.10795). As in the paper, dropout is on and the numbers are
those before the step's update; there is no second pass. Recording reads the outputs and draws no random number, so
losses and weights are the same with it and without it.
"""

import logging
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate.utils import gather
from transformers import TrainerCallback

from datamap.dynamics import closing, recordings
from datamap.dynamics.measures import fold_windows
from datamap.dynamics.recordings import RunningEpoch
from datamap.errors import DataError
from datamap.evaluation.gold_measures import NLI_WINDOW_MEASURES, QA_WINDOW_MEASURES, nli_measures, qa_measures
from datamap.files import manifests

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments
    from transformers.utils import ModelOutput

    from datamap.features.windows import NliPairs, QaWindows

logger = logging.getLogger(__name__)

FILES_OF_ROWS = {"example weights": "--example_weights", "example smoothing": "--example_smoothing"}
# What may be another in a run that is resumed: gradients are the same, the draws of dropout fall elsewhere.
MAY_CHANGE = {"--micro_batch_tokens", "attention"}
NEVER = torch.iinfo(torch.int32).max


class CartographyCallback(TrainerCallback):
    """Records the dynamics of a training set, epoch by epoch, and writes them.

    The numbers stay on the device in arrays indexed by window and come to the host once an epoch (and for checkpoints).
    A window that comes twice in an epoch, because the sampler fills the last batch, counts once, with its first time.
    Every process records its own share; the first one writes.
    """

    def __init__(
        self, directory: Path, ids: Sequence[str], features: "QaWindows | NliPairs", *, task: str, identity: dict
    ):
        """
        Args:
            directory: where the recording is written.
            ids: of the training examples, in the order of `features`.
            features: QaWindows or NliPairs that are trained on.
            task: "qa" or "nli".
            identity: what the run's numbers depend on, by name; resuming demands the same.
        """
        self.directory, self.ids, self.features = Path(directory), list(ids), features
        qa = task == "qa"
        self.measures: tuple[str, ...] = QA_WINDOW_MEASURES if qa else NLI_WINDOW_MEASURES
        self.measure = qa_measures if qa else nli_measures
        hashed = {"examples": manifests.ids_hash(self.ids), "features": features.fingerprint()}
        self.identity = {"task": task, "n_examples": len(self.ids)} | hashed | identity
        self.counts = {
            "n_windows": np.bincount(features.example, minlength=len(self.ids)),
            "n_gold_windows": np.bincount(features.example[features.has_gold], minlength=len(self.ids)),
        }
        self.checkpoint: Path | None = None
        self.run_id, self.has_begun = uuid.uuid4().hex, False

    def resume_from(self, checkpoint: str | Path) -> None:
        """Go on with the recording in a checkpoint; everything is checked here and read when training begins.

        Raises:
            DataError: the checkpoint has no recording or that of another run, or the files of its earlier epochs are
                missing or not the ones that it went on from, or the directory holds the recording of another run.
        """
        running = recordings.read_state(Path(checkpoint))
        for name in self.identity | running.identity:
            before, now = running.identity.get(name), self.identity.get(name)
            if before != now and name in MAY_CHANGE:
                was = f"another {name}" if before is None else f"{name} {before}"
                words = "The recording in %s was made with %s; from here on it is %s, so dropout draws other values."
                logger.warning(words, checkpoint, was, now)
            elif before != now:
                raise DataError(f"--resume_from_checkpoint {checkpoint}: {difference(name, before, now)}")
        if len(running.values) != len(self.measures):
            raise DataError(
                f"--resume_from_checkpoint {checkpoint}: its recording has {len(running.values)} measures of a window, "
                f"and this version of the suite records {len(self.measures)}: start again."
            )
        recordings.refuse_foreign_epochs(self.directory, running.run_id)
        for number, digest in running.finished.items():
            path = recordings.epoch_path(self.directory, number)
            if not path.is_file():
                raise DataError(
                    f"{path} is missing, the recording of an epoch before {checkpoint}: put it back, name the right "
                    "--cartography_output_dir, or start again."
                )
            if manifests.file_hash(path) != digest:
                raise DataError(
                    f"{path} is not the file that {checkpoint} went on from, and epochs of two runs do not mix: put "
                    "it back, resume from another checkpoint, or start again."
                )
        self.checkpoint = Path(checkpoint)

    def on_train_begin(
        self, args: "TrainingArguments", state: "TrainerState", control: "TrainerControl", **kwargs: Any
    ) -> None:
        """Allocate the arrays; take up the checkpoint's recording or start a new one.

        Raises:
            DataError: the directory cannot be written to, or a resumed run begins again with smaller batches.
        """
        if self.checkpoint is not None and self.has_begun:
            raise DataError(
                "memory ran out after resuming, and with smaller batches the epochs would no longer be those of the "
                "checkpoint: start again with a lower --per_device_train_batch_size."
            )
        self.has_begun = True
        n_columns = len(self.features) + 1  # the last column takes what does not count
        self.values = torch.zeros(len(self.measures), n_columns, device=args.device)
        self.seen_at = torch.full((n_columns,), NEVER, dtype=torch.int32, device=args.device)
        self.clock, self.number, self.is_written = 0, 0, True
        self.epochs: dict[int, dict[str, np.ndarray]] = {}
        self.hashes: dict[int, str] = {}
        if self.checkpoint is not None:
            self.restore(recordings.read_state(self.checkpoint))
        if state.is_world_process_zero:
            recordings.begin_recording(self.directory, self.run_id)
            recordings.clear_recording(self.directory, from_epoch=self.number or 1)

    def restore(self, running: RunningEpoch) -> None:
        """Take up a running epoch, and the earlier ones from their files."""
        self.values[:, :-1] = torch.from_numpy(running.values)
        self.seen_at[:-1] = torch.from_numpy(running.seen_at)
        seen = running.seen_at[running.seen_at != NEVER]
        self.clock = int(seen.max()) + 1 if len(seen) else 0
        self.run_id, self.number, self.is_written = running.run_id, running.number, False
        self.hashes = dict(running.finished)
        for number in running.finished:
            frame = recordings.read_epoch(recordings.epoch_path(self.directory, number))
            self.epochs[number] = recordings.align_epoch(frame, self.ids)

    def on_epoch_begin(
        self, args: "TrainingArguments", state: "TrainerState", control: "TrainerControl", **kwargs: Any
    ) -> None:
        """Begin an epoch, unless it is the one that a checkpoint was in the middle of."""
        number = int(state.epoch or 0) + 1
        if number == self.number or state.global_step >= state.max_steps or control.should_training_stop:
            return
        self.finish_epoch(state)
        self.seen_at.fill_(NEVER)
        self.clock, self.number, self.is_written = 0, number, False

    @torch.no_grad()
    def record(self, outputs: "ModelOutput", inputs: dict[str, torch.Tensor], losses: torch.Tensor) -> None:
        """Keep the numbers of a training batch; nothing here waits for the device."""
        rows = inputs["row"]
        again = (rows[:, None] == rows).tril(-1).any(1) | (self.seen_at[rows] != NEVER)
        columns = rows.masked_fill(again, len(self.features))
        self.values[:, columns] = self.measure(outputs, inputs, losses)
        self.seen_at.index_fill_(0, columns, self.clock)  # an assignment would copy the number from the host
        self.clock += 1

    def gathered(self) -> tuple[np.ndarray, np.ndarray]:
        """The running epoch of all processes on the host: values [n_measures, n_windows] and seen_at [n_windows]."""
        values, seen_at = gather(self.values[None].contiguous()), gather(self.seen_at[None].contiguous())
        first = seen_at.argmin(0)
        values = values.gather(0, first.expand(1, len(self.measures), -1))[0]
        return values[:, :-1].cpu().numpy(), seen_at.amin(0)[:-1].cpu().numpy()

    def finish_epoch(self, state: "TrainerState") -> None:
        """Fold the running epoch into examples and write its file, unless that has been done.

        Raises:
            DataError: the model's outputs are not numbers, or the file cannot be written.
        """
        if self.is_written:
            return
        self.is_written = True
        values, seen_at = self.gathered()
        if not state.is_world_process_zero:
            return
        seen = seen_at != NEVER
        if np.isnan(values[:, seen]).any():
            raise DataError(
                f"the model's outputs in epoch {self.number} are not numbers (NaN): train with a lower --learning_rate."
            )
        windows = dict(zip(self.measures, values, strict=True))
        shape = self.features.example, self.features.has_gold, len(self.ids)
        self.epochs[self.number] = fold_windows(windows, seen, *shape)
        path = recordings.epoch_path(self.directory, self.number)
        recordings.write_epoch(path, self.number, self.ids, self.epochs[self.number], self.counts)
        self.hashes[self.number] = manifests.file_hash(path)

    def on_epoch_end(
        self, args: "TrainingArguments", state: "TrainerState", control: "TrainerControl", **kwargs: Any
    ) -> None:
        """Write the epoch's file."""
        self.finish_epoch(state)

    def save(self, checkpoint: Path, state: "TrainerState") -> None:
        """Put the running epoch into a checkpoint's directory."""
        values, seen_at = self.gathered()
        if state.is_world_process_zero:
            finished = {number: digest for number, digest in self.hashes.items() if number < self.number}
            running = RunningEpoch(self.run_id, self.identity, self.number, finished, values, seen_at)
            recordings.write_state(checkpoint, running)

    def on_train_end(
        self, args: "TrainingArguments", state: "TrainerState", control: "TrainerControl", **kwargs: Any
    ) -> None:
        """Write the last epoch, the metrics over all epochs and the examples without them."""
        self.finish_epoch(state)
        if state.is_world_process_zero:
            why = self.features.without_gold_window()
            metrics = closing.write_tables(self.directory, self.ids, self.epochs, self.counts, why)
            self.recorded = closing.Recorded(self.directory, self.run_id, self.identity, self.hashes, metrics)


def difference(name: str, before: Any, now: Any) -> str:
    """One sentence for what a checkpoint's recording and this run do not share."""
    if name == "examples":
        return "its recording is of other examples (their ids differ): resume with the same data set and sample."
    if name == "features":
        return (
            "its recording is of other texts, labels or windows: resume with the same data, --max_length, "
            "--doc_stride, --ablations and tokenizer."
        )
    if name in FILES_OF_ROWS:
        flag = FILES_OF_ROWS[name]
        remedy = f"without {flag}" if before is None else f"with the file of {flag} that it had"
        return f"its recording is of other {name}: resume {remedy}."
    return f"its recording was made with {name} {before}, and this run has {name} {now}: resume with the same."
