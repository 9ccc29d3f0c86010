"""Picture files <-> uint8 arrays, (H, W, 3) or (H, W) for grey, and the one way in which anything is written."""
from __future__ import annotations

import errno
import fcntl
import functools
import io
import json
import math
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin

from tadlib.errors import BadInput

SUFFIXES = {".png", ".jpg", ".jpeg", ".jfif", ".jp2", ".webp", ".avif", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".tga",
            ".ppm", ".pgm", ".pnm", ".pcx"}  # what counts as a picture in a folder
# What is opened, whatever the file's name says: no reader that starts a program (EPS) or reads another file (WMF, FPX)
FORMATS = ("PNG", "JPEG", "MPO", "JPEG2000", "WEBP", "AVIF", "BMP", "DIB", "TIFF", "GIF", "TGA", "PPM", "PCX", "ICO")
MAX_PIXELS = 200_000_000
MEMORY = 3_000_000_000  # bytes that reading may take
COST = {"JPEG2000": 20, "WEBP": 20, "AVIF": 20}  # bytes a pixel that a reader takes, where it is more than 12
STRIP = 1 << 22  # pixels that are converted at a time
LEFT = ".tad-part"  # ends the name of what is half written
RECORD, WEIGHTS = "record.json", "weights.safetensors"  # what a training leaves (stored.py)
STAND_IN = "_sample"  # ends the name of a run that was trained on the bundled sample in place of absent data
Array = np.ndarray


def read_image(path: str | Path) -> Array:
    """Read any picture file as RGB: uint8 (H, W, 3).

    EXIF rotation is applied, transparency is laid over white, 16 bit is scaled to 8, grey becomes three
    equal channels, of an animation the first frame is taken, a colour profile is not applied. Raises BadInput.
    """
    return read_picture(path)[0]


def read_bytes(data: bytes, name: str) -> Array:
    """A picture file's bytes as `read_image` gives them; `name` is what an error calls it. Raises BadInput."""
    return read_picture(name, io.BytesIO(data))[0]


def read_picture(path: str | Path, file: io.BytesIO | None = None,
                 prepare: Callable[[Image.Image], Image.Image] = lambda picture: picture) -> tuple[Array, dict]:
    """A picture as `read_image` gives it, and what the file says beside it: text chunks, "exif", "dpi", how many
    "pictures" are in it. From `file` if given; `prepare` sees it upright, in the mode that it has. Raises BadInput.
    """
    path = Path(path)
    if file is None and path.exists() and not path.is_file():  # a pipe would keep us waiting
        raise BadInput(f"{path}: is {'a folder' if path.is_dir() else 'no ordinary file'}, not an image")
    try:
        with _reading(), Image.open(file or path, formats=_formats()) as picture:
            if math.prod(picture.size) * COST.get(picture.format or "", 12) > MEMORY:
                raise ValueError(f"{picture.width} x {picture.height} pixels take more than {MEMORY // 10**9} GB")
            _refuse_numbers(picture, file or path)
            info = picture.info | {"pictures": 1}
            with suppress(Exception):  # what a damaged file says beside its pixels is not needed
                info["pictures"] = getattr(picture, "n_frames", 1) if picture.format != "MPO" else 1
                if picture.format == "TIFF":
                    info["exif"] = picture.getexif().tobytes()
            picture.load()  # the first frame; a truncated file fails here
            info = picture.info | info
            for name in [n for n in ("icc_profile", "transparency", "exif") if isinstance(picture.info.get(n), str)]:
                del picture.info[name]  # a text chunk of that name is none of what Pillow takes it for
            with suppress(Exception):  # sloppy EXIF says nothing of the pixels: take them as they lie
                ImageOps.exif_transpose(picture, in_place=True)
            return as_rgb(prepare(picture)), info
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file") from None
    except PermissionError:
        raise BadInput(f"{path}: no permission to read it") from None
    except Image.DecompressionBombError:
        raise BadInput(f"{path}: more than {MAX_PIXELS:,} pixels") from None
    except Image.UnidentifiedImageError:
        known = ", ".join(_formats())
        raise BadInput(f"{path}: cannot be read (not an image, or of none of the formats {known})") from None
    except Exception as error:  # a damaged file makes Pillow's readers fail in every way
        raise BadInput(f"{path}: cannot be read ({error or type(error).__name__})") from None


def head(path: Path) -> tuple[tuple[int, int], str]:
    """How many pixels a picture file says it has in each direction, and its format; 0, "" where that cannot be read."""
    if path.is_file():  # a pipe would be waited for
        with suppress(Exception), _reading(), Image.open(path, formats=_formats()) as picture:
            return picture.size, picture.format or ""
    return (0, 0), ""


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of FORMATS that this machine's Pillow has."""
    Image.init()
    return tuple(f for f in FORMATS if f in Image.OPEN)


@contextmanager
def _reading() -> Iterator[None]:
    """Our limit in place of Pillow's, which refuses twice its own, and no word of Pillow's: what matters is raised."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _refuse_numbers(picture: Image.Image, file: io.BytesIO | Path) -> None:
    """Raises ValueError for numbers of which nobody says what is white, and those that Pillow gets wrong."""
    if picture.format == "TIFF" and picture.mode == "I":
        raise ValueError("integers that are no 8 or 16 bits without a sign: nobody says what is white")
    if picture.format == "JPEG2000" and not picture.mode.startswith("I"):
        head = (file.getvalue() if isinstance(file, io.BytesIO) else file.read_bytes())[: 1 << 20]
        at = head.find(b"\xff\x4f\xff\x51") + 42  # the code stream's size marker, and in it the depth less 1
        if at >= 42 and head[at : at + 1] and (head[at] & 127) > 7:
            raise ValueError(f"JPEG 2000 in colour with {(head[at] & 127) + 1} bits; save it as PNG or TIFF")


def as_rgb(picture: Image.Image) -> Array:
    """A loaded picture of any mode as RGB: uint8 (H, W, 3); see read_image. Raises ValueError."""
    width, height = picture.size
    out, rows, bright, dark = np.empty((height, width, 3), np.uint8), max(1, STRIP // width), 0, 0
    for top in range(0, height, rows):  # in strips: a whole copy in floats takes eight times the picture
        part = picture.crop((0, top, width, min(top + rows, height)))
        if part.mode == "F" or part.mode.startswith("I"):  # 16-bit grey comes as I;16 or I; floats are taken as [0, 1]
            grey = np.nan_to_num(np.asarray(part, dtype=np.float64)) * (255 if part.mode == "F" else 1 / 257)
            bright += int((grey > 255.5).sum()) * 2 - int((grey > 0).sum())
            dark += int((grey < -25).sum()) * 4 - grey.size
            part = Image.fromarray(np.clip(np.round(grey), 0, 255).astype(np.uint8))
        if part.has_transparency_data:
            part = Image.alpha_composite(Image.new("RGBA", part.size, "white"), part.convert("RGBA"))
        out[top : top + rows] = np.asarray(part.convert("RGB"))
    if picture.mode == "F" and (bright > 0 or dark > 0):  # highlights are; most of a picture is not
        raise ValueError(f"floats far {'above 1' if bright > 0 else 'below 0'}: bring them to the range from 0 to 1")
    return out


def write_png(path: str | Path, image: Array, text: dict[str, str] | None = None, **more: Any) -> None:
    """Write uint8 (H, W, 3) or (H, W) as PNG, whole or not at all: an old file stays until the new one is complete.

    `more` is what Pillow writes beside the pixels: exif, dpi.
    """
    with replacing(path) as temporary:
        save_png(temporary, image, text, **more)


def save_png(path: Path, image: Array, text: dict[str, str] | None = None, **more: Any) -> None:
    """Write a PNG straight to its place. Raises OSError."""
    info = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        info.add_text(key, value)
    Image.fromarray(image).save(path, format="PNG", pnginfo=info, **more)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """`with replacing(path) as temporary:` write to temporary; it takes path's place only if all went well.

    A link there is replaced, and what it points to stays as it is. Raises BadInput.
    """
    path, temporary, handle = Path(path), None, -1
    try:
        stays = path.is_file() and not path.is_symlink()
        if stays and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, "it is write-protected")
        path.parent.mkdir(parents=True, exist_ok=True)
        clear(path.parent)
        handle, name = tempfile.mkstemp(LEFT, f".{path.name[:50]}.", path.parent)
        temporary = Path(name)
        with suppress(OSError):  # not every disk has locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(path.stat().st_mode & 0o777 if stays and path.exists() else 0o666 & ~umask)  # mkstemp: 0600
        temporary.replace(path)
    except OSError as error:
        raise BadInput(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)
            os.close(handle)


@functools.cache
def clear(folder: Path) -> None:
    """Take away what killed processes left half written in a folder: nobody holds its lock any more. Once a process."""
    for left in folder.glob(f".*{LEFT}"):
        with suppress(OSError):
            if left.is_file() and not left.is_symlink():  # a pipe would keep us waiting
                with left.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    left.unlink()


def picture_files(folder: str | Path) -> list[Path]:
    """The picture files of a folder in natural order, hr2 before hr10. Raises BadInput where there is no folder."""
    if not Path(folder).is_dir():
        raise BadInput(f"{folder}: {'is no folder' if Path(folder).exists() else 'no such file or folder'}")
    found = (f for f in Path(folder).iterdir() if f.suffix.lower() in SUFFIXES and not f.name.startswith("."))
    return sorted(found, key=natural)


def natural(file: Path) -> list:
    """The key of natural order: hr2 before hr10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", str(file))]


def read_record(folder: Path) -> dict:
    """The record in a folder. Raises BadInput naming the file where it is missing or damaged."""
    path = folder / RECORD
    try:
        record = json.loads(path.read_text())
    except FileNotFoundError:
        raise BadInput(f"{path}: not there; the folder is none of a trained run") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path}: damaged ({getattr(error, 'strerror', None) or 'it is no JSON'})") from None
    if not (isinstance(record, dict) and isinstance(record.get("network"), dict) and "name" in record):
        raise BadInput(f"{path}: damaged, or of another version (it does not say what its network is)")
    return record
