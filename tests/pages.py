"""What a report.html holds."""

import base64
import gzip
import json
import re


def report_data(path):
    """(the first screen, the rows) that report.html holds."""
    text = path.read_text(encoding="utf-8")
    head, rows = (re.search(rf'id="{name}-data">([^<]*)<', text)[1] for name in ("head", "row"))
    return json.loads(head), json.loads(gzip.decompress(base64.b64decode(rows)))
