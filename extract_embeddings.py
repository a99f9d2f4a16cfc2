"""Embed every example of a data set: the [CLS] vector beside the mean of its answer's token vectors.

    python extract_embeddings.py --model_path ./trainer_output --output_dir ./embeddings_output

Reads: a model directory of run.py (or any encoder) and the rows that it was trained on (or --dataset).
Writes into --output_dir: embeddings.npy (float32, a row an example), embeddings_index.csv, embeddings_metadata.json
and, last, manifest.json.
"""

import argparse
import datetime
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import helpers
from datamap.errors import DataError, UsageError
from datamap.features.lengths import resolve_doc_stride, resolve_max_length, window_limit
from datamap.files import directories, manifests, outputs
from datamap.options import parsing
from datamap.options.defaults import DOC_STRIDE, MAX_LENGTH
from datamap.options.precision import BF16, FLOAT32

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast

    from datamap.data.examples import Examples
    from datamap.embeddings.encoder import Encoder, Plan

logger = logging.getLogger("extract_embeddings")

MODEL_FLAG = "--model_path"
# How long a process waits for the others.
PEERS_HOURS = 2
MODEL_DIR, OUTPUT_DIR, SEED = "./trainer_output", "./embeddings_output", 42


def build_parser() -> argparse.ArgumentParser:
    """The parser of extract_embeddings.py's options."""
    parser = parsing.SentenceParser(
        prog="extract_embeddings.py",
        description="Embed every example: the [CLS] vector beside the mean of its answer's token vectors.",
    )
    add = parser.add_argument
    text = f"model directory, hub name, or demo (default: {MODEL_DIR})"
    add("--model_path", metavar="NAME", type=parsing.named, default=MODEL_DIR, help=text)
    add(
        "--output_dir",
        metavar="DIR",
        type=parsing.named,
        default=OUTPUT_DIR,
        help=f"where results are written (default: {OUTPUT_DIR})",
    )
    text = "extractive QA or natural language inference (default: what the model was trained for, else qa)"
    add("--task", choices=("qa", "nli"), help=text)
    text = "data set, named as for run.py (default: the rows the model was trained on)"
    add("--dataset", metavar="NAME", type=parsing.named, help=text)
    parsing.add_columns_option(add)
    text = "split to embed (default: the rows the model was trained on, else train)"
    add("--split", metavar="SPLIT", type=parsing.named, help=text)
    add("--max_samples", metavar="N", type=parsing.positive, help="embed this many rows, drawn with --seed")
    text = f"tokens in a window, special ones included (default: as trained, else {MAX_LENGTH} or the model's limit)"
    add("--max_length", metavar="N", type=parsing.positive, help=text)
    text = "tokens that neighbouring windows share (qa; default: as trained in windows of the same length, else "
    text += f"{DOC_STRIDE} or a third of a window)"
    add("--doc_stride", metavar="N", type=parsing.whole, help=text)
    text = "tokens in a batch, padding included (default: 2048 on a CPU, 65536 on a GPU)"
    add("--batch_tokens", metavar="N", type=parsing.positive, help=text)
    parsing.add_precision(add, FLOAT32)
    add("--bf16", action="store_true", help="the same as --precision bf16")
    add("--no_cuda", action="store_true", help="compute on the CPU")
    add("--seed", metavar="N", type=parsing.whole, default=SEED, help=f"seed of --max_samples (default: {SEED})")
    return parser


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The options; a UsageError for everything that could not act."""
    options = build_parser().parse_args(argv)
    parsing.refuse_idle_columns(options)
    if options.task == "nli" and options.doc_stride is not None:
        raise UsageError("--doc_stride is for --task qa: leave it out.")
    if options.bf16 and options.precision:
        raise UsageError(f"--precision {options.precision} and --bf16 both say how to compute: leave one out.")
    if Path(options.output_dir).resolve() == Path(options.model_path).resolve():
        raise UsageError(f"--output_dir {options.output_dir} is --model_path as well: choose another one.")
    return options


def settle_task(options: argparse.Namespace, manifest: dict) -> str:
    """The task; a DataError where the model was trained for another one than asked for."""
    trained = manifest.get("task")
    if options.task and trained and options.task != trained:
        raise DataError(f"--model_path {options.model_path} was trained for --task {trained}, not {options.task}.")
    return options.task or trained or "qa"


def load_rows(options: argparse.Namespace, manifest: dict, task: str) -> "Examples":
    """The examples to embed: the rows that the model was trained on, or all of a split.

    Raises:
        UsageError: the model says nothing of its data, and no --dataset is given.
        DataError: the data set cannot be read or is not what the model was trained on.
    """
    from datamap.data.examples import described_rows, load_examples, open_described, sample_rows, trained_examples

    if not options.dataset and "train" not in manifest.get("data", {}):
        raise UsageError(f"--model_path {options.model_path} does not say what it was trained on: give --dataset.")
    if options.dataset or options.split:
        source = open_described(manifest | {"task": task}, options.dataset, options.columns)
        split = options.split or described_rows(manifest).get("split") or "train"
        examples = load_examples(source, split, task)
    else:
        examples = trained_examples(manifest)
    return sample_rows(examples, options.max_samples, options.seed)


def make_plan(
    options: argparse.Namespace,
    settings: dict,
    frame: "pd.DataFrame",
    config: "PreTrainedConfig",
    tokenizer: "PreTrainedTokenizerFast",
    task: str,
) -> "tuple[Plan, dict[str, int]]":
    """(plan of what is embedded, resolved window lengths)."""
    from datamap.embeddings.encoder import plan_nli, plan_qa
    from datamap.features.windows import NliPairs, QaWindows

    limit = window_limit(config, tokenizer)
    max_length = resolve_max_length(options.max_length or settings.get("max_length"), MAX_LENGTH, limit)
    if task == "nli":
        pairs = NliPairs(frame, tokenizer, max_length)
        return plan_nli(pairs, frame, tokenizer, max_length), {"max_length": max_length}
    trained = settings.get("doc_stride") if max_length == settings.get("max_length") else None
    stride = resolve_doc_stride(trained if options.doc_stride is None else options.doc_stride, max_length)
    windows = QaWindows(frame, tokenizer, max_length, stride)
    return plan_qa(windows), {"max_length": max_length, "doc_stride": stride}


def make_encoder(
    options: argparse.Namespace,
    path: str,
    config: "PreTrainedConfig",
    tokenizer: "PreTrainedTokenizerFast",
    device: "torch.device",
) -> "Encoder":
    """The model without its head, in the precision that was asked for."""
    from datamap.embeddings.encoder import Encoder
    from datamap.features.windows import pair_template
    from datamap.options.precision import settle_precision
    from datamap.training.devices import choose_attention, refuse_bf16_model, speed_up

    asked = BF16 if options.bf16 else options.precision or FLOAT32
    precision, why = settle_precision(asked, device)
    refuse_bf16_model(config, precision)
    logger.info("Computing in %s: %s.", precision, why)
    speed_up(device, precision)
    model = helpers.load_encoder(path, config, MODEL_FLAG)
    choose_attention(model, device)
    return Encoder(model, tokenizer, precision=precision, cls_index=pair_template(tokenizer).cls_index)


def write_results(
    options: argparse.Namespace, examples: "Examples", plan: "Plan", metadata: dict, shards: list, manifest: dict
) -> None:
    """Put the shards together and write what belongs beside the vectors."""
    import shutil

    import pandas as pd

    from datamap.embeddings import vectors
    from datamap.embeddings.encoder import SHARDS, assemble
    from datamap.files.manifests import described, rows_fields

    directory = Path(options.output_dir)
    directories.clear(directory, (vectors.VECTORS, vectors.INDEX, vectors.METADATA))
    n_dimensions = assemble(shards, len(examples.frame), directory / vectors.VECTORS)
    index = {"id": examples.frame["id"], "row": range(len(examples.frame)), "span_source": plan.source}
    outputs.write_csv(directory / vectors.INDEX, pd.DataFrame(index))
    parts = {"cls": [0, n_dimensions // 2], "span": [n_dimensions // 2, n_dimensions]}
    counts = pd.Series(plan.source).value_counts().to_dict()
    sizes = {"n_rows": len(examples.frame), "n_dimensions": n_dimensions, "parts": parts, "span_sources": counts}
    outputs.write_json(directory / vectors.METADATA, sizes | metadata)
    fields = {"script": "extract_embeddings.py", "task": metadata["task"], "seed": options.seed}
    fields |= {"arguments": vars(options), "data": {"rows": described(examples)}, **rows_fields(examples.frame)}
    manifests.write_manifest(directory, fields | {"settings": metadata}, [Path(options.model_path)] if manifest else [])
    shutil.rmtree(directory / SHARDS)
    listed = ", ".join(f"{source} {count}" for source, count in counts.items())
    print(f"{len(examples.frame)} rows, {n_dimensions} dimensions; spans: {listed}")


def main(argv: Sequence[str]) -> None:
    """Load, plan, embed, write."""
    options = parse_arguments(argv)
    directory = Path(options.output_dir)
    directories.refuse_foreign_directory(directory, "extract_embeddings.py")
    path = helpers.model_path(options.model_path, MODEL_FLAG)
    manifest = manifests.read_manifest(options.model_path)
    task = settle_task(options, manifest)
    config, tokenizer = helpers.load_parts(path, MODEL_FLAG)
    from accelerate import PartialState

    # NCCL would give up after ten minutes; gloo waits half an hour, and the processes' shares may differ by more
    state = PartialState(cpu=options.no_cuda, timeout=datetime.timedelta(hours=PEERS_HOURS))
    with state.main_process_first():
        examples = load_rows(options, manifest, task)
    from datamap.embeddings.encoder import CPU_BATCH_TOKENS, GPU_BATCH_TOKENS, embed
    from datamap.training.memory import peak_memory

    plan, lengths = make_plan(options, manifest.get("settings", {}), examples.frame, config, tokenizer, task)
    encoder = make_encoder(options, path, config, tokenizer, state.device)
    batch_tokens = options.batch_tokens or (CPU_BATCH_TOKENS if state.device.type == "cpu" else GPU_BATCH_TOKENS)
    shards = embed(plan, encoder, batch_tokens, directory)
    metadata = {"task": task, "model": options.model_path, "precision": encoder.precision}
    metadata |= {"pooling": "[CLS], then the mean of the span's tokens", "batch_tokens": batch_tokens, **lengths}
    metadata |= {"peak_memory_gb": peak_memory(state.device)}
    if state.is_main_process:
        write_results(options, examples, plan, metadata, shards, manifest)
        logger.info("Everything is in %s.", directory)
    state.destroy_process_group()


if __name__ == "__main__":
    sys.exit(helpers.run_script(main))
