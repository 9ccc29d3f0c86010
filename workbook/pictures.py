"""Figures as files, and as what a cell shows: bytes, a caption that lies in the file, an alt text made of it."""
from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from tadlib.errors import BadInput
from tadlib.files import replacing
from tadlib.settings import results
from workbook import figures

STAND_INS = "sample"  # in place of a profile: pictures of the sample instead of an absent set's; git ignores its folder
LARGE = "large"  # a folder beside the figures, which git ignores: for the pages, at twice the resolution
MIME = {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}
_IMAGE_DESCRIPTION = 0x010E  # of EXIF


def save(figure: Figure, name: str, profile: str, caption: str) -> Path:
    """Write results/<profile>/figures/<name>.png, or .jpg where that takes less than half the bytes; its path.

    Those are the photographs; a dozen of them as PNG would weigh megabytes, and 256 colours are enough for the rest. A
    file that has these very pixels and this caption is left alone, so that a repeated run changes nothing in git.
    Raises BadInput.
    """
    figures.theme()  # of what is looked up when it is drawn
    figures.readable(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=figures.DPI)
    drawn, png, jpeg = Image.open(buffer).convert("RGB"), io.BytesIO(), io.BytesIO()
    info = PngInfo()
    info.add_text("Description", caption)
    drawn.quantize(256, dither=Image.Dither.NONE).save(png, "PNG", optimize=True, pnginfo=info)
    drawn.save(jpeg, "JPEG", quality=85, subsampling=0, optimize=True, comment=caption.encode())
    photograph = 2 * jpeg.tell() < buffer.tell()
    data, suffix = (jpeg.getvalue(), ".jpg") if photograph else (png.getvalue(), ".png")
    path = _write(results(profile) / "figures" / f"{name}{suffix}", data)
    path.with_suffix(".jpg" if suffix == ".png" else ".png").unlink(missing_ok=True)
    _enlarge(figure, path)
    return path


def key(data: bytes) -> str:
    """By which the larger rendering of a picture is found, however its bytes came along."""
    return hashlib.sha256(data).hexdigest()[:16]


def _enlarge(figure: Figure, path: Path) -> None:
    """The figure of a picture at twice the resolution, once for each picture."""
    large = path.parent / LARGE / f"{path.stem}-{key(path.read_bytes())}.webp"
    if not large.exists():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=2 * figures.DPI, pil_kwargs={"compress_level": 1})
        for old in large.parent.glob(f"{path.stem}-{'?' * 16}.webp"):
            old.unlink()
        with replacing(large) as temporary:
            Image.open(buffer).convert("RGB").save(temporary, "WEBP", quality=85, method=2)


def animate(panels: Mapping[str, Tensor], name: str, profile: str, caption: str, stamp: str = "", rate: float = 8,
            times: int = 2) -> Path:
    """Clips (T, 3, h, w), uint8, side by side under their names, as results/<profile>/figures/<name>.webp; its path.

    `times` enlarges by repeating pixels, `rate` is in frames a second, `stamp` is written across. Raises BadInput.
    """
    figures.theme()
    frames = []
    for n in range(min(map(len, panels.values()))):
        figure = figures.side_by_side({title: clip[n] for title, clip in panels.items()}, times)
        figures.stamp(figure, stamp)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=figures.DPI)
        frames.append(Image.open(buffer).convert("RGB"))
    exif = Image.Exif()
    exif[_IMAGE_DESCRIPTION] = caption.encode()
    buffer = io.BytesIO()
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:], duration=round(1000 / rate), quality=60,
                   exif=exif)
    return _write(results(profile) / "figures" / f"{name}.webp", buffer.getvalue())


def _write(path: Path, data: bytes) -> Path:
    if not path.exists() or not _same(path.read_bytes(), data):
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    return path


def _same(one: bytes, other: bytes) -> bool:
    """Have two pictures the same pixels, frames and caption? Their bytes may differ, by who compressed them."""
    a, b = (Image.open(io.BytesIO(data)) for data in (one, other))
    frames = getattr(a, "n_frames", 1)
    if (frames, a.size, _caption(a)) != (getattr(b, "n_frames", 1), b.size, _caption(b)):
        return False
    for n in range(frames):
        a.seek(n)
        b.seek(n)
        if not np.array_equal(np.asarray(a.convert("RGB")), np.asarray(b.convert("RGB"))):
            return False
    return True


def _caption(image: Image.Image) -> str:
    if image.format == "WEBP":
        return str(image.getexif().get(_IMAGE_DESCRIPTION, "")).encode("latin-1").decode()  # as Pillow reads bytes
    found = image.info.get("Description") or image.info.get("comment") or ""
    return found.decode() if isinstance(found, bytes) else found


def caption(path: Path) -> str:
    """The caption, Markdown, that lies in a picture's file; empty where it has none."""
    with Image.open(path) as image:
        return _caption(image)


def find(name: str, profile: str) -> Path:
    """The file of a figure that was drawn before; a stand-in only where there is no other. Raises BadInput."""
    folders = [results(p) / "figures" for p in (profile, STAND_INS)]
    for folder in folders:
        for suffix in MIME:
            if (folder / f"{name}{suffix}").exists():
                return folder / f"{name}{suffix}"
    raise BadInput(f"{folders[0] / name}: not there; run the notebook that draws it first")


def bundle(path: Path, text: str) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """A picture as an output of a cell, by MIME type, and its metadata: the caption as the alt text."""
    kind, alt = MIME[path.suffix], plain(text)
    return {kind: base64.b64encode(path.read_bytes()).decode(), "text/plain": alt}, {kind: {"alt": alt}}


def plain(markdown: str) -> str:
    """Markdown of a line or two as plain text: what a screen reader says."""
    text = re.sub(r"\s*\[@[^\]]*\]", "", markdown)  # citations
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)  # links
    text = re.sub(r"\$\\?([^$]*)\$", r"\1", text)  # $\sigma$
    text = re.sub(r"\*\*|`|(?<![\w*])\*(?=\S)|(?<=\S)\*(?![\w*])", "", text)
    return " ".join(text.split())
