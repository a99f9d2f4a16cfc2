"""Acceptance checks: what one found, and running them apart from each other so that one that fails ends only itself."""

import contextlib
import dataclasses
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

# Each group is a module beside this one whose CHECKS are {name: (function of a Place that gives a Finding, cards)}.
GROUPS = {
    "card": "accept_card",
    "numbers": "accept_numbers",
    "step": "accept_step",
    "precision": "accept_precision",
    "repeats": "accept_repeats",
    "evaluation": "accept_evaluation",
    "memory": "accept_memory",
    "processes": "accept_processes",
    "budget": "accept_budget",
    "speed": "accept_speed",
    "tests": "accept_tests",
}
# Groups whose figures need the whole machine; the others may run side by side.
ALONE = ("budget", "speed", "tests")
# Seconds a check may take, by device, and the test suite.
LIMITS, TESTS_LIMIT = {"cuda": 150, "cpu": 900}, 3600
LAST_WORDS, LAST_WORDS_SECONDS = 1500, 20


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        right: None where the check was not run.
        words: the figures as a person reads them, or why it is wrong or was not run.
        figures: numbers by name.
    """

    right: bool | None
    words: str
    figures: dict = dataclasses.field(default_factory=dict)
    seconds: float = 0.0

    @property
    def verdict(self) -> str:
        """In words."""
        return {True: "right", False: "wrong", None: "not run"}[self.right]


def within(values: dict[str, float], bound: float) -> Finding:
    """Right where every figure is a number of at most `bound`."""
    listed = ", ".join(f"{name} {value:.2g}" for name, value in values.items())
    return Finding(all(value <= bound for value in values.values()), f"{listed} (at most {bound:g})", values)


def checks_of(group: str) -> dict[str, tuple[Callable, int]]:
    """The checks of a group, and how many cards each needs."""
    return importlib.import_module(GROUPS[group]).CHECKS


def serve(names: list[str], place, answers: IO) -> None:
    """Run checks, each "group/name", one after the other; a line of JSON for each."""
    for full_name in names:
        group, name = full_name.split("/")
        begin = time.perf_counter()
        function, _ = checks_of(group)[name]
        finding = dataclasses.replace(function(place), seconds=time.perf_counter() - begin)
        print(json.dumps(dataclasses.asdict(finding)), file=answers, flush=True)


@contextlib.contextmanager
def worker(command: list[str], errors: IO) -> Iterator[subprocess.Popen]:
    """A process of its own session that runs checks, ended with all that it started when the block ends."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True)
    try:
        yield process
    finally:
        end(process)
        process.wait()


def end(process: subprocess.Popen) -> None:
    """Kill a process and what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def answer(process: subprocess.Popen, limit: float) -> str:
    """The next line of a process, "" where it ended or took more than `limit` seconds and was killed."""
    timer = threading.Timer(limit, end, [process])
    timer.start()
    try:
        return process.stdout.readline()
    finally:
        timer.cancel()


def run_lane(names: list[str], place, report: Callable[[str, Finding], None]) -> None:
    """Run checks in a process, and those behind one that ended it in a new one; `report` hears of each."""
    left = list(names)
    script = Path(__file__).with_name("gpu_acceptance.py")
    command = [sys.executable, str(script), "--runs_dir", str(place.runs_dir), "--serve"]
    while left:
        with tempfile.TemporaryFile("w+", errors="replace") as errors:
            with worker([*command, *left], errors) as process:
                seconds = hear(process, left, place, report)
            if left:
                report(left.pop(0), Finding(False, last_words(errors, seconds), seconds=seconds))


def hear(process: subprocess.Popen, left: list[str], place, report: Callable[[str, Finding], None]) -> float:
    """Report what a process answers and take it off `left`, until it ends; seconds since its last answer."""
    begin = time.perf_counter()
    while left and (line := answer(process, limit_of(left[0], place.device))):
        report(left.pop(0), Finding(**json.loads(line)))
        begin = time.perf_counter()
    seconds = time.perf_counter() - begin
    with contextlib.suppress(subprocess.TimeoutExpired):  # it closes its answers before its last words
        process.wait(LAST_WORDS_SECONDS)
    return seconds


def limit_of(name: str, device: str) -> float:
    """Seconds that a check may take."""
    return TESTS_LIMIT if name.startswith("tests/") else LIMITS[device]


def last_words(errors: IO, seconds: float) -> str:
    """Why a process ended without an answer."""
    errors.seek(0)
    lines = errors.read()[-LAST_WORDS:].strip().splitlines()
    return f"ended after {seconds:.0f} s without an answer: {' / '.join(lines[-3:]) or 'no words'}"
