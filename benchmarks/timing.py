"""Timing side by side: variants of one job take turns, so that what else the machine does meets them alike."""

import collections
import contextlib
import dataclasses
import functools
import multiprocessing
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

REPEATS, QUICK_REPEATS = 5, 2
# How often a running command's memory is looked at.
LOOK_SECONDS = 0.05
# Less than this is not worth a word.
LONG_SECONDS = 30


@dataclasses.dataclass(frozen=True)
class Row:
    """One variant of an item.

    Attributes:
        item, variant: what was done and how; the first variant of an item is the usual way.
        seconds: of every repeat.
        amount: units of work in one repeat, such as examples.
        unit: what is counted, in the plural; "" where nothing is.
        note: anything else worth a column, such as peak memory or agreement.
    """

    item: str
    variant: str
    seconds: tuple[float, ...]
    amount: float = 1
    unit: str = ""
    note: str = ""

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.seconds)


def take_turns(item: str, variants: dict[str, Callable[[], object]], **options) -> list[Row]:
    """Time each variant several times in turn, after one untimed call of each; the usual way comes first.

    `options` are those of `turns`.
    """
    return turns(item, {name: functools.partial(timed, call) for name, call in variants.items()}, **options)


def take_turns_apart(item: str, variants: dict[str, tuple[Callable, tuple]], **options) -> list[Row]:
    """As `take_turns`, with a process for each variant, so that what one sets for its process acts on no other.

    Args:
        variants: a function of a module and its arguments; what it returns in the process is called and timed there.
        options: as of `turns`.
    """
    calls = {}
    with contextlib.ExitStack() as stack:
        for name, (prepare, arguments) in variants.items():
            pool = stack.enter_context(ProcessPoolExecutor(1, multiprocessing.get_context("spawn")))
            calls[name] = functools.partial(timed_in, pool, prepare, arguments)
        return turns(item, calls, **options)


def turns(
    item: str,
    calls: dict[str, Callable[[], tuple[float, object]]],
    *,
    amount: float = 1,
    unit: str = "",
    repeats: int | None = None,
    compared: Callable[[object, object], str] | None = None,
) -> list[Row]:
    """Rows of calls that return their own seconds and their result.

    Args:
        compared: the note of a variant, from the usual way's result and its own.
    """
    results = {name: call()[1] for name, call in calls.items()}
    usual, *others = results
    notes = {name: compared(results[usual], results[name]) for name in others if compared is not None}
    del results
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in rounds(item, repeats or REPEATS):
        for name, call in calls.items():
            seconds[name].append(call()[0])
    return [Row(item, name, tuple(found), amount, unit, notes.get(name, "")) for name, found in seconds.items()]


def rounds(item: str, n_rounds: int) -> Iterator[int]:
    """The numbers of some rounds of an item; of long ones it is said on stderr how long the rest will take."""
    begin = time.perf_counter()
    for number in range(n_rounds):
        yield number
        spent, done = time.perf_counter() - begin, number + 1
        left = spent / done * (n_rounds - done)
        if left > LONG_SECONDS:
            print(f"{item}: {done} of {n_rounds} rounds, {left / 60:.0f} min left", file=sys.stderr, flush=True)


def timed(call: Callable[[], object]) -> tuple[float, object]:
    """(seconds, result) of a call."""
    begin = time.perf_counter()
    result = call()
    return time.perf_counter() - begin, result


def timed_in(pool: ProcessPoolExecutor, prepare: Callable, arguments: tuple) -> tuple[float, object]:
    """As `timed`, of what `prepare` returns in the pool's process; it is prepared once."""
    return pool.submit(timed_prepared, prepare, arguments).result()


def timed_prepared(prepare: Callable, arguments: tuple) -> tuple[float, object]:
    """As `timed_in`, within the process."""
    return timed(prepared(prepare, arguments))


@functools.cache
def prepared(prepare: Callable, arguments: tuple) -> Callable[[], object]:
    """What `prepare` returns, made once."""
    return prepare(*arguments)


@dataclasses.dataclass(frozen=True)
class Finished:
    """A command that ended well: its seconds, the peak of its memory in megabytes (2^20 bytes), what it wrote."""

    seconds: float
    megabytes: float
    stdout: str


def run_command(command: list[str], folder: Path | None = None, limit: float = float("inf")) -> Finished | None:
    """Run a command in a folder; None where it took more than `limit` seconds and was stopped.

    Memory is read while it runs, because what the system says of a finished child begins with its parent's.

    Raises:
        RuntimeError: the command failed.
    """
    peak = 0.0
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        begin = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=err, start_new_session=True)
        try:
            while process.poll() is None and time.perf_counter() - begin < limit:
                peak = max(peak, peak_megabytes(process.pid))
                time.sleep(LOOK_SECONDS)
            seconds = time.perf_counter() - begin
            if process.poll() is None:
                return None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        out.seek(0)
        err.seek(0)
        if process.returncode:
            raise RuntimeError(f"{' '.join(map(str, command))} ended with {process.returncode}: {err.read()[-2000:]}")
        return Finished(seconds, peak, out.read())


def peak_megabytes(pid: int) -> float:
    """The most memory that a running process and those it has started have held, each so far; 0 for one that ended."""
    here = Path(f"/proc/{pid}")
    try:
        lines = (here / "status").read_text(encoding="utf-8").splitlines()
        started = (here / f"task/{pid}/children").read_text(encoding="utf-8").split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    own = next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)
    return own + sum(peak_megabytes(int(child)) for child in started)


HEAD = ("| item | variant | seconds | least to most | speed | ratio | note |", "|---|---|---|---|---|---|---|")


def markdown(rows: list[Row]) -> str:
    """A table with a line a variant: median seconds, least to most, speed, and times as fast as the item's first."""
    lines = list(HEAD)
    n_variants = collections.Counter(row.item for row in rows)
    first: dict[str, Row] = {}
    for row in rows:
        usual = first.setdefault(row.item, row)
        speed = f"{row.amount / row.median:,.1f} {row.unit}/s" if row.unit else ""
        ratio = (row.amount / row.median) / (usual.amount / usual.median)
        shown_ratio = f"{ratio:.2f}×" if n_variants[row.item] > 1 else ""
        spread = f"{min(row.seconds):.3g} to {max(row.seconds):.3g}"
        cells = [row.item, row.variant, f"{row.median:.3g}", spread, speed, shown_ratio, row.note]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def machine() -> dict:
    """What ran the benchmark: processor, cores, memory, device, versions."""
    import torch
    import transformers

    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "")
    found = {
        "processor": model or platform.processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": len(os.sched_getaffinity(0)),
        "gigabytes": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found
