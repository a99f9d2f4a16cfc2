"""What the acceptance checks compute on: questions, a tokenizer made of their words, models of true shapes, trainers.

Nothing here needs a network: weights are drawn, with the same seed on every device.
"""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoModelForQuestionAnswering,
    BertConfig,
    DebertaV2Config,
    ElectraConfig,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    set_seed,
)

from cartography_callback import CartographyCallback
from datamap.evaluation.qa import QaEvaluation
from datamap.features.windows import MODEL_INPUTS, PadCollator, QaWindows
from datamap.options.precision import BF16, FLOAT32
from datamap.training import devices, memory
from datamap.training.trainer import QaTrainer
from inputs import SEED, questions

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
MOST_NOTES = 5
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
# DeBERTa v3's attention, which differs from what the class has by default.
DEBERTA_V3 = {
    "relative_attention": True,
    "position_buckets": 256,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"],
    "layer_norm_eps": 1e-7,
    "max_relative_positions": -1,
    "position_biased_input": False,
    "type_vocab_size": 0,
    "vocab_size": 128_100,
}
SHAPES = {
    "tiny": ElectraConfig(**TINY, embedding_size=32),
    "ELECTRA-small": ElectraConfig(),
    "BERT-base": BertConfig(),
    "BERT-large": BertConfig(**LARGE),
    "DeBERTa-v3-large": DebertaV2Config(**LARGE, **DEBERTA_V3),
}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@dataclasses.dataclass(frozen=True)
class Place:
    """Where checks run.

    Attributes:
        device: "cuda", or "cpu" where there is no card; then everything is tiny.
        n_cards: GPUs that PyTorch sees.
        runs_dir: a directory for what the commands write.
    """

    device: str
    n_cards: int
    runs_dir: Path

    @property
    def shape(self) -> str:
        """The model that is computed with unless a check names its own."""
        return "ELECTRA-small" if self.device == "cuda" else "tiny"

    @property
    def max_length(self) -> int:
        """Tokens in a window."""
        return 384 if self.device == "cuda" else 128

    def some(self, on_card: int, on_cpu: int) -> int:
        """A number of rows, steps or repeats."""
        return on_card if self.device == "cuda" else on_cpu


@functools.cache
def long_questions(n_rows: int):
    """Questions of the demo whose notes have others behind them, one to five in all, as a canonical frame."""
    frame = questions("demo", n_rows).reset_index(drop=True)
    generator = np.random.default_rng(SEED)
    notes = frame["context"].to_numpy()
    added = [" ".join(generator.choice(notes, count)) for count in generator.integers(0, MOST_NOTES, len(frame))]
    return frame.assign(context=[f"{note} {more}".strip() for note, more in zip(notes, added, strict=True)])


@functools.cache
def make_windows(n_rows: int, max_length: int) -> QaWindows:
    """The windows of those questions, a third of each shared with the next one."""
    return QaWindows(long_questions(n_rows), make_tokenizer(), max_length, max_length // 3)


@functools.cache
def make_tokenizer() -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer of the demo's words and characters, which is ready without a download."""
    frame = questions("demo")
    splitter, plain = pre_tokenizers.BertPreTokenizer(), normalizers.BertNormalizer()
    texts = {*frame["context"], *frame["question"]}
    words = {word for text in texts for word, _ in splitter.pre_tokenize_str(plain.normalize_str(text))}
    letters = {letter for word in words for letter in word}
    pieces = [*SPECIAL, *sorted(words | letters), *sorted(f"##{letter}" for letter in letters)]
    places = {piece: place for place, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocab=places, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = plain, splitter
    pair = "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1"
    special = [(name, places[name]) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS]:0 $A:0 [SEP]:0", pair, special)
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=512,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **{f"{name}_token": token for name, token in names.items()},
    )


def make_model(shape: str, device: str = "cpu", **changes):
    """A model for question answering with drawn weights, the same in every process that draws them on one device."""
    config = SHAPES[shape].__class__(**(SHAPES[shape].to_dict() | changes))
    set_seed(SEED)
    with torch.device(device):
        return AutoModelForQuestionAnswering.from_config(config)


def save_model(shape: str, directory: Path, **changes) -> Path:
    """A directory that --model can name."""
    make_model(shape, **changes).base_model.save_pretrained(directory)
    make_tokenizer().save_pretrained(directory)
    return directory


def make_arguments(place: Place, name: str, device: torch.device, precision: str, arguments: dict) -> TrainingArguments:
    """TrainingArguments that keep a check quiet; `arguments` go before them."""
    quiet = {"report_to": "none", "disable_tqdm": True, "save_strategy": "no", "logging_steps": 10_000, "seed": SEED}
    quiet |= {"logging_nan_inf_filter": False, "remove_unused_columns": False, "learning_rate": 1e-4}
    computing = {"use_cpu": device.type == "cpu", "bf16": precision == BF16, "fp16": precision == "fp16"}
    return TrainingArguments(str(place.runs_dir / name), **(quiet | computing | arguments))


def make_trainer(
    place: Place,
    name: str,
    *,
    device: str | None = None,
    n_rows: int,
    precision: str = FLOAT32,
    shape: str | None = None,
    micro_batch_tokens: int | None = None,
    dropout: bool = True,
    record: bool = False,
    **arguments,
) -> QaTrainer:
    """A trainer as run.py builds it.

    Args:
        name: of its directory in `runs_dir`, which nothing else may use.
        device: "cpu" to stay off the card.
        precision: "float32", "bf16" or "fp16".
        micro_batch_tokens: None for what the device's memory holds.
        arguments: of TrainingArguments.
    """
    on = torch.device(device or place.device)
    args = make_arguments(place, name, on, precision, arguments)
    frame, tokenizer = long_questions(n_rows), make_tokenizer()
    windows = make_windows(n_rows, place.max_length)
    model = make_model(shape or place.shape, **({} if dropout else NO_DROPOUT))
    devices.choose_attention(model, on)
    devices.speed_up(on, precision)
    fit = {"max_length": place.max_length, "device": on, "in_16_bits": precision != FLOAT32}
    search = {"max_answer_length": 30, "n_best": 1, "allow_no_answer": False, "null_score_threshold": 0.0}
    recorder = None
    if record:
        recorder = CartographyCallback(place.runs_dir / name / "map", frame["id"], windows, task="qa", identity={})
    set_seed(SEED)
    return QaTrainer(
        model=model,
        args=args,
        train_dataset=windows,
        eval_dataset=windows,
        processing_class=tokenizer,
        data_collator=PadCollator(tokenizer, for_gpu=on.type == "cuda"),
        evaluation=QaEvaluation(frame, windows, seed=SEED, **search),
        recorder=recorder,
        micro_batch_tokens=micro_batch_tokens or memory.micro_batch_tokens(model, **fit),
        eval_batch_tokens=memory.eval_batch_tokens(model, **fit),
    )


class UsualCollator(PadCollator):
    """Pads to a fixed length, or only to the longest row, and keeps what a model takes by itself."""

    def __init__(self, tokenizer, length: int | None):
        super().__init__(tokenizer)
        self.length = length

    def __call__(self, items: list[dict]) -> dict[str, torch.Tensor]:
        batch = super().__call__(items)
        missing = (self.length or 0) - batch["input_ids"].shape[1]
        wide = {name: batch[name] for name in MODEL_INPUTS if name in batch}
        if missing > 0:
            wide = {name: torch.nn.functional.pad(values, (0, missing)) for name, values in wide.items()}
        return wide | {name: batch[name] for name in ("start_positions", "end_positions")}


def make_usual(place: Place, name: str, *, n_rows: int, precision: str, shape: str, pads: bool, **arguments) -> Trainer:
    """The stock Trainer over the same windows; `pads` them all to the window's length, as the usual recipe does."""
    on = torch.device(place.device)
    args = make_arguments(place, name, on, precision, arguments)
    windows = make_windows(n_rows, place.max_length)
    collator = UsualCollator(make_tokenizer(), place.max_length if pads else None)
    model = make_model(shape)
    set_seed(SEED)
    return Trainer(model=model, args=args, train_dataset=windows, data_collator=collator)
