"""What both pages are put together from: data that no text can break out of, and a policy that lets nothing else run.

A page needs nothing but itself: its content security policy lets no script run but its own, and no request leave. Texts
of the data set reach it as compressed base64 or escaped JSON and are only ever shown as text.
"""

import base64
import gzip
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from datamap.files.outputs import json_ready

# Characters that could end a script element or a line of a script.
ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def embedded(value: Any) -> str:
    """A value as JSON that may stand inside a script element, whatever its texts hold."""
    return json.dumps(json_ready(value), ensure_ascii=False, allow_nan=False).translate(ESCAPES)


def packed(value: Any) -> str:
    """A value as JSON, compressed with gzip, as base64: ASCII letters, digits, "+", "/" and "=" alone."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode("utf-8"), compresslevel=6, mtime=0)).decode("ascii")


def joined_scripts(paths: Iterable[Path]) -> str:
    """Scripts as one, strict and with no name that another script sees."""
    own = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    return f'"use strict";\n(() => {{\n{own}\n}})();'


def joined_styles(paths: Iterable[Path]) -> str:
    """Styles as one."""
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def script_hash(script: str) -> str:
    """The source expression of a content security policy that lets this script run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode('utf-8')).digest()).decode('ascii')}'"


def policy(scripts: Iterable[str]) -> str:
    """The content security policy of a page with these scripts."""
    return (
        f"default-src 'none'; script-src {' '.join(map(script_hash, scripts))}; style-src 'unsafe-inline'; "
        "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
    )
