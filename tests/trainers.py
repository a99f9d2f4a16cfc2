"""A trainer of a tiny model on the demo data set, with a recorder where one is wanted."""

import pytest
import torch

from cartography_callback import CartographyCallback
from datamap.evaluation.qa import QaEvaluation
from datamap.features.windows import PadCollator, QaWindows
from datamap.training.objective import PLAIN
from datamap.training.trainer import QaTrainer
from tests.rows import qa_frame


def demo_windows(tokenizer, variant="", n_rows=48, max_length=40):
    from datamap.demo import data

    rows = data.make_demo(variant)["train"][:n_rows]
    answers = [row["answers"] for row in rows]
    frame = qa_frame(
        *((r["context"], r["question"], a["text"], a["answer_start"]) for r, a in zip(rows, answers, strict=True))
    )
    return frame, QaWindows(frame, tokenizer, max_length, 12)


def make_trainer(
    model_path,
    tokenizer,
    tmp_path,
    variant="",
    n_rows=48,
    micro_batch_tokens=1024,
    for_gpu=False,
    eval_batch_tokens=None,
    emphasis=PLAIN,
    **arguments,
):
    from transformers import AutoModelForQuestionAnswering, TrainingArguments, set_seed

    frame, windows = demo_windows(tokenizer, variant, n_rows)
    settings = {"output_dir": str(tmp_path), "use_cpu": True, "report_to": "none", "disable_tqdm": True, "seed": 5}
    set_seed(5)
    model = AutoModelForQuestionAnswering.from_pretrained(model_path)
    choices = {"max_answer_length": 30, "n_best": 5, "allow_no_answer": variant == "v2", "null_score_threshold": 0.0}
    return QaTrainer(
        model=model,
        args=TrainingArguments(remove_unused_columns=False, **(settings | arguments)),
        train_dataset=windows,
        eval_dataset=windows,
        processing_class=tokenizer,
        data_collator=PadCollator(tokenizer, for_gpu=for_gpu),
        evaluation=QaEvaluation(frame, windows, seed=5, **choices),
        eval_batch_tokens=eval_batch_tokens,
        micro_batch_tokens=micro_batch_tokens,
        emphasis=emphasis,
    )


def gradients_of_one_step(trainer):
    """Gradients as the optimizer sees them in the first step, before clipping and the update."""
    seen = {}

    class Stop(Exception):
        pass

    def keep(*args, **kwargs):
        seen.update({name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.grad is not None})
        raise Stop

    trainer.create_optimizer()
    trainer.optimizer.step = keep
    with pytest.raises(Stop):
        trainer.train()
    return seen


def weights(trainer):
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def padded_to(batch, length):
    """The batch with every sequence padded on to `length`."""
    wider = dict(batch)
    for key in ("input_ids", "attention_mask", "token_type_ids"):
        wider[key] = torch.nn.functional.pad(batch[key], (0, length - batch[key].shape[1]))
    return wider


def add_recorder(trainer, directory, ids, task="qa", **identity):
    """Give the trainer a recorder."""
    recorder = CartographyCallback(directory, ids, trainer.train_dataset, task=task, identity=identity)
    trainer.recorder = recorder
    trainer.add_callback(recorder)
    return recorder


def recorded(trainer, directory, ids, task="qa", checkpoint=None, **identity):
    """Train with a recorder, and return it."""
    recorder = add_recorder(trainer, directory, ids, task, **identity)
    if checkpoint is not None:
        recorder.resume_from(checkpoint)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    return recorder
