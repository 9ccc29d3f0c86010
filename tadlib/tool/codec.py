"""Both ways through a trained network for pictures of any size, in tiles: what the commands are made of.

A picture is uint8 (H, W, 3), a grey one (H, W). What computes is the backend's affair: torch
(torch_backend.py) or onnxruntime (onnx_backend.py).
"""
from __future__ import annotations

import math
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from tadlib.errors import BadInput
from tadlib.tasks import TASKS, Task
from tadlib.tool import models

Array = np.ndarray
TILE = 768  # HR pixels a side: bounds the memory; what a decoder sees around it is computed twice (x4: 1.7 times)


class Tiling(NamedTuple):
    """What a tile needs to come out as it does in the whole."""

    reach: float  # so many pixels of the input further an output pixel sees
    grid: int  # and its corners are multiples of this


class Backend(Protocol):
    """What computes: two functions and what one has to know of them."""

    name: str  # of the model
    weights: str | None  # which: the beginning of their SHA-256; None where it has none, or nobody knows
    scale: int
    task: Task
    frames: int  # that the decoder looks at
    down: Tiling
    up: Tiling

    def encode(self, image: Array) -> Array:
        """uint8 (H, W, 3), sides multiples of the scale -> X_SLR as codes, uint8 (H/scale, W/scale, C)."""

    def decode(self, codes: Array) -> Array:
        """X_SLR, uint8 (frames, h, w, C) -> X_SHR, uint8 (h*scale, w*scale, 3)."""

    def check(self, channel: str) -> None:
        """Raises BadInput where nothing can be refined here for this channel."""

    def refine(self, images: Array, codes: Array, steps: int, likeness: float | None, channel: str) -> Array:
        """Better codes (T, h, w, C) for consecutive images (T, H, W, 3), uint8 (descent.py). Raises BadInput."""


class Codec:
    """A model in use.

    >>> codec = Codec.find("tool_x4")
    >>> small = codec.downscale(image)  # uint8 (H, W, 3) -> (ceil(H / 4), ceil(W / 4), 3)
    >>> big = codec.upscale(small, image.shape[:2])  # -> (H, W, 3)
    """

    def __init__(self, backend: Backend, tile: int = TILE):
        self.backend, self.tile = backend, tile
        self.name, self.weights, self.scale = backend.name, backend.weights, backend.scale
        self.task, self.frames = backend.task, backend.frames

    @staticmethod
    def find(name: str | None = None, scale: int | None = None, task: str | None = "sr", backend: str | None = None
             ) -> Codec:
        """The stored model of that name; without a name the tool net of that task and scale (4 if not said).

        `backend`: "torch" or "onnx" (default: torch where it is installed and the model's weights are kept). Raises
        BadInput for a model that is not stored, or is for another task (None: any will do) or scale.
        """
        if name is None:
            wanted = TASKS[task or "sr"]
            name = wanted.default.format(scale or wanted.scale)
        codec = Codec(_backend(models.place(name), backend))
        codec.name = name  # where there is only its stand-in, too: that is how it is asked for
        if task and codec.task.name != task:
            raise BadInput(f"model {name!r} is one for {' and '.join(codec.task.commands)}")
        if scale and scale != codec.scale:
            raise BadInput(f"model {name!r} scales by {codec.scale}, not by {scale}")
        return codec

    @staticmethod
    def open(folder: str | Path, backend: str | None = None) -> Codec:
        """The model in a folder: record.json and weights.safetensors, or a pair of ONNX files. Raises BadInput."""
        return Codec(_backend(models.in_folder(Path(folder)), backend))

    def downscale(self, image: Array, refine: int = 0, likeness: float | None = None, channel: str = "8bit") -> Array:
        """uint8 (H, W, 3) -> X_SLR as codes, uint8 (ceil(H / scale), ceil(W / scale), 3), or (H, W) for colour.

        `refine`: so many gradient steps for the decoder behind this channel (descent.py). Raises BadInput.
        """
        return self.downscale_clip(image[None], refine, likeness, channel)[0]

    def downscale_clip(self, images: Array, refine: int = 0, likeness: float | None = None, channel: str = "8bit"
                       ) -> Array:
        """The same for consecutive frames (T, H, W, 3), refined together where the decoder sees several."""
        padded = [_padded(image, self.scale) for image in images]
        codes = np.stack([_tiled(self.backend.encode, p, self.tile, self.backend.down, 1, self.scale) for p in padded])
        if refine:
            codes = self.backend.refine(np.stack(padded), codes, refine, likeness, channel)
        return codes if codes.shape[-1] == 3 else codes[..., 0]

    def upscale(self, codes: Array, size: tuple[int, int] | None = None) -> Array:
        """X_SLR as uint8 (h, w, 3) or (h, w) -> X_SHR as uint8 (H, W, 3); `size` (H, W) crops h*scale x w*scale.

        A decoder that looks at several frames takes them as (frames, h, w, 3) for the middle one; a single picture is
        to it a clip in which nothing moves.
        """
        codes = codes if codes.ndim > 2 else codes[..., None]  # (h, w, C)
        codes = codes if codes.ndim == 4 else np.broadcast_to(codes, (self.frames, *codes.shape))  # (frames, h, w, C)
        big = _tiled(self.backend.decode, codes, max(16, self.tile // self.scale), self.backend.up, self.scale, 1)
        return big if size is None else big[: size[0], : size[1]]


def _backend(place: models.Place, wanted: str | None) -> Backend:
    """What computes the model there: loading torch takes a second, and it may be absent. Raises BadInput."""
    has_torch = find_spec("torch") is not None
    if wanted == "torch" or (wanted is None and place.in_torch and (has_torch or not place.in_onnx)):
        if not has_torch:
            raise BadInput(f"model {place.name!r} takes torch here: pip install 'tadlib[torch]'")
        from tadlib.stored import Trained
        from tadlib.tool.torch_backend import TorchBackend

        return TorchBackend(Trained.open(place.folder))
    if not place.in_onnx:
        raise BadInput(f"{place.folder}: holds no {place.name}{models.DOWN} and {models.UP}; "
                       f"`tadlib export {place.name} FOLDER` makes them")
    from tadlib.tool.onnx_backend import OnnxBackend

    return OnnxBackend(place)


def _padded(image: Array, m: int) -> Array:
    """The last row and column of (H, W, C) repeated until both sides are multiples of m."""
    h, w = image.shape[:2]
    if h % m == 0 and w % m == 0:
        return image
    return np.pad(image, ((0, -h % m), (0, -w % m), (0, 0)), mode="edge")


def _tiled(work: Callable[[Array], Array], x: Array, tile: int, tiling: Tiling, up: int, down: int) -> Array:
    """work(x) in tiles: uint8 (..., H, W, C) -> (H*up/down, W*up/down, C'), the same as in one piece.

    Each tile is cut with `reach` more pixels on every side than it keeps, on a grid that shuffles and
    interpolation share with the whole, so what it keeps has seen all that it would have seen.
    """
    h, w = x.shape[-3:-1]
    grid = tiling.grid
    tile = max(grid, tile // grid * grid)
    halo = math.ceil(tiling.reach / grid) * grid
    if h <= tile + 2 * halo and w <= tile + 2 * halo:
        return work(x)
    from tqdm import tqdm  # here: it takes as long as a small picture's network

    out: Array | None = None
    corners = [(top, left) for top in range(0, h, tile) for left in range(0, w, tile)]
    for top, left in tqdm(corners, desc="tiles", disable=None, leave=False):
        above, before = max(0, top - halo), max(0, left - halo)
        bottom, right = min(h, top + tile), min(w, left + tile)
        piece = work(x[..., above : bottom + halo, before : right + halo, :])
        if out is None:
            out = np.empty((h * up // down, w * up // down, piece.shape[-1]), dtype=np.uint8)
        t, b, a, le, ri, be = (n * up // down for n in (top, bottom, above, left, right, before))
        out[t:b, le:ri] = piece[t - a : b - a, le - be : ri - be]
    assert out is not None  # there is at least one tile
    return out
