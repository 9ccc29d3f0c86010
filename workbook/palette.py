"""One colour and marker for each family of nets; within a figure dashes, or shades, tell its members apart.

Each colour has a contrast of 3 and more to white, and any two are told apart by the colour-blind
(tests/workbook/test_palette.py).
"""
from __future__ import annotations

from collections.abc import Sequence

from matplotlib import colormaps
from matplotlib.colors import to_hex

from tadlib.networks import ZOO
from workbook import studies

FAMILIES = {
    "ordinary": "#777777",  # nothing learned: bicubic, lanczos, Y, the files of others
    "one-sided": "#804739",  # an ordinary small image and a net that guesses: no_tad, VDSR, SOF-VSR, CIC
    "report": "#0072b2",  # the report's nets
    "no ReLU": "#0000cc",  # those of them without a nonlinearity
    "own": "#d55e00",  # nets made here
    "hardened": "#004759",  # trained through what may happen to a small image
}
MARKERS = dict(zip(FAMILIES, "XsoPD^", strict=True))
TERMS = dict(zip(("L1", "ball", "squared", "hinge"), (FAMILIES[f] for f in ("report", "own", "hardened", "one-sided")),
                 strict=True))  # of the latent loss
DASHES = ("-", "--", ":", "-.", (0, (1, 3)), (0, (6, 2, 1, 2, 1, 2)))


def family(name: str) -> str:
    """The family of a run, or of a network, by its name; "ordinary" of anything else."""
    run = studies.ALL.get(name)
    model = run.model if run else name
    if model not in ZOO or (run and not run.trains):
        return "ordinary"
    if run and (run.noise or run.channels):
        return "hardened"
    if model.startswith("conv_only"):
        return "no ReLU"
    if not ZOO[model].encoder:
        return "one-sided"
    return "report" if model.startswith("aetad") else "own"


def colour(name: str) -> str:
    """The colour of a run's family."""
    return FAMILIES[family(name)]


def styles(names: Sequence[str]) -> dict[str, dict]:
    """How the lines of runs are drawn: colour and marker of the family, members of one family by their dashes."""
    kin = [family(name) for name in names]
    return {name: {"color": FAMILIES[f], "marker": MARKERS[f], "markersize": 4,
                   "linestyle": DASHES[kin[:n].count(f) % len(DASHES)]}
            for n, (name, f) in enumerate(zip(names, kin, strict=True))}


def shades(count: int, hue: str = "Blues") -> list[str]:
    """Colours for members of a family that have an order, from dark to light; `hue` is one of matplotlib's ramps."""
    return [to_hex(colormaps[hue](1 - 0.38 * n / max(1, count - 1))) for n in range(count)]
