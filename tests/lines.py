"""Files with a JSON object a line."""

import json
from pathlib import Path


def write_lines(path, rows):
    """Write rows; returns the path."""
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def lines_of(path):
    """Read rows."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
