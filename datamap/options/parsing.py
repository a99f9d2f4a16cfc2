"""What a command line may say: the parser, types of numbers and names, and options that several scripts have.

Only the standard library is imported at the top, so that `--help` answers at once.
"""

import argparse
import math
from collections.abc import Callable
from typing import Any, NoReturn

from datamap.data.columns import ROLES
from datamap.errors import UsageError
from datamap.options.defaults import REPORT_MAX_POINTS
from datamap.options.precision import PRECISIONS


class SentenceParser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence, and which takes no abbreviated flags."""

    def __init__(self, **kwargs: Any):
        super().__init__(allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise a UsageError instead of printing the whole usage."""
        usage_error(message)


def usage_error(message: str) -> NoReturn:
    """Raise argparse's message as a UsageError."""
    raise UsageError(f"{message} (--help lists the options).")


def named(text: str) -> str:
    """A name that is not blank."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the name is empty")
    return text


def positive(text: str) -> int:
    """A whole number from 1 to 2^31 - 1."""
    if not text.lstrip("+-").isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    number = int(text)
    if not 1 <= number < 2**31:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1 (and below 2^31)")
    return number


def whole(text: str) -> int:
    """A whole number from 0 to 2^32 - 1."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2^32 - 1")
    return int(text)


def fraction(text: str) -> float:
    """A number between 0 and 1, both excluded."""
    number = float(text)
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"{number} does not lie between 0 and 1")
    return number


def share(text: str) -> float:
    """A number from 0 to 1."""
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{number} does not lie from 0 to 1")
    return number


def above_zero(text: str) -> float:
    """A finite number above 0."""
    number = finite(text)
    if number <= 0:
        raise argparse.ArgumentTypeError(f"{number} is not above 0")
    return number


def finite(text: str) -> float:
    """A number, neither NaN nor infinite."""
    number = float(text)
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number")
    return number


class PairsAction(argparse.Action):
    """Collects NAME=VALUE words into a dict; no name and no value comes twice."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Take the words of one option."""
        pairs: dict[str, str] = {}
        for word in values:
            name, equals, value = word.partition("=")
            if not (name and equals and value.strip()):
                parser.error(f"{option_string} {word}: give {self.metavar}")
            if name in pairs or value.lower() in map(str.lower, pairs.values()):
                parser.error(f"{option_string} {word}: {name if name in pairs else value} is given twice")
            pairs[name] = value
        setattr(namespace, self.dest, pairs)


def add_columns_option(add: Callable[..., Any], note: str = "") -> None:
    """The option --columns of every script that reads a data set; `note` ends its help."""
    text = "names of columns that are not found by themselves, as in question=q context=passage answers=ans; roles of "
    text += f"qa: {', '.join(ROLES['qa'])}; of nli: {', '.join(ROLES['nli'])}{note}"
    add("--columns", metavar="ROLE=NAME", nargs="+", action=PairsAction, help=text)


def refuse_idle_columns(options: argparse.Namespace) -> None:
    """UsageError when there are names of columns, but the data set is the one that was read before, by its own."""
    if options.columns and not options.dataset:
        raise UsageError("--columns acts with --dataset: leave it out, the names that were given before are known.")


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """The options of report.html, which two scripts write."""
    text = "html: also write report.html, one page to look at the examples in a browser; none: leave it out "
    text += "(default: html)"
    parser.add_argument("--report", choices=("html", "none"), default="html", help=text)
    text = "examples on that page at most, from 1; of more, a sample is drawn with --seed in which the regions are as "
    text += f"equal as their sizes allow (default: {REPORT_MAX_POINTS})"
    parser.add_argument("--report_max_points", metavar="N", type=positive, help=text)


def refuse_idle_report_options(options: argparse.Namespace) -> None:
    """UsageError when there is a size for a report that is not written."""
    if options.report == "none" and options.report_max_points is not None:
        raise UsageError("--report_max_points acts with --report html alone: leave it out.")


def add_precision(add: Callable[..., Any], default: str) -> None:
    """The option --precision; None where it is not given, so that a twin of it can be told from it."""
    text = "of matrix products: bf16 (bfloat16; weights, losses and results stay float32), float32, or auto: bf16 "
    text += f"where the device multiplies in it (default: {default})"
    add("--precision", choices=PRECISIONS, help=text)
