"""The models that there are, by name: in $TAD_MODELS, in the results of the clone, inside the wheel.

A model is a folder with the weights of a run, or a pair NAME_down.onnx and NAME_up.onnx (export.py), or both; with
NAME_refine.onnx the second can refine as well.
"""
from __future__ import annotations

import csv
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tadlib import settings
from tadlib.errors import BadInput
from tadlib.files import RECORD, STAND_IN, WEIGHTS, read_record

if TYPE_CHECKING:
    from tadlib.stored import Trained

DOWN, UP, REFINE = "_down.onnx", "_up.onnx", "_refine.onnx"


class Place(NamedTuple):
    """Where a model lies, and what it is called there."""

    name: str
    folder: Path

    @property
    def in_torch(self) -> bool:
        """Whether there are weights, or the record says that none are needed."""
        if (self.folder / WEIGHTS).exists():
            return True
        try:
            network = read_record(self.folder)["network"]
        except BadInput:
            return False
        return not (network.get("encoder") or network.get("decoder"))

    @property
    def in_onnx(self) -> bool:
        return all((self.folder / (self.name + way)).exists() for way in (DOWN, UP))


def place(name: str) -> Place:
    """Where the model of that name lies (settings.model_folders), of several the newest; else its stand-in.

    Raises BadInput naming those that there are.
    """
    found = _places()
    for wanted in (name, name + STAND_IN):
        if wanted in found:
            return found[wanted]
    raise BadInput(f"no model {name!r}; there are: {', '.join(names()) or 'none yet'}")


def find(name: str) -> Trained:
    """The stored run of that name, for torch. Raises BadInput."""
    from tadlib.stored import Trained

    return Trained.open(place(name).folder)


def names() -> list[str]:
    """The names of the models that can be used: those with weights or ONNX files, and those that need none."""
    return sorted({name.removesuffix(STAND_IN) for name in _places()})


def in_folder(folder: Path) -> Place:
    """The one model in a folder. Raises BadInput."""
    pairs = [path.name.removesuffix(UP) for path in folder.glob(f"*{UP}")]
    return Place(pairs[0] if len(pairs) == 1 else str(read_record(folder)["name"]), folder)


def _places() -> dict[str, Place]:
    found: dict[str, Place] = {}
    for top in settings.model_folders():
        here = {}
        for path in [*top.glob(f"*{UP}"), *top.glob(f"*/*{UP}")]:
            pair = Place(path.name.removesuffix(UP), path.parent)
            if pair.in_onnx:
                here[pair.name] = pair
        for record in sorted([*top.glob(RECORD), *top.glob(f"*/{RECORD}")], key=lambda path: path.stat().st_mtime_ns):
            run = Place(_called(record.parent), record.parent)
            if run.name and run.in_torch:
                here[run.name] = run
        found = here | found
    return found


def _called(folder: Path) -> str:
    """The name of the model in a folder: that of a run's folder, else what the record says; "" where it is no name."""
    if run := re.fullmatch(r"(.+)-[0-9a-f]{8}", folder.name):
        return run[1]
    try:
        name = str(read_record(folder)["name"])
    except BadInput:
        return ""
    return name if re.fullmatch(r"[\w.-]{1,100}", name, re.ASCII) else ""


def facts(name: str) -> dict[str, Any]:
    """What there is to say of a model: what it is for, network, scale, params, multiply-adds for a pixel of the large
    picture, steps of all trainings that led to it (where their records are here), and the PSNR by set. Raises BadInput.
    """
    here = place(name)
    folder = here.folder
    if not (folder / RECORD).exists():  # an ONNX pair that someone carried here alone
        return {"model": name}
    record = read_record(folder)
    try:
        scale = int(record["scale"])
        said: dict[str, Any] = {"model": name, "for": purpose(record), "network": str(record["model"]), "scale": scale,
                "params": int(record["params"]), "steps": int(record["steps"])}
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        raise BadInput(f"{folder / RECORD}: not the record of a run") from None
    try:
        said["steps"] += sum(int(read_record(earlier)["steps"]) for earlier in before(folder))
    except (BadInput, KeyError, TypeError, ValueError, OverflowError, RecursionError):
        del said["steps"]  # how many there were before is not known
    return said | _cost(here, record) | {"psnr_rgb": mean_scores(folder, scale)}


def before(folder: Path) -> list[Path]:
    """The folders of the trainings that one goes on from, back to the first. Raises BadInput if a record is none."""
    earlier = [folder.with_name(str(start)) for start in read_record(folder).get("start", [])]
    return [found for start in earlier for found in (start, *before(start))]


def weights(record: dict[str, Any]) -> str | None:
    """Which weights make a model's small pictures, as those say it (pictures.MADE_BY); None: none do, or a part of them
    is told of elsewhere.
    """
    said = record.get("weights")
    sha = said.get("sha256") if isinstance(said, dict) else None
    own = record.get("network", {}).get("encoder") and not record.get("frozen")
    return sha[:8] if own and isinstance(sha, str) and re.fullmatch(r"[0-9a-f]{64}", sha) else None


def purpose(record: dict[str, Any]) -> str:
    """What a model is for, in words, from its record: "tool: pictures shrunk by 4 and enlarged again"."""
    network, scale = record["network"], int(record["scale"])
    colour, pictures = network["task"] == "colour", "pictures"
    if network["head"].startswith(("clip", "vsr")):
        pictures = "frames"
    if network["encoder"]:
        words = "colours hidden in grey pictures and found again" if colour else (
            f"{pictures} shrunk by {scale} and enlarged again")
    elif scale == 1 and not network["decoder"]:
        words = f"{'grey ' * colour}pictures as they are"
    else:
        words = f"ordinary grey {pictures} coloured" if colour else f"ordinary small {pictures} enlarged by {scale}"
    kinds = [channel.partition(":")[0] for channel in record.get("channels") or ()]
    kinds += ["noise"] if float(record.get("noise") or 0) > 0 else []
    met = ", ".join(dict.fromkeys(kind for kind in kinds if kind not in ("8bit", "float")))
    return f"{network['family']}: {words}" + (f", through {met}" if met else "")


def _cost(here: Place, record: dict[str, Any]) -> dict[str, list[float]]:
    """The multiply-adds of both ways: as the ONNX files say, else as torch counts them; nothing where neither can."""
    try:
        if here.in_onnx:
            from tadlib.tool.onnx_backend import OnnxBackend

            said = OnnxBackend(here).facts
            return {"multiply_adds": [float(said[f"{way}_multiply_adds"]) for way in ("down", "up")]}
        if find_spec("torch") is None:
            return {}
        import torch

        from tadlib.networks import TAD, Spec
        from tadlib.networks.tad import multiply_adds

        with torch.device("meta"):  # shapes without numbers
            return {"multiply_adds": [*multiply_adds(TAD(Spec.of(record["network"])), int(record["scale"]))]}
    except (BadInput, LookupError, ValueError, TypeError, AttributeError, ArithmeticError, RuntimeError):
        return {}


def mean_scores(folder: Path, scale: int, kind: str = "SHRT", column: str = "psnr_rgb") -> dict[str, float]:
    """By set: the mean over images of what scores.csv holds at this scale for plain 8 bit; PSNR, in dB, at most 100."""
    found: dict[str, list[float]] = {}
    path = folder / "scores.csv"
    try:
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                if (row["kind"], row["channel"], row["scale"]) == (kind, "8bit", str(scale)):
                    found.setdefault(row["set"], []).append(min(100.0, float(row[column])))
    except FileNotFoundError:
        return {}
    except (OSError, KeyError, TypeError, ValueError, csv.Error):
        raise BadInput(f"{path}: damaged (not the scores of a run)") from None
    return {name: sum(values) / len(values) for name, values in found.items()}
