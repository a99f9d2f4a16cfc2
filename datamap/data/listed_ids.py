"""Files of a person about rows, by their ids: which are trained on."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from datamap.data.delimited import read_delimited
from datamap.errors import DataError, shortlist

if TYPE_CHECKING:
    import pandas as pd

TABLE = ".csv"


def read_text(path: str, flag: str, kind: str) -> str:
    """The text of a file, without a mark of its encoding at the beginning.

    Args:
        flag: what asked for it, for sentences.
        kind: of file that it should be.

    Raises:
        DataError: it cannot be read, or is not UTF-8.
    """
    try:
        return Path(path).expanduser().read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{flag} {path} cannot be read ({error.strerror}): give {kind}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{flag} {path} is not UTF-8 text: give {kind}, saved as UTF-8.") from error


def read_table(path: str, flag: str, columns: Sequence[str]) -> "pd.DataFrame":
    """A table with commas, semicolons or tabs that has these columns, every cell as text.

    Raises:
        DataError: it cannot be read, is no such table, or lacks a column.
    """
    kind = f"a table ({TABLE}) with the column{'s' * (len(columns) > 1)} {' and '.join(columns)}"
    frame = read_delimited(f"{flag} {path}", read_text(path, flag, kind), TABLE, columns, least_columns=1)
    missing = [name for name in columns if name not in frame]
    if missing:
        raise DataError(f"{flag} {path} has no column {missing[0]} (it has {shortlist(frame)}): give {kind}.")
    return frame


def read_ids(path: str, flag: str) -> list[str]:
    """The ids that a file lists, as text and in its order: the column `id` of a .csv, else one a line.

    Blank lines count for nothing, as no row has an empty id.

    Raises:
        DataError: the file cannot be read, is a .csv without such a column, or lists none.
    """
    if Path(path).suffix.lower() == TABLE:
        ids = read_table(path, flag, ["id"])["id"].tolist()
    else:
        text = read_text(path, flag, f"a text file with one id a line, or a {TABLE} with a column id")
        ids = [line for line in (line.removesuffix("\r") for line in text.split("\n")) if line]
    if not ids:
        raise DataError(f"{flag} {path} lists no id: list those to train on.")
    return ids


def ids_to_train_on(
    path: str,
    where: str,
    *,
    trainable: Collection[str],
    held_out: Collection[str],
    left_out: Collection[str],
) -> set[str]:
    """The ids that --train_ids lists.

    Args:
        path: of the file.
        where: the data set and split in words.
        trainable: ids of the rows that could be trained on.
        held_out: of those that this run holds out.
        left_out: of those that cannot be trained on.

    Raises:
        DataError: the file cannot be read, or lists an id twice or one that is not among `trainable`.
    """
    flag = "--train_ids"
    listed, name = read_ids(path, flag), f"{flag} {path}"
    refuse_repeated(name, listed)
    for ids, told, remedy in (
        (held_out, "this run holds out", "take them out of the file, or hold out other rows"),
        (left_out, f"the check of {where} leaves out", "take them out of the file, or mend these rows"),
    ):
        refuse_some(name, listed, [identifier for identifier in listed if identifier in ids], told, remedy)
    refuse_unknown(name, listed, trainable, where)
    return set(listed)


def refuse_repeated(name: str, listed: Sequence[str]) -> None:
    """DataError where a file lists an id more than once."""
    again = [identifier for identifier, times in Counter(listed).items() if times > 1]
    if again:
        raise DataError(f"{name} lists {len(again)} ids more than once ({first(again)}): list each once.")


def refuse_unknown(name: str, listed: Sequence[str], known: Collection[str], where: str) -> None:
    """DataError where a file lists ids that the data do not have."""
    unknown = [identifier for identifier in listed if identifier not in known]
    remedy = "take them out of the file, or name the --dataset and --train_split that they are of"
    refuse_some(name, listed, unknown, f"{where} lacks", remedy)


def refuse_some(name: str, listed: Sequence[str], wrong: Sequence[str], told: str, remedy: str) -> None:
    """DataError where some of the ids that a file lists are wrong."""
    if wrong:
        raise DataError(f"{name}: {told} {len(wrong)} of its {len(listed)} ids ({first(wrong)}): {remedy}.")


def first(ids: Iterable[str]) -> str:
    """Which of some ids is the first, for a sentence."""
    return f"{quoted(next(iter(ids)))} is the first"


def quoted(text: str) -> str:
    """A cell in quotes, since it may be empty or have blanks at its edges; cut to 40 characters."""
    return repr(text if len(text) <= 40 else f"{text[:39]}…")
