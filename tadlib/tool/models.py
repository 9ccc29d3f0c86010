"""The models that there are, by name: in $TAD_MODELS, in the results of the clone, inside the wheel."""
from __future__ import annotations

import csv
from pathlib import Path

from tadlib import settings
from tadlib.errors import BadInput
from tadlib.stored import STAND_IN, WEIGHTS, Trained, read_record


def find(name: str) -> Trained:
    """The stored model of that name (settings.model_folders), of several the newest; else its stand-in.

    Raises BadInput naming those that there are.
    """
    found = _folders()
    for wanted in (name, name + STAND_IN):
        if wanted in found:
            return Trained.open(found[wanted])
    raise BadInput(f"no model {name!r}; there are: {', '.join(names()) or 'none yet'}")


def names() -> list[str]:
    """The names of the stored models that can be used: those with weights, and those that need none."""
    return sorted({name.removesuffix(STAND_IN) for name in _folders()})


def _folders() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for place in settings.model_folders():
        here = {}
        for record in sorted(place.glob("*-*/record.json"), key=lambda path: path.stat().st_mtime_ns):
            if _is_whole(record.parent):
                here[record.parent.name.rpartition("-")[0]] = record.parent
        found = here | found
    return found


def _is_whole(folder: Path) -> bool:
    """Whether there are weights, or the record says that none are needed."""
    if (folder / WEIGHTS).exists():
        return True
    try:
        network = read_record(folder)["network"]
    except BadInput:
        return False
    return not (network.get("encoder") or network.get("decoder"))


def mean_scores(folder: Path, scale: int) -> dict[str, float]:
    """RGB PSNR of X_SHR, in dB, by set: the mean over images of what scores.csv holds at this scale for plain 8 bit."""
    found: dict[str, list[float]] = {}
    path = folder / "scores.csv"
    try:
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                if (row["kind"], row["channel"], row["scale"]) == ("SHRT", "8bit", str(scale)):
                    found.setdefault(row["set"], []).append(min(100.0, float(row["psnr_rgb"])))
    except FileNotFoundError:
        return {}
    except (OSError, KeyError, TypeError, ValueError, csv.Error):
        raise BadInput(f"{path}: damaged (not the scores of a run)") from None
    return {name: sum(values) / len(values) for name, values in found.items()}
