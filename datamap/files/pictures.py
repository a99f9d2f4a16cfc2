"""How figures look alike, and how they are written."""

import logging
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from datamap.files.outputs import atomic_writer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

SMALL = 9
BOX_STYLE = {"whis": (5, 95), "showfliers": False, "patch_artist": True}
BOX_NOTE = "box: middle half; line: median; whiskers: 5th to 95th percentile"
MISSING_GLYPH, N_SHOWN_GLYPHS = re.compile(r"Glyph (\d+) .*missing from font"), 5


def write_figure(path: Path, figure: "Figure") -> None:
    """Write a matplotlib figure as PNG with 150 dots per inch, and say once which characters its font lacks."""
    with warnings.catch_warnings(record=True) as caught, atomic_writer(path, binary=True) as file:
        warnings.simplefilter("always")
        figure.savefig(file, format="png", dpi=150)
    lacking = set()
    for warning in caught:
        glyph = MISSING_GLYPH.match(str(warning.message))
        if glyph:
            lacking.add(chr(int(glyph[1])))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if lacking:
        shown = " ".join(sorted(lacking)[:N_SHOWN_GLYPHS]) + (" …" if len(lacking) > N_SHOWN_GLYPHS else "")
        told = "%s: the font of figures lacks %d characters (%s), which are drawn as boxes; tables and pages show them."
        logger.warning(told, path.name, len(lacking), shown)
