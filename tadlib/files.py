"""Picture files <-> uint8 arrays, (H, W, 3) or (H, W) for grey, and the one way in which anything is written."""
from __future__ import annotations

import errno
import functools
import io
import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin

from tadlib.errors import BadInput

SUFFIXES = {".png", ".jpg", ".jpeg", ".jfif", ".jp2", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".gif", ".tga", ".ppm",
            ".pgm", ".pnm"}  # what counts as a picture in a folder
# What is opened, whatever the file's name says: no reader that starts a program (EPS) or reads another file (WMF, FPX)
FORMATS = ("PNG", "JPEG", "MPO", "JPEG2000", "WEBP", "AVIF", "BMP", "DIB", "TIFF", "GIF", "TGA", "PPM", "PCX", "ICO")
MAX_PIXELS = 200_000_000
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


def read_picture(path: str | Path, file: io.BytesIO | None = None) -> tuple[Array, dict]:
    """A picture as `read_image` gives it, and its text chunks; from `file` if given. Raises BadInput."""
    path = Path(path)
    if file is None and path.exists() and not path.is_file():  # a pipe would keep us waiting
        raise BadInput(f"{path}: is {'a folder' if path.is_dir() else 'no ordinary file'}, not an image")
    try:
        with _reading(), Image.open(file or path, formats=_formats()) as picture:
            picture.load()  # the first frame; a truncated file fails here
            with suppress(Exception):  # sloppy EXIF says nothing of the pixels: take them as they lie
                ImageOps.exif_transpose(picture, in_place=True)
            return _rgb(picture), picture.info
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file") from None
    except PermissionError:
        raise BadInput(f"{path}: no permission to read it") from None
    except Image.DecompressionBombError:
        raise BadInput(f"{path}: more than {MAX_PIXELS:,} pixels") from None
    except Image.UnidentifiedImageError:
        raise BadInput(f"{path}: cannot be read (not an image, or of none of the formats {', '.join(_formats())})"
                       ) from None
    except Exception as error:  # a damaged file makes Pillow's readers fail in every way
        raise BadInput(f"{path}: cannot be read ({error})") from None


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


def _rgb(picture: Image.Image) -> Array:
    """A loaded picture of any mode as RGB: uint8 (H, W, 3); see read_image."""
    if picture.mode.startswith("I"):  # 16-bit grey comes as I;16 or I
        grey = np.asarray(picture, dtype=np.float64) / 257
        picture = Image.fromarray(np.clip(np.round(grey), 0, 255).astype(np.uint8))
    elif picture.mode == "F":  # float TIFF: values are taken as [0, 1]
        grey = np.nan_to_num(np.asarray(picture, dtype=np.float64)) * 255
        picture = Image.fromarray(np.clip(np.round(grey), 0, 255).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return np.array(picture.convert("RGB"))


def write_png(path: str | Path, image: Array, text: dict[str, str] | None = None) -> None:
    """Write uint8 (H, W, 3) or (H, W) as PNG, whole or not at all: an old file stays until the new one is complete."""
    with replacing(path) as temporary:
        save_png(temporary, image, text)


def save_png(path: Path, image: Array, text: dict[str, str] | None = None) -> None:
    """Write a PNG straight to its place. Raises OSError."""
    info = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        info.add_text(key, value)
    Image.fromarray(image).save(path, format="PNG", pnginfo=info)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """`with replacing(path) as temporary:` write to temporary; it takes path's place only if all went well.

    A link there is replaced, and what it points to stays as it is. Raises BadInput.
    """
    path, temporary = Path(path), None
    try:
        stays = path.is_file() and not path.is_symlink()
        if stays and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, "it is write-protected")
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:50]}.", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
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


def picture_files(folder: str | Path) -> list[Path]:
    """The picture files of a folder in natural order, hr2 before hr10. Raises BadInput where there is no folder."""
    if not Path(folder).is_dir():
        raise BadInput(f"{folder}: {'is no folder' if Path(folder).exists() else 'no such file or folder'}")
    found = (f for f in Path(folder).iterdir() if f.suffix.lower() in SUFFIXES and not f.name.startswith("."))
    return sorted(found, key=natural)


def natural(file: Path) -> list:
    """The key of natural order: hr2 before hr10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", str(file))]
