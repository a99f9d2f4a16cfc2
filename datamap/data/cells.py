"""What one cell of a raw table holds: nothing, a blank, a scalar; and its text."""

import math
import re
from typing import Any

import numpy as np
import pandas as pd

LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def is_missing(value: Any) -> bool:
    """Whether a cell holds nothing: None, pandas' marks, NaN."""
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value))


def is_empty(value: Any) -> bool:
    """Whether a cell holds nothing or white space."""
    return is_missing(value) or (isinstance(value, str) and not value.strip())


def is_scalar(value: Any) -> bool:
    """Whether a cell holds one text or number, or nothing."""
    return isinstance(value, (str, int, float, np.generic)) or is_missing(value)


def clean(text: str) -> str:
    """Half a character (a lone surrogate, which no file can hold) becomes U+FFFD; the length stays."""
    return text if text.isascii() else LONE_SURROGATE.sub("\ufffd", text)


def shorten(value: Any, length: int = 200) -> str:
    """A cell in one line of at most `length` characters."""
    text = " ".join(clean(str(value)).split())
    return text if len(text) <= length else text[: length - 1] + "…"
