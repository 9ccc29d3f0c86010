"""A stored model to carry away: as a pair of ONNX files or as weights, with a card that says what it is.

The folder that is written opens with `Codec.open`; with ONNX files it, or the folder around it, is a $TAD_MODELS:

    NAME_down.onnx, NAME_up.onnx    see graph.py; the same facts in each, as metadata (`facts`)
    NAME_refine.onnx                beside them, where the decoder's slope can be written down (backward.py)
    weights.safetensors             in their place for the format "safetensors"
    record.json, scores.csv         of the run
    README.md                       the model card (card.py)
"""
from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from safetensors.torch import save

from tadlib import __version__
from tadlib.errors import BadInput
from tadlib.files import RECORD, WEIGHTS, read_record, replacing
from tadlib.networks.tad import multiply_adds
from tadlib.stored import Trained, describe, read_weights
from tadlib.tool import models
from tadlib.tool.card import card
from tadlib.tool.torch_backend import tilings

FORMATS = ("onnx", "safetensors")
LAYOUT = 'NHWC, RGB or grey, uint8; "small" of refine: float32 in [0, 1]'
LICENCE = "MIT"


def export(name: str, folder: Path, form: str = "onnx") -> list[Path]:
    """The stored model of that name into a folder, which is made; returns the files that were written.

    Raises BadInput for a network that has no ONNX graph, and for a folder that holds another model or README.
    """
    name = models.place(name).name  # a stand-in goes by its own name
    trained = models.find(name)
    _refuse_others(folder, name)
    record, parts = trained.record, {}
    if form == "onnx":
        parts = graphs(trained, name)
    elif data := weights(trained):
        parts, record = {WEIGHTS: data}, record | {"weights": describe(data)}
    files = list(parts)
    parts[RECORD] = (json.dumps(record, indent=1) + "\n").encode()
    if (trained.folder / "scores.csv").exists():
        parts["scores.csv"] = (trained.folder / "scores.csv").read_bytes()
    parts["README.md"] = card(name, trained, form, files).encode()
    for part in _stale(folder, name, record) - parts.keys():
        (folder / part).unlink(missing_ok=True)
    for part, data in parts.items():
        with replacing(folder / part) as temporary:
            temporary.write_bytes(data)
    return [folder / part for part in parts]


def graphs(trained: Trained, name: str) -> dict[str, bytes]:
    """NAME_down.onnx, NAME_up.onnx and, where there is one, NAME_refine.onnx of a run: what is in them.

    Raises BadInput where it cannot be exported.
    """
    from onnx import helper  # here: weights are exported without it

    from tadlib.tool import graph

    net, scale = trained.network(), trained.run.scale
    made = {models.DOWN: graph.down(net, scale, trained.run.guide), models.UP: graph.up(net, scale)}
    with suppress(BadInput):
        made[models.REFINE] = graph.refine(net, scale)
    for ending, model in made.items():
        model.producer_version = __version__
        helper.set_model_props(model, {"way": ending.removeprefix("_").removesuffix(".onnx")} | facts(trained, name))
    return {name + ending: model.SerializeToString(deterministic=True) for ending, model in made.items()}


def facts(trained: Trained, name: str) -> dict[str, str]:
    """What the metadata of each file says; reach and grid are those of codec.Tiling."""
    net, scale = trained.network(), trained.run.scale
    said = {"model": name, "scale": str(scale), "task": net.spec.task, "frames": str(net.head.frames),
            "guide": trained.run.guide}
    for way, count in zip(("down", "up"), multiply_adds(net, scale), strict=True):
        said[f"{way}_multiply_adds"] = f"{count:.0f}"  # for a pixel of the large picture
    for way, tiling in zip(("down", "up"), tilings(net, scale), strict=True):
        said |= {f"{way}_reach": str(tiling.reach), f"{way}_grid": str(tiling.grid)}
    sha = trained.record.get("weights", {}).get("sha256", "")
    made_by = models.weights(trained.record)
    said |= ({"weights_sha256": sha} if sha else {}) | ({"made_by": made_by} if made_by else {})
    return said | {"layout": LAYOUT, "licence": LICENCE}


def weights(trained: Trained) -> bytes:
    """A safetensors file with all weights of the run, a frozen half's too; empty where there are none."""
    if not trained.run.trains:
        return b""
    state = trained.network().state_dict()
    if state.keys() <= read_weights(trained.folder).keys():
        return (trained.folder / WEIGHTS).read_bytes()
    return save({key: values.half().contiguous() for key, values in state.items()})


def _stale(folder: Path, name: str, record: dict) -> set[str]:
    """What an earlier export of this model may have left in the folder, where it was of other weights."""
    with suppress(BadInput):  # a damaged record says nothing of what lies beside it
        if not (folder / RECORD).exists() or read_record(folder).get("weights") == record.get("weights"):
            return set()
    return {WEIGHTS, "scores.csv", *(name + ending for ending in (models.DOWN, models.UP, models.REFINE))}


def _refuse_others(folder: Path, name: str) -> None:
    """Raises BadInput where something would be lost that is no earlier export of this model."""
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder}: is a file; give a folder")
    others = [path for path in folder.glob(f"*{models.UP}") if path.name != name + models.UP]
    readme = folder / "README.md"
    if readme.exists() and f'\ntadlib_model: "{name}"\n' not in readme.read_text(errors="replace"):
        others.append(readme)
    if (folder / RECORD).exists() and not readme.exists():
        others.append(folder / RECORD)
    if others:
        raise BadInput(f"{others[0]}: is there already and is no export of {name}; give another folder")
