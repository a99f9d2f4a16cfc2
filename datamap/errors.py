"""The two ways in which the suite says no: bad data (exit code 1) and misuse of a command (exit code 2).

The message of either is one plain sentence for the person at the keyboard: what was wrong, the value,
where, and what to do next. Scripts print it without a traceback.
"""

from collections.abc import Iterable


class SuiteError(Exception):
    """A problem that the user can mend; `exit_code` is what the script ends with."""

    exit_code = 1


class DataError(SuiteError):
    """The data, a file or a model cannot be used as it is."""


class UsageError(SuiteError):
    """The command asks for something that cannot be done."""

    exit_code = 2


def shortlist(names: Iterable, most: int = 6) -> str:
    """Names for a sentence, "none" where there is none: the first few, each cut to 40 characters, and how many more."""
    names = [name if len(name) <= 40 else f"{name[:39]}…" for name in (" ".join(str(name).split()) for name in names)]
    more = [f"and {len(names) - most} more"] if len(names) > most + 1 else []
    return ", ".join([*(names[:most] if more else names), *more]) or "none"


def one_line(error: Exception) -> str:
    """An exception's text on one line, at most 300 characters, without a final full stop."""
    return (" ".join(str(error).split())[:300] or type(error).__name__).rstrip(".: ")
