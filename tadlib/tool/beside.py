"""What stands in a picture file beside its pixels and goes with them: date, camera, resolution."""
from __future__ import annotations

import math
import warnings
from contextlib import suppress
from typing import Any

from PIL import Image

EXIF, GPS = 0x8769, 0x8825  # the tags below which more of them lie
MAIN = (271, 272, 282, 283, 296, 306)  # maker and model, resolution and its unit, date
TAKEN = (33434, 33437, 34855, 36867, 36868, 36880, 36881, 36882, 37386, 37520, 37521, 37522, 42035, 42036)
LONGEST = 200  # characters


def beside(info: dict, location: bool = False) -> dict[str, Any]:
    """What `files.read_picture` found -> what `files.write_png` writes: date, camera, resolution; the place only with
    `location`. Whatever is damaged is left out.
    """
    found, kept = Image.Exif(), Image.Exif()
    more: dict[str, Any] = {}
    with suppress(Exception), warnings.catch_warnings(action="ignore"):  # Pillow's readers fail in every way
        found.load(info["exif"])
        kept.update({tag: found[tag] for tag in MAIN if _is_fine(found.get(tag))})
        below = found.get_ifd(EXIF)
        if taken := {tag: below[tag] for tag in TAKEN if _is_fine(below.get(tag))}:
            kept[EXIF] = taken
        if location and (place := {tag: value for tag, value in found.get_ifd(GPS).items() if _is_fine(value)}):
            kept[GPS] = place
        if len(kept):
            more["exif"] = kept.tobytes()
    with suppress(KeyError, TypeError, ValueError):
        across, down = (float(n) for n in info["dpi"])
        if all(math.isfinite(n) and 1 <= n <= 1e6 for n in (across, down)):
            more["dpi"] = (across, down)
    return more


def _is_fine(value: object) -> bool:
    """Whether there is a value, and it is of a size that one has."""
    return value is not None and len(value if isinstance(value, str | bytes | tuple) else "") <= LONGEST
