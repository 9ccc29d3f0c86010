"""Files <-> tensors, colour spaces, crop and pad: the ground floor, everything above speaks tensors.

An *image* is a uint8 tensor (3, H, W); a *batch* is a float tensor (B, C, H, W) in [0, 1].
"""
from __future__ import annotations

import errno
import io
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, PngImagePlugin
from torch import Tensor

SUFFIXES = {".png", ".jpg", ".jpeg", ".jfif", ".jp2", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".gif", ".tga", ".ppm",
            ".pgm", ".pnm"}  # what counts as a picture in a folder
MAX_PIXELS = 200_000_000  # Pillow refuses more than twice its own limit as a decompression bomb; we say ours
Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2


class BadInput(Exception):
    """Something that the user gave cannot be used; the message is one line naming it and the reason."""


def read_image(path: str | Path) -> Tensor:
    """Read any picture file as RGB: uint8 (3, H, W).

    EXIF rotation is applied, transparency is laid over white, 16 bit is scaled to 8, grey becomes three
    equal channels, of an animation the first frame is taken, a colour profile is not applied. Raises BadInput.
    """
    return read_picture(path)[0]


def read_bytes(data: bytes, name: str) -> Tensor:
    """A picture file's bytes as `read_image` gives them; `name` is what an error calls it. Raises BadInput."""
    return read_picture(name, io.BytesIO(data))[0]


def read_picture(path: str | Path, file: io.BytesIO | None = None) -> tuple[Tensor, dict]:
    """A picture as `read_image` gives it, and its text chunks; from `file` if given. Raises BadInput."""
    path = Path(path)
    if file is None and path.exists() and not path.is_file():  # a pipe would keep us waiting
        raise BadInput(f"{path}: is {'a folder' if path.is_dir() else 'no ordinary file'}, not an image")
    try:
        with _quiet(), Image.open(file or path) as picture:
            picture.load()  # the first frame; a truncated file fails here
            with suppress(Exception):  # sloppy EXIF says nothing of the pixels: take them as they lie
                ImageOps.exif_transpose(picture, in_place=True)
            return from_picture(picture), picture.info
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file") from None
    except PermissionError:
        raise BadInput(f"{path}: no permission to read it") from None
    except Image.DecompressionBombError:
        raise BadInput(f"{path}: more than {MAX_PIXELS:,} pixels") from None
    except Exception as error:  # a damaged file makes Pillow's forty readers fail in every way
        reason = "not an image, or one of an unknown format" if "cannot identify" in str(error) else error
        raise BadInput(f"{path}: cannot be read ({reason})") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """No word of Pillow's about a picture, and none that libtiff prints by itself: what matters is raised."""
    with warnings.catch_warnings(), open(os.devnull, "w") as nowhere:
        warnings.simplefilter("ignore")
        stderr = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def from_picture(picture: Image.Image) -> Tensor:
    """A loaded picture of any mode as RGB: uint8 (3, H, W); see read_image."""
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
    return from_pil(picture.convert("RGB"))


def from_pil(picture: Image.Image) -> Tensor:
    """An RGB or grey PIL picture as uint8 (3 or 1, H, W)."""
    array = np.array(picture)
    return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1).copy())


def to_pil(image: Tensor) -> Image.Image:
    """uint8 (3 or 1, H, W) as a PIL picture."""
    array = image.cpu().numpy()
    return Image.fromarray(array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))


def write_png(path: str | Path, image: Tensor, text: dict[str, str] | None = None) -> None:
    """Write uint8 (3 or 1, H, W) as PNG, whole or not at all: an old file stays until the new one is complete."""
    with replacing(path) as temporary:
        save_png(temporary, image, text)


def save_png(path: Path, image: Tensor, text: dict[str, str] | None = None) -> None:
    """Write a PNG straight to its place. Raises OSError."""
    info = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        info.add_text(key, value)
    to_pil(image).save(path, format="PNG", pnginfo=info)


class replacing:
    """`with replacing(path) as temporary:` write to temporary; it takes path's place only if all went well."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.place = Path(os.path.realpath(path))  # through a link, which stays one

    def __enter__(self) -> Path:
        try:
            if self.place.is_file() and not os.access(self.place, os.W_OK):
                raise PermissionError(errno.EACCES, "it is write-protected")
            self.place.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f".{self.place.name[:50]}.", dir=self.place.parent)
        except OSError as error:
            raise BadInput(f"{self.path}: cannot be written ({error.strerror})") from None
        os.close(handle)
        self.temporary = Path(name)
        return self.temporary

    def __exit__(self, kind, error, trace):
        try:
            if error is None:
                umask = os.umask(0)
                os.umask(umask)
                mode = self.place.stat().st_mode & 0o777 if self.place.exists() else 0o666 & ~umask
                self.temporary.chmod(mode)  # mkstemp gives 0600
                self.temporary.replace(self.place)
        except OSError as failure:
            error = failure
        finally:
            self.temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise BadInput(f"{self.path}: cannot be written ({error.strerror or error})") from None


def to_float(image: Tensor) -> Tensor:
    """uint8 codes (..., C, H, W) -> float32 in [0, 1]; a single image gets a batch dimension."""
    x = image.float() / 255
    return x if x.ndim == 4 else x[None]


def to_codes(x: Tensor) -> Tensor:
    """Float (..., C, H, W) -> uint8 codes: clamped, and rounded, never truncated."""
    return x.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8)


def rgb_to_y(x: Tensor) -> Tensor:
    """Luma of ITU-R BT.601 in the *limited* range: (..., 3, H, W) in [0, 1] -> (..., 1, H, W) in [16, 235] / 255.

    The Y of MATLAB and scikit-image `rgb2ycbcr`, in which SR papers count; Pillow's and OpenCV's is full range,
    which lowers a PSNR by exactly 20 log10(255 / 219) = 1.32 dB.
    """
    weights = x.new_tensor([65.481, 128.553, 24.966]).view(3, 1, 1)
    return ((x * weights).sum(-3, keepdim=True) + 16) / 255


def ycbcr_to_rgb(y: Tensor, cb: Tensor, cr: Tensor) -> Tensor:
    """Inverse of BT.601 limited range; each (..., 1, H, W) in [0, 1] with chroma centred at 128 / 255."""
    y, cb, cr = (y * 255 - 16) / 219, (cb * 255 - 128) / 224, (cr * 255 - 128) / 224
    return torch.cat([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], dim=-3)


def rgb_to_chroma(x: Tensor) -> tuple[Tensor, Tensor]:
    """Cb and Cr of BT.601 limited range, each (..., 1, H, W) in [16, 240] / 255."""
    blue = x.new_tensor([-37.797, -74.203, 112.0]).view(3, 1, 1)
    red = x.new_tensor([112.0, -93.786, -18.214]).view(3, 1, 1)
    return tuple(((x * w).sum(-3, keepdim=True) + 128) / 255 for w in (blue, red))


def crop_to_multiple(x: Tensor, m: int) -> Tensor:
    """Keep the top left (..., H - H % m, W - W % m): the "modcrop" of the SR benchmarks."""
    h, w = x.shape[-2] // m * m, x.shape[-1] // m * m
    return x[..., :h, :w]


def pad_to_multiple(x: Tensor, m: int) -> Tensor:
    """Repeat the last row and column of (..., H, W) until both sides are multiples of m."""
    h, w = x.shape[-2:]
    if h % m == 0 and w % m == 0:
        return x
    rows = torch.arange(h + -h % m, device=x.device).clamp_max(h - 1)
    columns = torch.arange(w + -w % m, device=x.device).clamp_max(w - 1)
    return x[..., rows, :][..., columns]  # any dtype, which F.pad cannot


def centre_crop(x: Tensor, size: int) -> Tensor:
    """The middle (..., size, size), or less where the image is smaller."""
    top, left = max(0, (x.shape[-2] - size) // 2), max(0, (x.shape[-1] - size) // 2)
    return x[..., top : top + size, left : left + size]
