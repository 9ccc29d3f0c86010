"""An exported network (export.py) as a backend of the codec, in onnxruntime, float32: without torch."""
from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import onnxruntime as ort

from tadlib import settings
from tadlib.errors import BadInput
from tadlib.tasks import TASKS
from tadlib.tool.codec import Tiling
from tadlib.tool.models import DOWN, UP, Place


class OnnxBackend:
    """See codec.Backend. A file is loaded when it is needed. Raises BadInput where one is missing or unfit."""

    def __init__(self, place: Place):
        self.place = place
        session, path = self._up, place.folder / (place.name + UP)
        facts = session.get_modelmeta().custom_metadata_map
        try:
            self.name, self.scale, self.frames = facts["model"], int(facts["scale"]), int(facts["frames"])
            self.task = TASKS[facts["task"]]
            self.down, self.up = (Tiling(float(facts[f"{way}_reach"]), int(facts[f"{way}_grid"]))
                                  for way in ("down", "up"))
        except (KeyError, ValueError):
            raise BadInput(f"{path}: does not say what it is; only what `tadlib export` wrote does") from None

    @cached_property
    def _down(self) -> ort.InferenceSession:
        return _session(self.place.folder / (self.place.name + DOWN))

    @cached_property
    def _up(self) -> ort.InferenceSession:
        return _session(self.place.folder / (self.place.name + UP))

    def encode(self, image: np.ndarray) -> np.ndarray:
        return self._down.run(None, {"image": np.ascontiguousarray(image[None])})[0][0]

    def decode(self, codes: np.ndarray) -> np.ndarray:
        return self._up.run(None, {"small": np.ascontiguousarray(codes)})[0][0]

    def refine(self, images: np.ndarray, codes: np.ndarray, steps: int, likeness: float | None, channel: str
               ) -> np.ndarray:
        raise BadInput("refinement needs gradients, which onnxruntime has not: pip install 'tadlib[torch]' "
                       "(and no --backend onnx)")


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
