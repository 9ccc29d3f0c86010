"""An exported network (export.py) as a backend of the codec, in onnxruntime, float32: without torch."""
from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnxruntime as ort
from PIL import Image

from tadlib import settings
from tadlib.errors import BadInput
from tadlib.tasks import TASKS
from tadlib.tool.codec import Tiling
from tadlib.tool.descent import descend, large, tiles
from tadlib.tool.models import DOWN, REFINE, UP, Place
from tadlib.tool.pictures import MADE_BY

Array = np.ndarray
RESIZED = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
TO_Y = np.array([65.481, 128.553, 24.966], np.float32)  # pixels.rgb_to_y
TORCH = "pip install 'tadlib[torch]'"


class OnnxBackend:
    """See codec.Backend. A file is loaded when it is needed. Raises BadInput where one is missing or unfit."""

    def __init__(self, place: Place):
        self.place = place
        facts, path = self.facts, place.folder / (place.name + DOWN)
        try:
            self.name, self.scale, self.frames = facts["model"], int(facts["scale"]), int(facts["frames"])
            made_by = facts.get("made_by", "")
            self.weights = made_by if MADE_BY.fullmatch(made_by) else None
            self.task = TASKS[facts["task"]]
            self.down, self.up = (Tiling(float(facts[f"{way}_reach"]), int(facts[f"{way}_grid"]))
                                  for way in ("down", "up"))
        except (KeyError, ValueError):
            raise BadInput(f"{path}: does not say what it is; only what `tadlib export` wrote does") from None

    @property
    def facts(self) -> dict[str, str]:
        """The metadata (export.facts), of the smallest of the files, which all have the same."""
        return self._down.get_modelmeta().custom_metadata_map

    @cached_property
    def _down(self) -> ort.InferenceSession:
        return _session(self.place.folder / (self.place.name + DOWN))

    @cached_property
    def _up(self) -> ort.InferenceSession:
        return _session(self.place.folder / (self.place.name + UP))

    @cached_property
    def _refine(self) -> ort.InferenceSession:
        return _session(self.place.folder / (self.place.name + REFINE))

    def encode(self, image: Array) -> Array:
        return self._down.run(None, {"image": np.ascontiguousarray(image[None])})[0][0]

    def decode(self, codes: Array) -> Array:
        return self._up.run(None, {"small": np.ascontiguousarray(codes)})[0][0]

    def check(self, channel: str) -> None:
        if channel != "8bit":
            raise BadInput(f"to refine for {channel} takes torch, not onnxruntime: {TORCH}")
        path = self.place.folder / (self.place.name + REFINE)
        if not path.exists():
            raise BadInput(f"{path}: not there; `tadlib export` writes it for decoders that can be refined without "
                           f"torch; else {TORCH}")
        if self._refine.get_inputs()[0].type != "tensor(float)":  # it took whole codes only
            raise BadInput(f"{path}: of an earlier version; `tadlib export` writes it anew")

    def refine(self, images: Array, codes: Array, steps: int, likeness: float | None, channel: str) -> Array:
        self.check(channel)
        x_gd = np.stack([_guidance(image, self.scale, self.facts["guide"]) for image in images])
        of = _Loss(self, images, x_gd, likeness or 0.0)
        return _codes(descend(of, codes.astype(np.float32) / 255, steps, likeness))

    def error(self, small: Array, image: Array, corner: tuple[int, int], backward: bool) -> tuple[float, Array | None]:
        """The squared error of what the decoder makes of floats (frames, h, w, C) to the part of X_HR whose upper left
        pixel is `corner` there, summed; and its slope, (frames, h, w, C), where it is wanted.
        """
        only = ort.RunOptions()
        only.only_execute_path_to_fetches = True
        found = self._refine.run(["error", "gradient"] if backward else ["error"], {
            "small": np.ascontiguousarray(small), "image": np.ascontiguousarray(image[None]),
            "corner": np.array(corner, np.int64)}, only)
        return float(found[0]), found[1] if backward else None


@dataclass
class _Loss:
    """See descent.Objective: of floats (T, h, w, C), behind 8 bits."""

    backend: OnnxBackend
    images: Array  # uint8 (T, H, W, 3)
    guide: Array
    likeness: float
    settles = True

    def norm(self, x: Array) -> float:
        return float(np.linalg.norm(x))

    def loss(self, z: Array, step: int, backward: bool, rounded: bool = True) -> tuple[float, Array | None]:
        received = _codes(z) / np.float32(255) if rounded else z.clip(0, 1)
        scale, beside = self.backend.scale, self.backend.frames // 2
        share, error = np.zeros_like(z), 0.0
        for inside, outside in tiles(z.shape[1:3], self.backend.up):
            own, corner = large(inside, scale), large(inside, scale, outside)
            for n, image in enumerate(self.images):
                seen = np.arange(n - beside, n + beside + 1).clip(0, len(z) - 1)  # at the ends the end repeats
                part, gradient = self.backend.error(received[seen][(slice(None), *outside)], image[own],
                                                    (corner[0].start, corner[1].start), backward)
                error += part
                for frame, slope in zip(seen, gradient if gradient is not None else (), strict=False):
                    share[(frame, *outside)] += slope
        away = z - self.guide
        loss = error / self.images.size + self.likeness * float((away * away).mean())
        if not backward:
            return loss, None
        share *= (z >= 0) & (z <= 1)  # what is cut off there has no slope
        return loss, share * (z.size / self.images.size) + 2 * self.likeness * away


def _codes(z: Array) -> Array:
    return np.rint(z.clip(0, 1) * 255).astype(np.uint8)


def _guidance(image: Array, scale: int, kind: str) -> Array:
    """tasks.guidance of uint8 (H, W, 3): floats (h, w, 3), or (H, W, 1) for kind "y"."""
    if kind == "y":
        return ((image / np.float32(255)) @ TO_Y[:, None] + 16) / 255
    size = (image.shape[1] // scale, image.shape[0] // scale)
    planes = [Image.fromarray(image[..., n].astype(np.float32)).resize(size, RESIZED[kind]) for n in range(3)]
    return np.clip(np.stack([np.asarray(plane) for plane in planes], axis=-1) / np.float32(255), 0, 1)


def _session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is told below, in one line
    options.enable_mem_pattern = False  # it plans for one size; tiles and pictures have several
    options.intra_op_num_threads = settings.threads()
    try:
        return ort.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except FileNotFoundError:
        raise BadInput(f"{path}: not there; `tadlib export` writes it") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # onnxruntime has a class of error for each reason
        raise BadInput(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None
