"""Tables as text: fields separated by commas, semicolons or tabs, with or without quotes. Every cell stays text."""

import csv
import io
import logging
import re
from collections.abc import Iterable

import pandas as pd

from datamap import errors

logger = logging.getLogger(__name__)

DELIMITERS = (",", ";", "\t")
FIRST_CHOICE = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
APOSTROPHES = "apostrophe_before"


def read_delimited(name: str, text: str, kind: str, known: Iterable[str], *, least_columns: int = 2) -> pd.DataFrame:
    """The rows of a table; a line with another number of fields than the header is an error, not a guess.

    The header alone decides what separates fields: what gives most of the `known` column names, then most names.
    `kind` is the file's suffix, which decides between equals. A line before it such as `sep=;` decides by itself.

    Raises:
        errors.DataError: fewer than `least_columns`, a repeated one, a line with too few or too many fields, or broken
            quotes.
    """
    csv.field_size_limit(2**31 - 1)  # the standard 131,072 characters are too few for a long note
    declared = re.match(r"sep=([,;\t])(?=\r?\n)", text)
    if declared:
        text = text[declared.end() :]  # its line end stays, so that lines keep their numbers
    known = {column.lower() for column in known}
    header, delimiter = _header(text, kind, known, declared and declared[1])
    if len(header) < least_columns:
        raise errors.DataError(
            f"{name}: the first line gives one column, {errors.shortlist(header)!r}; it must hold the names of the "
            "columns, separated by commas, semicolons or tabs."
        )
    repeated = sorted({field for field in header if header.count(field) > 1})
    if repeated:
        raise errors.DataError(f"{name}: the header has the column {errors.shortlist(repeated)} more than once.")
    rows = _read_tabs(name, text, header, known) if delimiter == "\t" else _read_quoted(name, text, delimiter, header)
    return _without_apostrophes(pd.DataFrame(rows, columns=header, dtype=object))


def _header(text: str, kind: str, known: set[str], declared: str | None) -> tuple[list[str], str]:
    """The names in the first line that is not blank, and what separates them."""
    headers = {delimiter: _first_record(text, delimiter) for delimiter in DELIMITERS}

    def rank(delimiter: str) -> tuple[bool, int, int, bool]:
        names = {field.lower() for field in headers[delimiter]}
        return delimiter == declared, len(names & known), len(names), delimiter == FIRST_CHOICE[kind]

    chosen = max(DELIMITERS, key=rank)
    return headers[chosen], chosen


def _first_record(text: str, delimiter: str) -> list[str]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return [field.strip() for field in next(filter(None, reader), [])]
    except csv.Error:
        return []


def _read_quoted(name: str, text: str, delimiter: str, header: list[str]) -> list[list[str]]:
    """The rows below the header by RFC 4180: cells with a delimiter, a line end or a quote stand in quotes."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, line = [], 0
    try:
        for row in reader:
            first_line, line = line + 1, reader.line_num
            if row:
                _check_length(name, first_line, row, header)
                rows.append(row)
    except csv.Error as problem:
        raise errors.DataError(f"{name}, line {reader.line_num}: broken CSV ({problem}).") from problem
    return rows[1:]


def _check_length(name: str, line: int, row: list[str], header: list[str]) -> None:
    if len(row) != len(header):
        raise errors.DataError(f"{name}, line {line}: {len(row)} fields where the header has {len(header)}.")


def _read_tabs(name: str, text: str, header: list[str], known: set[str]) -> list[list[str]]:
    """The rows of a file with tabs, most of which know no quotes: a cell may begin with one.

    Quotes are taken for such where lines have other numbers of fields without them (a quoted tab or line end), or
    where they stand as a writer of quotes sets them (see _written_with_quotes). Lines that end early are filled up
    where they lack nothing but columns of unknown names, such as MNLI's label2 to label5.
    """
    lines = [line.removesuffix("\r").split("\t") for line in text.split("\n")]
    numbered = [(number, row) for number, row in enumerate(lines, start=1) if row != [""]]
    rows = [row for _, row in numbered]
    if all(len(row) == len(header) for row in rows) and not _written_with_quotes(rows):
        return rows[1:]
    try:
        return _read_quoted(name, text, "\t", header)
    except errors.DataError:
        needed = [place for place, column in enumerate(header, start=1) if column.lower() in known] or [len(header)]
        for number, row in numbered:
            if not needed[-1] <= len(row) <= len(header):
                _check_length(name, number, row, header)
        if all(len(row) == len(header) for row in rows):
            raise
        logger.warning("%s: lines with fewer fields than the header have empty cells at their ends.", name)
        return [row + [""] * (len(header) - len(row)) for row in rows[1:]]


def _written_with_quotes(lines: list[list[str]]) -> bool:
    """Whether a table whose cells hold neither tabs nor line ends was written with quotes around some of its cells.

    Then every cell with a quote begins and ends with one and doubles those between; and some quote is doubled, a whole
    column is quoted, or all cells with a comma are and no others (as spreadsheets do; told from three cells on). A cell
    like `"Yes."` alone is no sign: no such writer has a reason to quote it.
    """
    cells = [cell for row in lines for cell in row if '"' in cell]
    if not cells or not all(map(_is_quoted, cells)):
        return False
    doubled = any('""' in cell[1:-1] for cell in cells)
    whole_column = any(all(cell.startswith('"') for cell in column) for column in zip(*lines, strict=True))
    by_commas = all(("," in cell) == cell.startswith('"') for row in lines for cell in row)
    return doubled or whole_column or (by_commas and len(cells) > 2)


def _is_quoted(cell: str) -> bool:
    return len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in cell[1:-1].replace('""', "")


def _without_apostrophes(frame: pd.DataFrame) -> pd.DataFrame:
    """The table as it was before report.html put an apostrophe before what a spreadsheet would take for a formula.

    A column `apostrophe_before` names, for every row, the columns in which that was done; it is dropped.
    """
    if APOSTROPHES not in frame:
        return frame
    changed = [set(names.split()) for names in frame[APOSTROPHES]]
    plain = {
        column: [text[1:] if column in names and text.startswith("'") else text
                 for text, names in zip(frame[column], changed, strict=True)]
        for column in frame.columns if column != APOSTROPHES
    }  # fmt: skip
    return pd.DataFrame(plain, dtype=object)
