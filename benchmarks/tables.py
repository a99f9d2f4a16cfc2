"""Numbers as a table that a person reads, and both of them as files."""

import json
from pathlib import Path

from datamap.files import outputs


def markdown(rows: list[dict], digits: int) -> str:
    """Rows of the same names as a Markdown table; numbers with a point have so many digits, None is an empty cell."""
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    for row in rows:
        cells = [f"{value:.{digits}f}" if isinstance(value, float) else value for value in row.values()]
        lines.append("| " + " | ".join("" if cell is None else str(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def write(path: Path | None, numbers: object, text: str) -> None:
    """Print a text, and write it as .md beside the numbers in a .json file, where there is a path for that."""
    print(text)
    if path:
        outputs.write_text(path, json.dumps(numbers, indent=2) + "\n")
        outputs.write_text(path.with_suffix(".md"), text)
