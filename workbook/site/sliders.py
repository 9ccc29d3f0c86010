"""Sliders without a kernel: every state is drawn here once, from the stored nets, and the page moves between them.

The states of a panel lie side by side in one picture, a row for each position of the first control and a column for
each of the second; the page (drag.py) shows one cell of it. What is said below a state is computed here, of the pixels
before they became WebP. All is done once and kept in build/sliders/ until a net, the photograph or this file changes.
"""
from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from PIL import Image
from torch import Tensor

from tadlib.channel import send
from tadlib.data import sets
from tadlib.errors import BadInput
from tadlib.evaluation.metrics import luma, psnr
from tadlib.files import RECORD, WEIGHTS, replacing
from tadlib.pixels import to_array, to_codes, to_float
from tadlib.resize import upscale
from tadlib.settings import ROOT
from tadlib.tasks import guidance
from tadlib.tool.refine import refine
from workbook import studies

BUILD = ROOT / "build" / "sliders"
PHOTOGRAPH = "astronaut"  # of the bundled sample; halved, so that all of her is there
HEAD = (slice(0, 128), slice(48, 176))  # of the halved photograph
QUALITY = 88  # of WebP; small images are lossless

BALLS = {"0": "eps_0", "10\N{NO-BREAK SPACE}%": "eps_10_observed", "100\N{NO-BREAK SPACE}%": "eps_100_observed",
         "0, trained with noise": "noise_trained"}
SIGMAS = ("0", "0.01", "0.02", "0.05", "0.11", "0.22", "0.33", "0.5")
WEIGHTS_OF_LIKENESS = {"0.03": "color_beta0.03", "0.3": "color_shuffle", "1": "color_beta1"}
GREY_SIGMAS = ("0", "0.01", "0.02", "0.05")
STEPS = ("0", "3", "10", "30")
HELD = {"as before": None, "0": 0.0, "0.3": 0.3, "1": 1.0, "3": 3.0}  # how: by the bound, or by a weight (descent.py)


@dataclass
class Panel:
    """One picture of a slider: its states, and what is said below each; uint8 (3 or 1, h, w), rows of columns.

    A panel that a control does not move has one row or one column.
    """

    title: str
    states: list[list[Tensor]]
    said: list[list[str]]
    small: bool = False  # shown as its pixels are, and kept without loss


@dataclass
class Drag:
    """A figure that is moved: its controls with the names of their positions, and its panels."""

    title: str
    controls: dict[str, Sequence[str]]
    panels: list[Panel]
    caption: str


def states(name: str, pictures: Path) -> dict[str, Any]:
    """What there is of the slider of that name, its panels' pictures copied into that folder.

    {"title", "caption", "controls": {name: positions}, "panels": [{"title", "small", "said": rows, "picture": file,
    "width", "height" of one state}]}. Raises BadInput where a net is not stored.
    """
    runs, make = SLIDERS[name]
    kept = BUILD / name
    kept.mkdir(parents=True, exist_ok=True)
    with FileLock(BUILD / f"{name}.lock"):
        told = kept / f"{_fingerprint(runs)}.json"
        if not told.exists():
            for old in kept.iterdir():
                old.unlink()
            facts = _kept(name, make(), kept)
            with replacing(told) as temporary:
                temporary.write_text(json.dumps(facts))
        pictures.mkdir(parents=True, exist_ok=True)
        for picture in kept.glob("*.webp"):
            shutil.copyfile(picture, pictures / picture.name)
        return json.loads(told.read_text())


def _fingerprint(runs: Sequence[str]) -> str:
    """What the slider is made of. Raises BadInput where a net is not stored."""
    folders = [studies.trained(run).folder for run in runs]
    parts = [Path(__file__), *sets.files("Sample"), *(f / part for f in folders for part in (RECORD, WEIGHTS))]
    total = hashlib.sha256()
    for part in parts:
        try:
            total.update(hashlib.sha256(part.read_bytes()).digest())
        except FileNotFoundError:
            raise BadInput(f"{part.parent.name} has no {part.name}") from None
    return total.hexdigest()[:16]


def _kept(name: str, drag: Drag, folder: Path) -> dict[str, Any]:
    """What is told of it; all states of each panel are written into the folder, as one picture."""
    panels = []
    for number, panel in enumerate(drag.panels):
        whole = torch.cat([torch.cat(list(row), dim=2) for row in panel.states], dim=1)
        path = folder / f"slider-{name}-{number}.webp"
        Image.fromarray(to_array(whole)).save(path, "WEBP", lossless=panel.small, quality=QUALITY, method=4)
        height, width = panel.states[0][0].shape[1:]
        panels.append({"title": panel.title, "small": panel.small, "said": panel.said, "picture": path.name,
                       "width": width, "height": height})
    return {"title": drag.title, "caption": drag.caption, "controls": drag.controls, "panels": panels}


def photograph() -> Tensor:
    """The photograph, every two by two pixels averaged: uint8 (3, 256, 256)."""
    whole = to_float(sets.load("Sample")[PHOTOGRAPH])
    return to_codes(torch.nn.functional.avg_pool2d(whole, 2))[0]


def _decibels(result: Tensor, hr: Tensor) -> str:
    return f"RGB {psnr(result, hr):.2f} dB, Y {psnr(luma(result), luma(hr)):.2f} dB"


def _still(title: str, image: Tensor, said: str) -> Panel:
    return Panel(title, [[image]], [[said]])


@torch.no_grad()
def epsilon() -> Drag:
    """The ball of the loss against noise on the small image, beside bicubic's under the same noise."""
    hr = photograph()
    x_gd = guidance(to_float(hr), 4)
    large, small = Panel("made of it", [], []), Panel("what arrives", [], [], small=True)
    plain = Panel("bicubic", [[]], [[]])
    for run in BALLS.values():
        net = studies.trained(run).network()
        slr = net.encode(to_float(hr), 4, x_gd)
        for panel in (large, small):
            panel.states.append([])
            panel.said.append([])
        for sigma in SIGMAS:
            received = _noisy(slr, sigma)
            result, arrived = to_codes(net.decode(received, 4))[0], to_codes(received)[0]
            large.states[-1].append(result)
            large.said[-1].append(_decibels(result, hr))
            small.states[-1].append(arrived)
            small.said[-1].append(f"likeness {psnr(arrived, to_codes(x_gd)[0]):.1f} dB")
    for sigma in SIGMAS:
        result = to_codes(upscale(_noisy(x_gd, sigma), 4))[0]
        plain.states[0].append(result)
        plain.said[0].append(_decibels(result, hr))
    at = SIGMAS.index("0.05")
    found = ", ".join(f"{psnr(row[at], hr):.1f} dB for ε = {ball}"
                      for ball, row in zip(BALLS, large.states, strict=True))
    return Drag("Drag it: noise on the small image", {"ε of the loss": tuple(BALLS),
                "σ of the noise": SIGMAS},
                [_still("original", hr, "256 × 256"), plain, small, large],
                f"At σ = 0.05 the enlarged image keeps {found}; bicubic under it keeps "
                f"{psnr(plain.states[0][at], hr):.1f} dB.")


def _noisy(slr: Tensor, sigma: str) -> Tensor:
    return send(slr, "8bit" if sigma == "0" else f"noise:{sigma}+8bit", torch.Generator().manual_seed(0))


@torch.no_grad()
def likeness() -> Drag:
    """How much the grey image has to be like Y, beside the colours that a net guesses from Y alone."""
    hr = photograph()
    y = guidance(to_float(hr), 1, "y")
    guessed = to_codes(studies.trained("cic_color").network().decode(send(y), 1))[0]
    colours, grey = Panel("colours from it", [], []), Panel("the grey image", [], [], small=True)
    for run in WEIGHTS_OF_LIKENESS.values():
        net = studies.trained(run).network()
        slr = net.encode(to_float(hr), 1, y)
        received = [_noisy(slr, sigma) for sigma in GREY_SIGMAS]
        colours.states.append([to_codes(net.decode(r, 1))[0] for r in received])
        colours.said.append([_decibels(result, hr) for result in colours.states[-1]])
        grey.states.append([to_codes(r)[0] for r in received])
        grey.said.append([f"likeness to Y {psnr(arrived, to_codes(y)[0]):.1f} dB" for arrived in grey.states[-1]])
    found = "; ".join(f"β = {beta}: {grey.said[n][0]}, colours {psnr(colours.states[n][0], hr):.1f} dB"
                      for n, beta in enumerate(WEIGHTS_OF_LIKENESS))
    return Drag("Drag it: colour against likeness", {"β, weight of likeness":
                tuple(WEIGHTS_OF_LIKENESS), "σ of the noise": GREY_SIGMAS},
                [_still("original", hr, "256 × 256"),
                 _still("guessed from Y alone", guessed, _decibels(guessed, hr)), grey, colours],
                f"How like Y the grey image is, and the colours that come of it, without noise: {found}.")


@torch.no_grad()
def refinement() -> Drag:
    """Gradient steps on the small image, the decoder as it is (tadlib/tool/refine.py)."""
    hr = photograph()[:, HEAD[0], HEAD[1]]
    x_gd = guidance(to_float(hr), 4)
    net = studies.trained("tool_x4").network()
    slr = net.encode(to_float(hr), 4, x_gd)
    plain = to_codes(upscale(send(x_gd), 4))[0]
    large, small = Panel("made of it", [], []), Panel("the small image", [], [], small=True)
    for steps in map(int, STEPS):
        codes = [send(refine(net, hr[None], slr, x_gd, 4, steps, held) if steps else slr) for held in HELD.values()]
        large.states.append([to_codes(net.decode(received, 4))[0] for received in codes])
        large.said.append([_decibels(result, hr) for result in large.states[-1]])
        small.states.append([to_codes(received)[0] for received in codes])
        small.said.append([f"likeness {psnr(a, to_codes(x_gd)[0]):.1f} dB" for a in small.states[-1]])
    found = ", ".join(f"{psnr(row[0], hr):.2f} dB after {steps}"
                      for steps, row in zip(STEPS, large.states, strict=True))
    return Drag("Drag it: a small image that is refined",
                {"steps of refinement": STEPS, "weight of likeness": tuple(HELD)},
                [_still("original", hr, "128 × 128"),
                 _still("bicubic", plain, _decibels(plain, hr)), small, large],
                f"Steps on the small image, none on the net: {found}, where it stays as like an ordinary one as it was "
                "(as before); or a weight says what likeness is worth.")


SLIDERS: dict[str, tuple[tuple[str, ...], Callable[[], Drag]]] = {  # the stored runs of each, and what makes it
    "epsilon": (tuple(BALLS.values()), epsilon),
    "likeness": (("cic_color", *WEIGHTS_OF_LIKENESS.values()), likeness),
    "refinement": (("tool_x4",), refinement),
}
