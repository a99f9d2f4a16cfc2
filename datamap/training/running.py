"""A training from its first step to its saved model, and what can end it."""

from transformers import PreTrainedModel

from datamap.errors import DataError
from datamap.files import checkpoints, outputs
from datamap.training.memory import said_where_full
from datamap.training.trainer import ExampleTrainer


def train_model(trainer: ExampleTrainer, checkpoint: str | None) -> None:
    """Train, then save the model, the tokenizer and the trainer's state.

    Raises:
        DataError: the device's memory does not hold a batch, the weights are not numbers, or the disk is full.
    """
    remedy = "lower --micro_batch_tokens or --max_length"
    if trainer.args.auto_find_batch_size:
        remedy = "even a batch of one row does not fit: lower --max_length, or take a smaller --model"
    try:
        with said_where_full(remedy):
            trainer.train(resume_from_checkpoint=checkpoint)
        refuse_nan_weights(trainer.model)
        trainer.save_model()
        trainer.save_state()
    except Exception as error:  # the tokenizer's writer raises a bare Exception when the disk is full
        if not outputs.is_full(trainer.args.output_dir, error):
            raise
        left = checkpoints.what_is_left(trainer.args.output_dir)
        raise DataError(f"the disk of {trainer.args.output_dir} is full: free some space; {left}.") from error


def refuse_nan_weights(model: PreTrainedModel) -> None:
    """DataError where training has ended in weights that are not numbers."""
    if not all(weights.isfinite().all() for weights in model.parameters()):
        raise DataError(
            "training has ended in weights that are not numbers (NaN), and no model is saved: train again with a lower "
            "--learning_rate, or with --precision float32."
        )
