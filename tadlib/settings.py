"""Every TAD_ variable and every place, once. A variable is read, and checked, when what it says is asked for."""
from __future__ import annotations

import math
import os
import re
from pathlib import Path

from tadlib.errors import BadInput

ROOT = Path(__file__).resolve().parent.parent  # the clone, or where an installed wheel lies
BUNDLED_MODELS = ROOT / "tadlib" / "models"  # inside a wheel; in a clone there is none
TOOL_PROFILE = "cpu"  # whose runs are the models of the commands

PRECISIONS = {"auto": None, "fp32": "32-true", "bf16": "bf16-mixed", "32-true": "32-true", "bf16-mixed": "bf16-mixed"}
VARIABLES = {
    "TAD_DATA": "folder of the image sets (default: data/ of the project, and the bundled sample)",
    "TAD_RESULTS": "where runs, figures and tables go (default: results/)",
    "TAD_CHECKPOINTS": "where unfinished trainings and large sets, decoded, wait (default: build/checkpoints/)",
    "TAD_MODELS": "a folder of models to look in first: as a training leaves them, or as `tadlib export` writes them",
    "TAD_DEVICE": "cpu, cuda, cuda:1 or mps (default: the CUDA GPU if there is one)",
    "TAD_PRECISION": "fp32 or bf16, for training and refining (default: what is faster here)",
    "TAD_UNTIL": "seconds since 1970 at which a training stops and leaves its checkpoint",
    "TAD_CHECKPOINT_SECONDS": "between two checkpoints of a training (default: 60)",
    "TAD_NO_TRAINING": "if set, what is not stored is an error and is not trained",
}
HELP = "environment variables:\n" + "\n".join(f"  {name:22} {text}" for name, text in VARIABLES.items())


def _folder(name: str, default: Path) -> Path:
    return Path(os.environ.get(name) or default)


def _number(name: str, default: float) -> float:
    text = os.environ.get(name)
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not number >= 0:
        raise BadInput(f"{name}={text}: has to be a number of seconds")
    return number


def data_folder() -> Path:
    """$TAD_DATA if it is set, else the project's own data/."""
    return _folder("TAD_DATA", ROOT / "data")


def results(profile: str) -> Path:
    """Where a profile's records, tables and figures lie; $TAD_RESULTS moves all of it."""
    return _folder("TAD_RESULTS", ROOT / "results") / profile


def checkpoints(profile: str) -> Path:
    """Where unfinished trainings wait, outside git; $TAD_CHECKPOINTS moves them."""
    return _folder("TAD_CHECKPOINTS", ROOT / "build" / "checkpoints") / profile


def decoded() -> Path:
    """Where sets too large for memory lie decoded: beside the checkpoints."""
    return checkpoints("decoded")


def model_folders() -> list[Path]:
    """Where a model is looked for by its name, the first that has it counts: $TAD_MODELS, the results, the wheel."""
    named = os.environ.get("TAD_MODELS")
    return [*([Path(named)] if named else []), results(TOOL_PROFILE) / "runs", BUNDLED_MODELS]


def precision() -> str | None:
    """What training and refining compute in, "32-true" or "bf16-mixed"; None: what is faster here. Raises BadInput."""
    text = os.environ.get("TAD_PRECISION") or "auto"
    if text not in PRECISIONS:
        raise BadInput(f"TAD_PRECISION={text}: has to be {', '.join(PRECISIONS)}")
    return PRECISIONS[text]


def device() -> str | None:
    """Where networks work: "cpu", "cuda", "cuda:1", "mps"; None: the GPU if there is one. Raises BadInput."""
    text = os.environ.get("TAD_DEVICE") or None
    if text and not re.fullmatch(r"cpu|mps|cuda(:\d+)?", text):
        raise BadInput(f"TAD_DEVICE={text}: has to be cpu, cuda, cuda:1 (its number) or mps")
    return text


def put(name: str, value: object) -> None:
    """Set a variable for this process and those that it starts, as an option of a command does; None leaves it."""
    if value is not None:
        os.environ[name] = str(value)


def until() -> float:
    """When a training stops, in seconds since 1970. Raises BadInput."""
    return _number("TAD_UNTIL", math.inf)


def checkpoint_seconds() -> float:
    """Seconds between two checkpoints. Raises BadInput."""
    return _number("TAD_CHECKPOINT_SECONDS", 60)


def threads() -> int:
    """How many a session of onnxruntime takes, OMP_NUM_THREADS as torch heeds it; 0: as many as there are cores."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isdecimal() else 0


def restarts() -> int:
    """How often torchrun has started its processes again."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))


def training_forbidden() -> bool:
    return bool(os.environ.get("TAD_NO_TRAINING"))
