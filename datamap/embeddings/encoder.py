"""Vectors of examples: [CLS] beside the mean of the answer's tokens, in batches by a token budget, shard by shard."""

import contextlib
import dataclasses
import hashlib
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from accelerate import PartialState
from tqdm import tqdm

from datamap.errors import DataError
from datamap.features.tokens import TOKENIZE_BATCH
from datamap.features.windows import MODEL_INPUTS, NliPairs, PadCollator, QaWindows, pair_template
from datamap.files import outputs
from datamap.options.precision import BF16
from datamap.training.memory import NO_ROOM, is_out_of_memory, said_where_full
from datamap.training.packing import can_pack, forward_packed

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

logger = logging.getLogger(__name__)

SHARD_ROWS = 4096
CPU_BATCH_TOKENS, GPU_BATCH_TOKENS = 2048, 65_536
SHARDS = "unfinished_shards"
ONE_ROW_FULL = "not even one row fits: lower --max_length, or take a smaller --model_path"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is embedded of every example, in the order of the examples.

    Attributes:
        items: QaWindows or NliPairs, whose items are model inputs.
        item: the item of each example, int [n].
        spans: first and last token of the span in that item, both inclusive, int [n, 2]; the classifier token twice
            where there is no span.
        source: where the span comes from, str [n], as in embeddings.Embeddings.
    """

    items: QaWindows | NliPairs
    item: np.ndarray
    spans: np.ndarray
    source: np.ndarray


def plan_qa(windows: QaWindows) -> Plan:
    """The answer in the window that holds it most centrally.

    That is the window with the most context tokens on the shorter side of the answer; of equal ones, the first. An
    example without an answer, or whose answer no window holds, has its first window's classifier token twice.
    """
    numbers = np.arange(len(windows))
    begins = windows.context_starts(numbers)
    before = windows.start_positions - begins
    after = begins + (windows.last - windows.first) - 1 - windows.end_positions
    answered = windows.has_gold & (windows.gold_lengths[windows.example] > 0)
    centrality = np.where(answered, np.minimum(before, after), -1)
    order = np.lexsort((numbers, -centrality, windows.example))
    item = order[np.searchsorted(windows.example[order], np.arange(windows.n_examples))]
    held = answered[item]
    untracked = set(windows.without_gold_window())
    source = np.array(["not_in_any_window" if row in untracked else "no_answer" for row in range(windows.n_examples)])
    spans = np.stack([windows.start_positions[item], windows.end_positions[item]], axis=1)
    spans[~held] = windows.template.cls_index
    return Plan(windows, item, spans, np.where(held, "answer", source).astype(object))


def plan_nli(pairs: NliPairs, frame: "pd.DataFrame", tokenizer: "PreTrainedTokenizerFast", max_length: int) -> Plan:
    """The hypothesis' tokens of every pair; the classifier token twice where the hypothesis has none."""
    spans, cls_index = [], pair_template(tokenizer).cls_index
    for begin in range(0, len(frame), TOKENIZE_BATCH):
        rows = frame.iloc[begin : begin + TOKENIZE_BATCH]
        encoded = tokenizer(
            rows["premise"].tolist(), rows["hypothesis"].tolist(), truncation=True, max_length=max_length
        )
        for row in range(len(rows)):
            inside = [place for place, side in enumerate(encoded.sequence_ids(row)) if side == 1]
            spans.append((inside[0], inside[-1]) if inside else (cls_index, cls_index))
    places = np.array(spans, dtype=np.int64).reshape(-1, 2)
    source = np.where((places == cls_index).all(axis=1), "no_answer", "hypothesis").astype(object)
    return Plan(pairs, np.arange(len(pairs)), places, source)


class Encoder:
    """A model without its head that turns items into vectors of 2 x hidden size."""

    def __init__(
        self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", *, precision: str, cls_index: int
    ):
        """`precision` is "float32" or "bf16"; pooling is in float32 always.

        Raises:
            DataError: the device has no room for the model.
        """
        self.device = PartialState().device
        with said_where_full(NO_ROOM):
            self.model = model.eval().to(self.device)
        self.on_gpu = self.device.type == "cuda"
        self.collate, self.cls_index = PadCollator(tokenizer, for_gpu=self.on_gpu), cls_index
        self.precision = precision
        self.casts = torch.autocast(self.device.type, torch.bfloat16, enabled=precision == BF16)

    def fingerprint(self) -> str:
        """SHA-256 over all weights."""
        digest = hashlib.sha256()
        for name, weights in sorted(self.model.state_dict().items()):
            digest.update(name.encode() + weights.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def moved(self, values: torch.Tensor) -> torch.Tensor:
        """Values on the device, on a GPU without waiting for what it computes."""
        return values.pin_memory().to(self.device, non_blocking=True) if self.on_gpu else values.to(self.device)

    @torch.inference_mode()
    def vectors(self, items: list[dict], spans: np.ndarray) -> torch.Tensor:
        """[CLS] ⊕ mean of the span's tokens, float32 [n_items, 2 x hidden size], on the device."""
        batch = self.collate(items)
        inputs = {name: self.moved(batch[name]) for name in MODEL_INPUTS if name in batch}
        with self.casts:
            outputs = forward_packed(self.model, inputs) if can_pack(self.model) else self.model(**inputs)
        hidden = outputs["last_hidden_state"].float()
        first, last = self.moved(torch.from_numpy(spans)).T
        place = torch.arange(hidden.shape[1], device=self.device)
        inside = ((place >= first[:, None]) & (place <= last[:, None])).float()
        mean = torch.einsum("bl,blh->bh", inside, hidden) / inside.sum(1, keepdim=True)
        return torch.cat([hidden[:, self.cls_index], mean], dim=1)

    def vectors_where_room(self, items: list[dict], spans: np.ndarray) -> torch.Tensor | None:
        """As `vectors`; None where several items have no room together.

        Raises:
            DataError: the device has no room for one.
        """
        try:
            with said_where_full(ONE_ROW_FULL) if len(items) == 1 else contextlib.nullcontext():
                return self.vectors(items, spans)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        if self.on_gpu:
            torch.cuda.empty_cache()
        return None


def embed(plan: Plan, encoder: Encoder, batch_tokens: int, directory: Path) -> list[tuple[np.ndarray, Path]]:
    """Embed every example, longest first, in shards that a killed run finds again.

    Each process embeds its own shards. What was embedded with other weights, inputs or settings is removed first.

    Returns:
        The examples of each shard and the file with their vectors.
    """
    lengths = plan.items.lengths[plan.item]
    order = np.argsort(-lengths, kind="stable")
    parts = [order[begin : begin + SHARD_ROWS] for begin in range(0, len(order), SHARD_ROWS)]
    state, shards = PartialState(), directory / SHARDS
    made_with = {"weights": encoder.fingerprint(), "items": plan.items.fingerprint(), "batch_tokens": batch_tokens}
    made_with |= {"precision": encoder.precision, "rows": len(order), "shard_rows": SHARD_ROWS}
    if state.is_main_process:
        start_shards(shards, made_with)
    state.wait_for_everyone()
    files = [shards / f"shard_{number:05d}.npy" for number in range(len(parts))]
    mine = [number for number in range(len(parts)) if number % state.num_processes == state.process_index]
    left = [number for number in mine if not files[number].is_file()]
    if len(left) < len(mine):
        logger.info("%d of %d shards are there from an earlier run.", len(mine) - len(left), len(mine))
    n_rows = sum(len(parts[number]) for number in left)
    batches = Batches(batch_tokens)
    with tqdm(total=n_rows, desc="Embedding", unit="row", disable=not state.is_main_process) as bar:
        for number in left:
            write_shard(files[number], plan, encoder, parts[number], batches, bar)
    state.wait_for_everyone()
    return list(zip(parts, files, strict=True))


def start_shards(shards: Path, made_with: dict) -> None:
    """Make the directory of shards; remove one that was made with something else."""
    path = shards / "made_with.json"
    if shards.is_dir() and not (path.is_file() and outputs.read_json(path) == made_with):
        shutil.rmtree(shards)
    if not path.is_file():
        outputs.write_json(path, made_with)


class Batches:
    """Batches of rows by falling length within a budget of tokens, which is halved where the device has no room.

    Attributes:
        batch_tokens: padding included.
    """

    def __init__(self, batch_tokens: int):
        self.batch_tokens, self.full_with = batch_tokens, 0

    def first(self, lengths: np.ndarray) -> int:
        """The rows of the next batch, of those that are left."""
        return max(1, self.batch_tokens // int(lengths[0]))

    def halve(self, n_tokens: int) -> None:
        """Take at most half the tokens that had no room."""
        self.batch_tokens, self.full_with = n_tokens // 2, self.full_with or n_tokens

    def say(self) -> None:
        """Say, once there is room, that batches are smaller than asked for; once."""
        if self.full_with > 0:
            sentence = "The memory is full with %d tokens at a time, so embedding goes on in batches of %d; "
            with tqdm.external_write_mode():
                logger.warning(sentence + "--batch_tokens chooses.", self.full_with, self.batch_tokens)
            self.full_with = -1


def write_shard(path: Path, plan: Plan, encoder: Encoder, rows: np.ndarray, batches: Batches, bar: tqdm) -> None:
    """Embed some examples and write their vectors; while a GPU computes a batch, the next one is prepared.

    Raises:
        DataError: the device has no room for one row, or the file cannot be written.
    """
    lengths, begin = plan.items.lengths[plan.item[rows]], 0
    found: list[np.ndarray] = []
    waiting: list = []
    while begin < len(rows):
        chosen = rows[begin : begin + batches.first(lengths[begin:])]
        vectors = encoder.vectors_where_room([plan.items[item] for item in plan.item[chosen]], plan.spans[chosen])
        if vectors is None:
            batches.halve(len(chosen) * int(lengths[begin]))
            continue
        batches.say()
        found += [earlier.cpu().numpy() for earlier in waiting]
        waiting = [vectors]
        begin += len(chosen)
        bar.update(len(chosen))
    found += [last.cpu().numpy() for last in waiting]
    with outputs.atomic_writer(path, binary=True) as file:
        np.save(file, np.concatenate(found))


def assemble(shards: list[tuple[np.ndarray, Path]], n_rows: int, path: Path) -> int:
    """Put the shards' vectors into one .npy file in the order of the examples; returns the number of dimensions.

    The file is memory-mapped, so it never has to fit into memory.

    Raises:
        DataError: the disk is full, or a shard cannot be read.
    """
    n_dimensions = np.load(shards[0][1], mmap_mode="r").shape[1]
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        header = {"descr": "<f4", "fortran_order": False, "shape": (n_rows, n_dimensions)}
        with os.fdopen(handle, "wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            offset = file.tell()
            for rows, _ in shards:  # written, not left sparse: a full disk is an error here and a crash in the map
                file.write(bytes(4 * n_dimensions * len(rows)))
        vectors = np.memmap(temporary, np.float32, "r+", offset, (n_rows, n_dimensions))
        for rows, shard in shards:
            vectors[rows] = np.load(shard)
        vectors.flush()
        os.chmod(temporary, 0o666 & ~outputs.current_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(outputs.unwritable(path, error)) from error
    finally:
        Path(temporary).unlink(missing_ok=True)
    return n_dimensions
