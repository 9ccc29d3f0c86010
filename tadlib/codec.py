"""A trained model as a tool: file in, file out, any size, in tiles.

The small image is an ordinary 8-bit PNG (for colorization a grey one of full size). Three facts travel in a text chunk
named "tad", as JSON: model, scale, and the original size, so that the result has exactly the input's size. Without the
chunk (a program that rewrote the pixels dropped it) the result is the small size times the scale.
"""
from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from tadlib.channel import send
from tadlib.guidance import guidance
from tadlib.images import (
    SUFFIXES,
    BadInput,
    from_picture,
    open_picture,
    pad_to_multiple,
    read_image,
    to_codes,
    to_float,
    write_png,
)
from tadlib.networks.zoo import radius, spec
from tadlib.runs import Trained, is_trained, stored
from tadlib.studies import ALL, run

CHUNK = "tad"
TILE = 768  # HR pixels a side: bounds the memory, costs about a tenth of the time in overlap


@dataclass(frozen=True)
class Origin:
    """What the text chunk says of a small image."""

    model: str
    scale: int
    size: tuple[int, int]  # height, width of the original

    def chunk(self) -> dict[str, str]:
        height, width = self.size
        return {CHUNK: json.dumps({"model": self.model, "scale": self.scale, "size": [width, height]})}

    @staticmethod
    def of(info: dict, small: tuple[int, int]) -> Origin | None:
        """The chunk of an opened picture; None if there is none, or if the picture was resized since."""
        try:
            facts = json.loads(info[CHUNK])
            width, height = (int(n) for n in facts["size"])
            origin = Origin(str(facts["model"]), int(facts["scale"]), (height, width))
            fits = small == tuple(-(-n // origin.scale) for n in origin.size)
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            return None
        return origin if fits else None


class Codec:
    """Both ways through a trained network, for uint8 images of any size.

    >>> codec = Codec.find("tool_x4")
    >>> small = codec.downscale(image)  # uint8 (3, H, W) -> (3, ceil(H / 4), ceil(W / 4))
    >>> big = codec.upscale(small, image.shape[-2:])  # -> (3, H, W)
    """

    def __init__(self, trained: Trained, tile: int = TILE):
        self.name, self.scale = trained.run.name, trained.run.scale
        self.guide = trained.run.guide
        self.network = trained.network()
        self.task = self.network.spec.task
        self.tile = tile
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.network.to(device)
        self.device = torch.device(device)

    @staticmethod
    def find(name: str | None = None, scale: int | None = None, profile: str = "cpu", task: str | None = "sr"
             ) -> Codec:
        """The stored model of that name; without a name the tool net of that task and scale (4 if not said).

        Raises BadInput for a model that is not stored, or is for another task (None: any will do) or scale.
        """
        if name is None:
            name = "tool_color" if task == "colour" else f"tool_x{scale or 4}"
        if name not in available(profile):
            raise BadInput(f"no model {name!r}; there are: {', '.join(available(profile)) or 'none yet'}")
        found = stored(run(name, profile))
        if task and spec(found.run.model).task != task:
            use = "downscale and upscale" if task == "colour" else "decolorize and colorize"
            raise BadInput(f"model {name!r} is one for {use}")
        if scale and scale != found.run.scale:
            raise BadInput(f"model {name!r} scales by {found.run.scale}, not by {scale}")
        return Codec(found)

    @torch.inference_mode()
    def downscale(self, image: Tensor) -> Tensor:
        """uint8 (3, H, W) -> X_SLR as uint8 codes (3, ceil(H / scale), ceil(W / scale)), or (1, H, W) for colour."""
        network, scale = self.network, self.scale

        def encode(hr: Tensor) -> Tensor:
            hr = to_float(hr).to(self.device).contiguous(memory_format=torch.channels_last)
            return to_codes(send(network.encode(hr, scale, guidance(hr, scale, self.guide))))[0].cpu()

        chain = network.encoder
        reach = radius(network.spec.encoder) if chain is not None else 0
        # each pass sees further by the factor; bicubic sees 2 LR pixels
        reach = sum(reach * network.spec.step**n for n in range(network.passes(scale))) + 2 * scale
        grid = math.lcm(scale, chain.granularity if chain is not None else 1)
        padded = pad_to_multiple(image, scale)
        return _tiled(encode, padded, self.tile, reach, grid, 1, scale)

    @torch.inference_mode()
    def upscale(self, codes: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """X_SLR as uint8 (3 or 1, h, w) -> X_SHR as uint8 (3, H, W); `size` (H, W) crops h*scale x w*scale."""
        network, scale = self.network, self.scale

        def decode(small: Tensor) -> Tensor:
            received = to_float(small).to(self.device).contiguous(memory_format=torch.channels_last)
            return to_codes(network.decode(received, scale))[0].cpu()

        reach = radius(network.spec.decoder) if network.decoder is not None else 0
        if network.spec.luma:
            reach /= scale  # it works at the large size
        reach = sum(reach / network.spec.step**n for n in range(network.passes(scale))) + 3  # lanczos sees 3
        grid = network.decoder.granularity if network.decoder is not None else 1
        big = _tiled(decode, codes, max(16, self.tile // scale), reach, grid, scale, 1)
        return big if size is None else big[:, : size[0], : size[1]]


def _tiled(work: Callable[[Tensor], Tensor], x: Tensor, tile: int, reach: float, grid: int, up: int, down: int
           ) -> Tensor:
    """work(x) in tiles: uint8 (C, H, W) -> (C', H*up/down, W*up/down), the same as in one piece.

    Each tile is cut with `reach` more pixels on every side than it keeps, on a grid that shuffles and
    interpolation share with the whole, so what it keeps has seen all that it would have seen.
    """
    h, w = x.shape[-2:]
    tile = max(grid, tile // grid * grid)
    halo = math.ceil(reach / grid) * grid
    if h <= tile + 2 * halo and w <= tile + 2 * halo:
        return work(x)
    out = None
    corners = [(top, left) for top in range(0, h, tile) for left in range(0, w, tile)]
    for top, left in tqdm(corners, desc="tiles", disable=None, leave=False):
        above, before = max(0, top - halo), max(0, left - halo)
        bottom, right = min(h, top + tile), min(w, left + tile)
        piece = work(x[:, above : bottom + halo, before : right + halo])
        if out is None:
            out = torch.empty(len(piece), h * up // down, w * up // down, dtype=torch.uint8)
        t, b, a, le, ri, be = (n * up // down for n in (top, bottom, above, left, right, before))
        out[:, t:b, le:ri] = piece[:, t - a : b - a, le - be : ri - be]
    return out


def available(profile: str = "cpu") -> list[str]:
    """Names of the stored models that have weights, baselines included."""
    return [name for name in ALL if is_trained(run(name, profile)) and stored(run(name, profile)).has_weights]


def downscale_file(codec: Codec, source: Path, target: Path) -> None:
    """Any readable picture -> its small (or grey) PNG. Raises BadInput."""
    image = read_image(source)
    write_png(target, codec.downscale(image), Origin(codec.name, codec.scale, tuple(image.shape[-2:])).chunk())


def upscale_file(codec_for: Callable[[Origin | None], Codec], source: Path, target: Path) -> None:
    """A small (or grey) picture -> the large (or coloured) PNG, by the codec that `codec_for` finds for its text chunk.

    Raises BadInput, also for a picture with colours where a grey one is needed.
    """
    picture = open_picture(source)
    codes = from_picture(picture)
    origin = Origin.of(picture.info, tuple(codes.shape[-2:]))
    codec = codec_for(origin)
    if codec.task == "colour":
        if not (codes == codes[:1]).all():
            raise BadInput(f"{source}: has colours already; colorize takes the grey picture that decolorize made")
        codes = codes[:1]
    fits = origin is not None and origin.scale == codec.scale
    write_png(target, codec.upscale(codes, origin.size if fits else None))


def pairs(source: Path, target: Path) -> list[tuple[Path, Path]]:
    """What to read and what to write: two files, or every picture of a folder to the same stem in another.

    Raises BadInput: nothing there, two pictures of one stem, a target that is no PNG, or source and target the same.
    """
    if not source.exists():
        raise BadInput(f"{source}: no such file or folder")
    if source.is_dir():
        if target.exists() and not target.is_dir():
            raise BadInput(f"{target}: is a file, but {source} is a folder: give a folder")
        if target.resolve() == source.resolve():
            raise BadInput(f"{target}: is the input folder itself: results would replace the originals")
        found = sorted(f for f in source.iterdir() if f.suffix.lower() in SUFFIXES and not f.name.startswith("."))
        if not found:
            raise BadInput(f"{source}: holds no picture")
        out = [(f, target / f"{f.stem}.png") for f in found]
        twice = [f.name for f, t in out if [o for _, o in out].count(t) > 1]
        if twice:
            raise BadInput(f"{source}: {' and '.join(twice)} would become one file; rename one")
        return out
    if target.is_dir():
        target = target / f"{source.stem}.png"
    if target.suffix.lower() != ".png":
        raise BadInput(f"{target}: results are written as PNG; give a name that ends in .png")
    if target.exists() and target.samefile(source):
        raise BadInput(f"{target}: input and output are the same file; choose another output")
    return [(source, target)]
