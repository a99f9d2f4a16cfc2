"""What all scripts share."""

import io
import sys


def test_characters_that_stdout_has_no_bytes_for_are_escaped(monkeypatch):
    import helpers

    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert helpers.run_script(print, ["10 \u00b5g"]) == 0
    sys.stdout.flush()
    assert written.getvalue() == b"['10 \\xb5g']\n"
