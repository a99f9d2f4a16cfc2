"""Fixtures of tests of scripts: analyze_dataset.py in this process, both its sides, figures that are not painted."""

import pytest

from datamap.files import pictures
from tests.running import in_process
from tests.sides import build


@pytest.fixture
def analyze(capsys):
    """Run analyze_dataset.py in this process; returns (exit code, stdout, stderr)."""
    import analyze_dataset

    return in_process(capsys, analyze_dataset.main)


@pytest.fixture
def blank_pictures(monkeypatch):
    """Figures are built but not painted, which takes most of a run's time."""
    monkeypatch.setattr(pictures, "write_figure", lambda path, figure: path.write_bytes(b""))


@pytest.fixture
def base(tmp_path):
    return build(tmp_path)
