"""The Trainer of the suite: a loss for every row, padding masked, evaluation that no order of work changes."""

import contextlib
import itertools
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import send_to_device
from tqdm import tqdm
from transformers import EarlyStoppingCallback, ProgressCallback, Trainer, TrainerCallback
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_pt_utils import LengthGroupedSampler

from datamap.evaluation.spans import span_logits
from datamap.features.batches import LengthBatches, end_to_end, micro_batches
from datamap.features.windows import MODEL_INPUTS
from datamap.training.cpu_functions import CpuFunctions, can_stand_in
from datamap.training.devices import copy_without_waiting
from datamap.training.memory import said_where_full
from datamap.training.objective import PLAIN, Emphasis, mean_surprise, tokens_that_may_be_right
from datamap.training.packing import can_pack, forward_packed

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments
    from transformers.utils import ModelOutput

logger = logging.getLogger(__name__)

EVAL_REMEDY = "lower --per_device_eval_batch_size or --max_length"
QUIET = {"eval_runtime", "eval_samples_per_second", "eval_steps_per_second", "eval_model_preparation_time", "epoch"}


class ExampleTrainer(Trainer):
    """Trainer whose loss is computed row by row and whose evaluation is placed by row number.

    The loss of an optimizer step is the mean over all rows of the step, over micro-batches and processes alike, so that
    gradient accumulation and a token budget only change the order of work. Subclasses say what a row's loss is; what
    rows count for (Emphasis) changes what is minimised, neither what is recorded nor an evaluation.
    """

    head_sees_firsts = False  # whether the model's head looks at each row's first token alone

    def __init__(
        self,
        *,
        micro_batch_tokens: int,
        eval_batch_tokens: int | None = None,
        evaluation: Any = None,
        recorder: Any = None,
        examples_per_row: float = 1.0,
        emphasis: Emphasis = PLAIN,
        **kwargs: Any,
    ):
        """
        Args:
            micro_batch_tokens: padding included, that go through the model at a time in training.
            eval_batch_tokens: padding included, in a batch of an evaluation, whose rows then come by length, at most
                as many as --per_device_eval_batch_size says; None for batches of just that many rows.
            evaluation: Qa- or NliEvaluation (or -Prediction) over `eval_dataset`.
            recorder: CartographyCallback that sees every training batch.
            examples_per_row: scales the speed that is shown.
            emphasis: of the rows of `train_dataset`.
        """
        copy_without_waiting(kwargs["args"])
        super().__init__(**kwargs)
        self.micro_batch_tokens, self.eval_batch_tokens = micro_batch_tokens, eval_batch_tokens
        self.evaluation, self.recorder, self.emphasis = evaluation, recorder, emphasis
        alone = self.args.world_size == 1
        self.functions = CpuFunctions(sums_gradients=alone) if can_stand_in(self.args) else contextlib.nullcontext()
        if recorder is not None:
            self.add_callback(recorder)
        self.model_accepts_loss_kwargs = True  # the step's row count reaches compute_loss, which divides by it
        self.remove_callback(PrinterCallback)
        with_bar = self.pop_callback(ProgressCallback) is not None
        self.add_callback((ProgressBar if with_bar else ProgressLine)(examples_per_row))

    def row_losses(self, outputs: "ModelOutput", inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Loss of every row, float32 [batch]."""
        raise NotImplementedError

    def spread_losses(self, outputs: "ModelOutput", inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """What a row's loss is on average over all labels that may be right, float32 [batch]; for label smoothing."""
        raise NotImplementedError

    def forward(self, model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> "ModelOutput":
        """The model's outputs for a batch; what is not a model input (labels, row numbers) stays outside."""
        given = {key: inputs[key] for key in MODEL_INPUTS if key in inputs}
        if can_pack(self.model):
            return forward_packed(self.model, given, called=model, firsts_alone=self.head_sees_firsts)
        return model(**given)

    def get_batch_samples(
        self, epoch_iterator: Any, num_batches: int, device: torch.device
    ) -> tuple[list[dict], torch.Tensor | int]:
        """The micro-batches of one optimizer step and the number of their rows on all processes.

        One process knows it without asking its device.
        """
        batches = list(itertools.islice(epoch_iterator, num_batches))
        n_rows = sum(len(batch["input_ids"]) for batch in batches)
        if self.args.world_size > 1:
            n_rows = self.accelerator.gather(torch.tensor(n_rows, device=device)).sum()
        return batches, n_rows

    def training_step(
        self, model: torch.nn.Module, inputs: dict, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """As in Trainer, in micro-batches of like lengths; processes share their gradients with the last one.

        The outer autocast keeps the weights that the first micro-batch has cast for the others.
        """
        cut = end_to_end if can_pack(self.model) else micro_batches
        *parts, last = cut(inputs, self.micro_batch_tokens)
        step = super().training_step
        with self.functions, self.accelerator.autocast():
            with self.accelerator.no_sync(model):
                losses = [step(model, part, num_items_in_batch) for part in parts]
            return sum(losses, start=step(model, last, num_items_in_batch))

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Sum of the row losses, smoothed and weighed, over the rows of the optimizer step (on all processes)."""
        outputs = self.forward(model, inputs)
        losses = self.row_losses(outputs, inputs)
        if self.recorder is not None:
            self.recorder.record(outputs, inputs, losses)
        losses = self.emphasis.of_losses(losses, inputs["row"], lambda: self.spread_losses(outputs, inputs))
        if num_items_in_batch is None:
            loss = losses.mean()
        else:
            loss = losses.sum() * self.accelerator.num_processes / num_items_in_batch
        return (loss, outputs) if return_outputs else loss

    def _run_epoch(self, **kwargs: Any) -> None:
        """As in Trainer, but a run that is resumed from its last step does not take one more."""
        if self.control.should_training_stop or self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        super()._run_epoch(**kwargs)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """As in Trainer, with the recording.

        The recording is written before everything else, not in `on_save`, because trainer_state.json marks a checkpoint
        as whole, and older checkpoints are removed, before `on_save` is called.
        """
        checkpoint = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"
        if self.is_world_process_zero():
            (checkpoint / "trainer_state.json").unlink(missing_ok=True)
        if self.recorder is not None:
            self.recorder.save(checkpoint, self.state)
        super()._save_checkpoint(model, trial)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """As in Trainer, but the order of group_by_length follows from seed and epoch alone, as resuming needs."""
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(train_dataset)
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        rows = self.args.train_batch_size * self.args.gradient_accumulation_steps
        sampler = EpochLengthSampler(rows, self.train_dataset.lengths.tolist(), seed)
        self.add_callback(EpochFollower(sampler))
        return sampler

    def get_eval_dataloader(self, eval_dataset: Any = None) -> torch.utils.data.DataLoader:
        """As in Trainer, but no row is ever dropped to fill batches; by a budget of tokens where one is set."""
        if self.eval_batch_tokens is not None:
            return self.eval_loader_by_length(self.eval_batch_tokens)
        drop_last, self.args.dataloader_drop_last = self.args.dataloader_drop_last, False
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.args.dataloader_drop_last = drop_last

    def eval_loader_by_length(self, batch_tokens: int) -> torch.utils.data.DataLoader:
        """Batches of like lengths; rows are placed by number, so that their order is free."""
        rows, args = self.eval_dataset, self.args
        share = {"process": args.process_index, "n_processes": args.world_size}
        batches = LengthBatches(rows.lengths, batch_tokens, args.per_device_eval_batch_size, **share)
        workers = args.dataloader_num_workers
        loading = {"num_workers": workers, "pin_memory": args.dataloader_pin_memory and args.device.type == "cuda"}
        return torch.utils.data.DataLoader(rows, batch_sampler=batches, collate_fn=self.data_collator, **loading)

    def prediction_step(
        self,
        model: torch.nn.Module,
        inputs: dict,
        prediction_loss_only: bool | None,
        ignore_keys: list[str] | None = None,
    ) -> tuple[torch.Tensor, None, None]:
        """Evaluate a batch; only the few numbers that the evaluation keeps leave the device."""
        inputs = send_to_device(inputs, self.args.device, non_blocking=self.args.device.type == "cuda")
        with torch.no_grad(), self.compute_loss_context_manager():
            outputs = self.forward(model, inputs)
            if self.evaluation.labelled:
                losses = self.row_losses(outputs, inputs)
            else:
                losses = torch.full_like(inputs["row"], torch.nan, dtype=torch.float32)
            reduced = self.evaluation.reduce(outputs, inputs, losses)
        gathered = self.accelerator.gather(tuple(part.contiguous() for part in reduced))
        self.evaluation.add(*(part.cpu().numpy() for part in gathered))
        return losses.mean(), None, None

    def evaluation_loop(
        self,
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> Any:
        """As in Trainer, with the figures of the evaluation over all rows, each counted once."""
        self.evaluation.start()
        devices = [self.args.device] if self.args.device.type == "cuda" else []
        forked = torch.random.fork_rng(devices)  # looking at the model draws no random number from its training
        with forked, said_where_full(EVAL_REMEDY):
            output = super().evaluation_loop(dataloader, description, True, ignore_keys, metric_key_prefix)
        figures = {f"{metric_key_prefix}_{name}": value for name, value in self.evaluation.finish().items()}
        output.metrics.update(figures)
        if self.evaluation.is_silent:
            del output.metrics[f"{metric_key_prefix}_loss"]
        return output


class QaTrainer(ExampleTrainer):
    """Extractive question answering: the mean of start and end cross-entropy over the tokens that are not padding."""

    def row_losses(self, outputs: "ModelOutput", inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Loss of every window, float32 [batch]."""
        mask = inputs.get("attention_mask")
        loss = torch.nn.functional.cross_entropy
        start = loss(span_logits(outputs["start_logits"], mask), inputs["start_positions"], reduction="none")
        end = loss(span_logits(outputs["end_logits"], mask), inputs["end_positions"], reduction="none")
        return (start + end) / 2

    def spread_losses(self, outputs: "ModelOutput", inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Over the tokens of every window at which its answer may begin and end, float32 [batch]."""
        cls_index, allows_no_answer = self.train_dataset.template.cls_index, self.emphasis.allows_no_answer
        allowed = tokens_that_may_be_right(inputs, cls_index, allows_no_answer=allows_no_answer)
        mask = inputs.get("attention_mask")
        start, end = (span_logits(outputs[name], mask) for name in ("start_logits", "end_logits"))
        return (mean_surprise(start, allowed) + mean_surprise(end, allowed)) / 2


class NliTrainer(ExampleTrainer):
    """Natural language inference: cross-entropy of the gold label."""

    head_sees_firsts = True

    def row_losses(self, outputs: "ModelOutput", inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Loss of every row, float32 [batch]."""
        return torch.nn.functional.cross_entropy(outputs["logits"].float(), inputs["labels"], reduction="none")

    def spread_losses(self, outputs: "ModelOutput", inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Over all labels of the model, float32 [batch]."""
        logits = outputs["logits"].float()
        return mean_surprise(logits, torch.ones_like(logits, dtype=torch.bool))


class EpochLengthSampler(LengthGroupedSampler):
    """Batches of like lengths in an order that depends on the seed and the epoch, not on what ran before."""

    def __init__(self, batch_size: int, lengths: list[int], seed: int):
        super().__init__(batch_size, lengths=lengths)
        self.seed, self.epoch = seed, 0

    def __iter__(self) -> Iterator[int]:
        self.generator = torch.Generator().manual_seed(self.seed + self.epoch)
        return super().__iter__()


class EpochFollower(TrainerCallback):
    """Tells a sampler which epoch begins."""

    def __init__(self, sampler: EpochLengthSampler):
        self.sampler = sampler

    def on_epoch_begin(
        self, args: "TrainingArguments", state: "TrainerState", control: "TrainerControl", **kwargs: Any
    ) -> None:
        """Called before the epoch's batches are drawn."""
        self.sampler.epoch = int(state.epoch or 0)


class EarlyStopping(EarlyStoppingCallback):
    """Transformers' own; a run that is resumed goes on counting, and stops at once where its checkpoint had to."""

    def on_train_begin(
        self, args: "TrainingArguments", state: "TrainerState", control: "TrainerControl", **kwargs: Any
    ) -> None:
        """Take up the count of the checkpoint, if there is one."""
        super().on_train_begin(args, state, control, **kwargs)
        kept = state.stateful_callbacks.setdefault(type(self).__name__, self.state())
        self.early_stopping_patience_counter = kept["attributes"]["early_stopping_patience_counter"]
        control.should_training_stop = self.is_out_of_patience()

    def is_out_of_patience(self) -> bool:
        """True when enough evaluations in a row were no better than the best one."""
        return self.early_stopping_patience_counter >= self.early_stopping_patience

    def on_train_end(
        self, args: "TrainingArguments", state: "TrainerState", control: "TrainerControl", **kwargs: Any
    ) -> None:
        """Say that training has stopped early."""
        if self.is_out_of_patience():
            name, times = args.metric_for_best_model, self.early_stopping_patience_counter
            logger.info("Stopped early, at step %d: %s did not get better in %d evaluations.", state.global_step, name,
                        times)  # fmt: skip


class ProgressLine(TrainerCallback):
    """One line a log step, with examples per second since the last one."""

    def __init__(self, examples_per_row: float):
        super().__init__()
        self.examples_per_row = examples_per_row
        self.restart(0)

    def restart(self, step: int) -> None:
        """Start the clock anew."""
        self.clock, self.steps = time.perf_counter(), step

    def on_train_begin(
        self, args: "TrainingArguments", state: "TrainerState", control: "TrainerControl", **kwargs: Any
    ) -> None:
        """Start the clock."""
        super().on_train_begin(args, state, control, **kwargs)
        self.restart(state.global_step)

    def on_evaluate(
        self, args: "TrainingArguments", state: "TrainerState", control: "TrainerControl", **kwargs: Any
    ) -> None:
        """Evaluation does not count as training time."""
        super().on_evaluate(args, state, control, **kwargs)
        self.restart(state.global_step)

    def on_log(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        logs: dict | None = None,
        **kwargs: Any,
    ) -> None:
        """Write one line through tqdm, which keeps a bar below it."""
        if not state.is_world_process_zero:
            return
        said = self.line(args, state, logs or {})
        with tqdm.external_write_mode():
            if said:
                logger.info(said)

    def line(self, args: "TrainingArguments", state: "TrainerState", logs: dict) -> str:
        """The line for a step of training, for its end, or for an evaluation."""
        if "train_runtime" in logs:
            seconds, loss = logs["train_runtime"], logs["train_loss"]
            return f"trained to step {state.global_step} in {seconds:.0f} s, mean loss {loss:.4f}"
        if "loss" not in logs:
            shown = [f"{name} {value:.4g}" for name, value in logs.items() if name not in QUIET and value is not None]
            return "  ".join(shown)
        now = time.perf_counter()
        rows = state.train_batch_size * args.gradient_accumulation_steps * args.world_size
        speed = rows * (state.global_step - self.steps) * self.examples_per_row / (now - self.clock)
        self.restart(state.global_step)
        return (
            f"step {state.global_step}/{state.max_steps}  epoch {logs['epoch']:.2f}  loss {logs['loss']:.4f}  "
            f"learning rate {logs['learning_rate']:.2e}  {speed:.1f} examples/s"
        )


class ProgressBar(ProgressLine, ProgressCallback):
    """The Trainer's progress bars on stderr, with our lines above them."""
