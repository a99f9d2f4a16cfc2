"""The chain on data of the default set's shape, stage by stage: seconds, peak memory, bytes read and written.

    python benchmarks/bench_scale.py --rows 131000 --folder ./scale --output scale.json

The data: notes of 50 to 400 words, 26 questions each from some templates, answers of 1 to 10 words, no ids. The model
has one narrow layer, so that what is measured is everything else. Each stage is a command of its own and runs once;
where --folder holds a finished stage of an earlier call with the same options, that stage's numbers stand. With --drawn
no model sees the rows: recording and embeddings are drawn, which is not timed. Memory is that of a command and what it
has started. Reads: nothing.
Writes: the data, the model, all outputs and stages.json with the numbers into --folder; a line a stage to stdout as it
ends; with --output the numbers as JSON and the table beside it as .md.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402

import helpers  # noqa: E402
import tables  # noqa: E402
import timing  # noqa: E402
from datamap.errors import UsageError  # noqa: E402
from datamap.files import manifests, outputs  # noqa: E402
from datamap.options import parsing  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
N_ROWS, LEAST_ROWS, QUESTIONS_A_CONTEXT, SEED = 131_000, 1_000, 26, 42
WORDS_A_CONTEXT, WORDS_AN_ANSWER = (50, 400), (1, 10)
TEMPLATES = (
    "What is the dosage of {}?", "Why is the patient on {}?", "Has the patient ever had {}?",
    "What were the results of the last {}?", "When was {} started?", "Is there any history of {}?",
    "How often does the patient take {}?", "What did the {} show?", "Why was {} stopped?", "Who ordered the {}?",
)  # fmt: skip
N_WORDS = 6000
SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 64}
MODEL, DATA, MEASURED = "model", "notes.jsonl", "stages.json"
TRAIN = ("run.py", "--do_train", "--dataset", DATA, "--model", MODEL, "--per_device_train_batch_size", "64",
         "--save_strategy", "no", "--learning_rate", "1e-3", "--no_cuda")  # fmt: skip
RECORDING = "run.py: recording"
# Commands by stage, the directory that each of them closes, and the files and directories that it reads.
STAGES = {
    "run.py: loading, checks, windows and one step": (
        (*TRAIN, "--max_steps", "1", "--output_dir", "first"), "first", (DATA, MODEL),
    ),
    RECORDING: (
        (*TRAIN, "--enable_cartography", "--cartography_output_dir", "map", "--output_dir", "trained"),
        "trained", (DATA, MODEL),
    ),
    "analyze_cartography.py": (
        ("analyze_cartography.py", "--cartography_dir", "map", "--output_dir", "analysis"), "analysis", (DATA, "map"),
    ),
    "extract_embeddings.py": (
        ("extract_embeddings.py", "--dataset", DATA, "--model_path", MODEL, "--output_dir", "embeddings", "--no_cuda"),
        "embeddings", (DATA, MODEL),
    ),
    "cluster_analysis.py": (
        ("cluster_analysis.py", "--embedding_dir", "embeddings", "--output_dir", "clusters"), "clusters",
        (DATA, "embeddings"),
    ),
    "analyze_dataset.py": (
        ("analyze_dataset.py", "--cartography_dir", "map", "--cluster_dir", "clusters", "--output_dir", "dataset"),
        "dataset", (DATA, "map", "clusters"),
    ),
}  # fmt: skip


def vocabulary(tokenizer) -> list[str]:
    """Words that are one token each, so that a note has about as many tokens as words."""
    words = sorted(word for word in tokenizer.get_vocab() if word.isascii() and word.isalpha() and len(word) > 2)
    return np.random.default_rng(SEED).permutation(words)[:N_WORDS].tolist()


def rows(n_rows: int, words: list[str]) -> Iterator[dict]:
    """Questions with their context and answer, without ids; what is asked about stands in front of its answer."""
    draw = np.random.default_rng(SEED)
    shares = 1 / np.arange(10, 10 + len(words))
    for _ in range(-(-n_rows // QUESTIONS_A_CONTEXT)):
        n_words = draw.integers(WORDS_A_CONTEXT[0], WORDS_A_CONTEXT[1] + 1)
        note = [words[place] for place in draw.choice(len(words), n_words, p=shares / shares.sum())]
        begins = np.cumsum([0, *(len(word) + 1 for word in note)])
        for _ in range(min(QUESTIONS_A_CONTEXT, n_rows)):
            length = draw.integers(WORDS_AN_ANSWER[0], WORDS_AN_ANSWER[1] + 1)
            place = draw.integers(1, n_words - length + 1)
            question = TEMPLATES[draw.integers(len(TEMPLATES))].format(note[place - 1])
            answer = " ".join(note[place : place + length])
            yield {"context": " ".join(note), "question": question,
                   "answers": {"text": [answer], "answer_start": [int(begins[place])]}}  # fmt: skip
        n_rows -= QUESTIONS_A_CONTEXT


def prepare(folder: Path, n_rows: int) -> None:
    """Write the data and the model, unless they are there."""
    from transformers import ElectraConfig, ElectraForQuestionAnswering

    tokenizer = helpers.load_tokenizer(helpers.model_path("demo"))
    if not (folder / DATA).exists():
        outputs.write_jsonl(folder / DATA, rows(n_rows, vocabulary(tokenizer)))
    if not (folder / MODEL).exists():
        config = ElectraConfig(vocab_size=len(tokenizer), embedding_size=SIZES["hidden_size"], **SIZES)
        ElectraForQuestionAnswering(config).save_pretrained(folder / MODEL)
        tokenizer.save_pretrained(folder / MODEL)


def draw(folder: Path, n_epochs: int) -> None:
    """Leave a drawn recording and drawn embeddings where their stages would, unless they are there."""
    from scale_drawn import draw_embeddings, draw_recording

    if not manifests.has_manifest(folder / "map"):
        draw_recording(folder / "map", folder / DATA, n_epochs)
    if not manifests.has_manifest(folder / "embeddings"):
        draw_embeddings(folder / "embeddings", folder / DATA)
    (folder / "trained").mkdir(exist_ok=True)
    manifests.write_manifest(folder / "trained", {"script": "run.py"})  # that the stage is left out


def megabytes(path: Path) -> float:
    """Size of a file, or of all files below a directory, in 10^6 bytes."""
    found = [path] if path.is_file() else [part for part in path.rglob("*") if part.is_file()]
    return sum(part.stat().st_size for part in found) / 1e6


def measure(stage: str, folder: Path, n_epochs: int) -> dict:
    """One stage: what it took, what its inputs and outputs hold."""
    (script, *words), closes, read = STAGES[stage]
    for name in (closes, "map") if stage == RECORDING else (closes,):
        shutil.rmtree(folder / name, ignore_errors=True)  # what an earlier call has not finished
    if stage == RECORDING:
        words += ["--num_train_epochs", str(n_epochs)]
    before = {path: megabytes(path) for path in folder.iterdir()}
    done = timing.run_command([sys.executable, str(ROOT / script), *words], folder)
    after = {path: megabytes(path) for path in folder.iterdir()}
    if not manifests.has_manifest(folder / closes):
        raise RuntimeError(f"{stage} left no manifest in {folder / closes}")
    written = sum(size - before.get(path, 0) for path, size in after.items())
    return {
        "stage": stage,
        "seconds": round(done.seconds, 1),
        "peak memory, GB": round(done.megabytes * 2**20 / 1e9, 2),
        "reads, MB": round(sum(before[folder / name] for name in read)),
        "writes, MB": round(written),
    }


def build_parser() -> argparse.ArgumentParser:
    """The parser of the benchmark's options."""
    parser = parsing.SentenceParser(prog="bench_scale.py", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--rows", metavar="N", type=parsing.positive, default=N_ROWS, help=f"questions (default: {N_ROWS})")
    add("--epochs", metavar="N", type=parsing.positive, default=3, help="that are recorded (default: 3)")
    add("--drawn", action="store_true", help="draw recording and embeddings instead of computing them")
    add("--folder", metavar="DIR", type=Path, default=Path("scale"), help="for data and outputs (default: ./scale)")
    add("--output", metavar="FILE.json", type=Path, help="also write the numbers there, and the table as FILE.md")
    return parser


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The options; a UsageError for what could not be measured or written."""
    options = build_parser().parse_args(argv)
    if options.rows < LEAST_ROWS:
        raise UsageError(f"--rows {options.rows}: fewer rows than {LEAST_ROWS:,} do not go through the chain.")
    if options.output and options.output.suffix != ".json":
        raise UsageError(f"--output {options.output}: the numbers go into a file of this name: end it in .json.")
    if options.folder.exists() and not options.folder.is_dir():
        raise UsageError(f"--folder {options.folder} is a file: give another one.")
    return options


def stages_so_far(options: argparse.Namespace) -> dict:
    """What --folder has measured, with the options that it was measured with; begun where there is nothing.

    Raises:
        UsageError: the folder holds something else, or was measured with other options.
    """
    path, wanted = options.folder / MEASURED, {name: getattr(options, name) for name in ("rows", "epochs", "drawn")}
    if not path.exists():
        if options.folder.is_dir() and any(options.folder.iterdir()):
            raise UsageError(f"--folder {options.folder} is not empty and has no {MEASURED}: give another one.")
        options.folder.mkdir(parents=True, exist_ok=True)
        outputs.write_json(path, wanted | {"machine": timing.machine(), "stages": {}})
    known = outputs.read_json(path)
    for name, value in wanted.items():
        if known[name] != value:
            raise UsageError(f"--folder {options.folder} holds stages with --{name} {known[name]}: give another one.")
    return known


def main(argv: Sequence[str]) -> None:
    """Prepare, run stage after stage, print and write."""
    options = parse_arguments(argv)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # users have compiled bytecode
    known = stages_so_far(options)
    prepare(options.folder, options.rows)
    if options.drawn:
        draw(options.folder, options.epochs)
    for stage, (_, closes, _) in STAGES.items():
        if manifests.has_manifest(options.folder / closes):
            print(f"{stage}: there already", flush=True)
            continue
        known["stages"][stage] = measure(stage, options.folder, options.epochs)
        outputs.write_json(options.folder / MEASURED, known)
        print(json.dumps(known["stages"][stage]), flush=True)
    if known["stages"]:
        tables.write(options.output, known, tables.markdown(list(known["stages"].values()), 2))


if __name__ == "__main__":
    sys.exit(helpers.run_script(main))
