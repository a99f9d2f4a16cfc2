"""Check on a machine with a GPU what the suite promises of one, in one command that needs no network.

    python benchmarks/gpu_acceptance.py --runs_dir runs

Prints a table with a line for every check (right, wrong or not run, with its figures) and writes it as JSON and
Markdown after each one. Checks that need a card, or two, are not run without; the others then compute tiny models on
the CPU.
Exit code 1 where a check is wrong.
"""

import argparse
import collections
import concurrent.futures
import datetime
import functools
import os
import re
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import helpers  # noqa: E402
import timing  # noqa: E402
from acceptance import ALONE, GROUPS, Finding, checks_of, run_lane, serve  # noqa: E402
from datamap.errors import DataError  # noqa: E402
from datamap.files import outputs  # noqa: E402
from datamap.options import parsing  # noqa: E402

RESULTS = Path(__file__).resolve().parent / "results"
# Cores for each process beside others, and such processes at most.
CORES_A_LANE, MOST_LANES = 2, 8


def build_parser() -> argparse.ArgumentParser:
    """The parser of the script's options."""
    parser = parsing.SentenceParser(prog="gpu_acceptance.py", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--runs_dir", metavar="DIR", type=Path, required=True, help="where the trainings of the checks are written")
    text = f"groups of checks, of {', '.join(GROUPS)} (default: all)"
    add("--only", nargs="+", choices=GROUPS, metavar="NAME", help=text)
    text = "the results, and the table beside them as .md (default: benchmarks/results/DATE_DEVICE_acceptance.json)"
    add("--json", metavar="FILE", type=Path, help=text)
    add("--serve", nargs="+", metavar="CHECK", help=argparse.SUPPRESS)
    return parser


def find_place(runs_dir: Path):
    """Where checks run: on the card where there is one."""
    import torch

    from accept_inputs import Place

    n_cards = torch.cuda.device_count()
    return Place("cuda" if n_cards else "cpu", n_cards, runs_dir.resolve())


def main(argv: Sequence[str]) -> None:
    """Run all checks, those that may side by side, and write the table.

    Raises:
        DataError: a check is wrong.
    """
    options = build_parser().parse_args(argv)
    options.runs_dir.mkdir(parents=True, exist_ok=True)
    place = find_place(options.runs_dir)
    if options.serve:
        with os.fdopen(os.dup(1), "w") as answers:
            os.dup2(2, 1)  # what checks print is no answer
            serve(options.serve, place, answers)
        return
    found, lanes = plan(options.only or list(GROUPS), place.n_cards)
    results = functools.partial(write_results, options.json or RESULTS / f"{default_name()}.json", found)
    report = functools.partial(keep, threading.Lock(), found, results)
    beside = [lane for lane in lanes if not lane[0].startswith(ALONE)]
    n_lanes = max(1, min(MOST_LANES, (os.cpu_count() or 1) // CORES_A_LANE))
    if n_lanes == 1:  # each process takes seconds to start
        beside = [[name for lane in beside for name in lane]] if beside else []
    with concurrent.futures.ThreadPoolExecutor(n_lanes) as pool:
        list(pool.map(lambda names: run_lane(names, place, report), beside))
    for names in lanes:
        if names[0].startswith(ALONE):
            run_lane(names, place, report)
    results()
    print(table(found))
    wrong = [name for name, finding in found.items() if finding.right is False]
    if wrong:
        raise DataError(f"{len(wrong)} of {len(found)} checks are wrong: {', '.join(wrong)}.")


def plan(groups: Sequence[str], n_cards: int) -> tuple[dict[str, Finding], list[list[str]]]:
    """(what every check has found so far, in order; the checks to run, a list a group)."""
    found, lanes = {}, []
    for group in groups:
        checks = {f"{group}/{name}": needed for name, (_, needed) in checks_of(group).items()}
        for name, needed in checks.items():
            why = f"needs {needed} GPU{'s' * (needed > 1)}" if needed > n_cards else "not yet"
            found[name] = Finding(None, why)
        lanes.append([name for name, needed in checks.items() if needed <= n_cards])
    return found, [lane for lane in lanes if lane]


def keep(lock: threading.Lock, found: dict[str, Finding], results, name: str, finding: Finding) -> None:
    """Take what a check found and write everything that is known."""
    with lock:
        found[name] = finding
        print(f"{finding.verdict:8s} {finding.seconds:6.1f} s  {name}: {finding.words}", file=sys.stderr, flush=True)
        results()


def default_name() -> str:
    """The day and the device, as part of a file's name."""
    machine = timing.machine()
    device = re.sub(r"\W+", "_", machine.get("gpu", "cpu").removeprefix("NVIDIA ").lower())
    return f"{datetime.date.today()}_{device}_acceptance"


def table(found: dict[str, Finding]) -> str:
    """The day and the machine, how many checks were right, and a line for every check."""
    machine = ", ".join(f"{name} {value}" for name, value in timing.machine().items())
    counts = collections.Counter(finding.verdict for finding in found.values())
    summary = ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("right", "wrong", "not run"))
    lines = [f"{datetime.date.today()}, {machine}", "", f"{summary}.", "", "| check | verdict | seconds | found |"]
    lines.append("|---|---|---|---|")
    for name, finding in found.items():
        words = finding.words.replace("|", "/").replace("\n", " ")
        lines.append(f"| {name} | {finding.verdict} | {finding.seconds:.1f} | {words} |")
    return "\n".join(lines)


def write_results(path: Path, found: dict[str, Finding]) -> None:
    """Write what was found so far as JSON, and the table beside it."""
    fields = ("verdict", "seconds", "words", "figures")
    checks = {name: {field: getattr(finding, field) for field in fields} for name, finding in found.items()}
    content = {"date": str(datetime.date.today()), "machine": timing.machine(), "checks": checks}
    outputs.write_json(path, content)
    with outputs.atomic_writer(path.with_suffix(".md")) as file:
        file.write(table(found) + "\n")


if __name__ == "__main__":
    sys.exit(helpers.run_script(main))
