"""Tables as text: fields separated by commas, semicolons or tabs, with or without quotes. Every cell stays text."""

import csv
import io
from collections.abc import Iterable

import pandas as pd

import errors

DELIMITERS = (",", ";", "\t")
FIRST_CHOICE = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
APOSTROPHES = "apostrophe_before"


def read_delimited(name: str, text: str, kind: str, known: Iterable[str]) -> pd.DataFrame:
    """The rows of a table; a line with another number of fields than the header is an error, not a guess.

    The header alone decides what separates fields: what gives most of the `known` column names, then most names.
    `kind` is the file's suffix, which decides between equals.

    Raises:
        errors.DataError: one column, a repeated one, a line with too few or too many fields, or broken quotes.
    """
    csv.field_size_limit(2**31 - 1)  # the standard 131,072 characters are too few for a long note
    header, delimiter = _header(text, kind, {column.lower() for column in known})
    if len(header) < 2:
        raise errors.DataError(
            f"{name}: the first line gives one column, {errors.shortlist(header)!r}; it must hold the names of the "
            "columns, separated by commas, semicolons or tabs."
        )
    repeated = sorted({field for field in header if header.count(field) > 1})
    if repeated:
        raise errors.DataError(f"{name}: the header has the column {errors.shortlist(repeated)} more than once.")
    read = _read_tabs if delimiter == "\t" else _read_quoted
    return _without_apostrophes(pd.DataFrame(read(name, text, delimiter, header), columns=header, dtype=object))


def _header(text: str, kind: str, known: set[str]) -> tuple[list[str], str]:
    """The names in the first line, and what separates them."""
    first = text.split("\n", 1)[0] if '"' not in text.split("\n", 1)[0] else text
    headers = {delimiter: _first_record(first, delimiter) for delimiter in DELIMITERS}

    def rank(delimiter: str) -> tuple[int, int, bool]:
        names = {field.lower() for field in headers[delimiter]}
        return len(names & known), len(names), delimiter == FIRST_CHOICE[kind]

    chosen = max(DELIMITERS, key=rank)
    return headers[chosen], chosen


def _first_record(text: str, delimiter: str) -> list[str]:
    try:
        return [field.strip() for field in next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])]
    except csv.Error:
        return []


def _read_quoted(name: str, text: str, delimiter: str, header: list[str]) -> list[list[str]]:
    """The rows below the header by RFC 4180: cells with a delimiter, a line end or a quote stand in quotes."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows = []
    try:
        next(reader)
        line = reader.line_num
        for row in reader:
            line, first_line = reader.line_num, line + 1
            if row:
                _check_length(name, first_line, row, header)
                rows.append(row)
    except csv.Error as problem:
        raise errors.DataError(f"{name}, line {reader.line_num}: broken CSV ({problem}).") from problem
    return rows


def _check_length(name: str, line: int, row: list[str], header: list[str]) -> None:
    if len(row) != len(header):
        raise errors.DataError(f"{name}, line {line}: {len(row)} fields where the header has {len(header)}.")


def _read_tabs(name: str, text: str, delimiter: str, header: list[str]) -> list[list[str]]:
    """The rows of a file with tabs, most of which know no quotes: a cell may begin with one.

    Quotes are taken for such where lines have other numbers of fields without them (a quoted tab or line end), or
    where they stand as a writer of quotes sets them (see _written_with_quotes).
    """
    lines = [line.removesuffix("\r").split(delimiter) for line in text.split("\n")]
    rows = [row for row in lines[1:] if row != [""]]
    if all(len(row) == len(header) for row in rows) and not _written_with_quotes([lines[0], *rows]):
        return rows
    try:
        return _read_quoted(name, text, delimiter, header)
    except errors.DataError:
        for number, row in enumerate(lines[1:], start=2):
            if row != [""]:
                _check_length(name, number, row, header)
        raise


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
