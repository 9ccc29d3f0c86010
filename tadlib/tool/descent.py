"""A better small image for the decoder that there is: some gradient steps on X_SLR itself.

The encoder guesses X_SLR in one pass. Here the code z is moved so that what the frozen decoder makes of it, after the
channel, comes closer to X_HR, while it stays as close to X_GD as the encoder's was:

    min MSE(decode(channel(z)), X_HR)   with   MSE(z, X_GD) <= MSE(X_SLR, X_GD)

or, with a weight for likeness, of the sum MSE(...) + likeness * MSE(z, X_GD) without that bound. Decoder, file and
reader stay as they are (Xu et al. 2022, HCD; content-adaptive encoding in learned codecs). It is a spectral projected
gradient (Birgin, Martinez and Raydan 2000): steps along the gradient, as long as Barzilai and Borwein (1988) measure
them from the two points before, then back onto the ball. So there is no rate to tune, where that of Adam is ten times
larger for x4 than for colour, and no weight.

The gradient is exact, whatever the picture's size: the decoder is run and differentiated in tiles, each with the halo
that it sees, and every tile adds its share to the one gradient of the one code. So there are no seams, memory is
bounded by the tile, and a channel that is a file sees the whole picture, as it will.

What computes loss and gradient is the backend's affair: torch (refine.py) or onnxruntime (onnx_backend.py).
"""
from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Protocol

from tadlib.errors import BadInput
from tadlib.tool.codec import Tiling

SIDE = 192  # of a tile, in pixels of the decoder's layers: about a gigabyte with its gradients
FIRST = 1 / 255  # how far the first step moves the code, root mean square; from then on steps are measured
LAST = 0.7  # the last step, of its measured length: what is left is the noise of rounding
LONGER = 4.0  # a step is so many times as long as the one before, at most

Values = Any  # a backend's floats, in one shape throughout: a tensor, or an array of NumPy's
Part = tuple[slice, slice]  # rows and columns


class Objective(Protocol):
    """What is made smaller."""

    guide: Values  # X_GD

    def loss(self, z: Values, step: int, backward: bool) -> tuple[float, Values | None]:
        """L(z) and, if asked for, its gradient, times the number of values in z (so that size is no matter)."""

    def norm(self, x: Values) -> float:
        """The square root of the sum of squares."""


def descend(of: Objective, z: Values, steps: int, likeness: float | None) -> Values:
    """X_SLR -> a better one, not rounded.

    Without `likeness` the result is as like X_GD as X_SLR was, or more; with it, the objective weighs the deviation (0:
    likeness does not count). The best point is returned, as the objective measures it: not worse than the first, but
    where the channel draws noise, at each point anew. Raises BadInput for steps or likeness below zero.
    """
    if steps < 0 or not (likeness is None or 0 <= likeness < math.inf):
        raise BadInput("refinement takes a whole number of steps and a likeness, neither of them below zero")
    from tqdm import tqdm  # here: without refinement it is not needed, and takes its time

    radius = of.norm(z - of.guide) if likeness is None else math.inf
    best, least = z, math.inf
    before: tuple[Values, Values] | None = None  # the point before and the gradient there
    length = 0.0
    for n in tqdm(range(steps + 1), desc="refining", unit="step", disable=None, leave=False):
        loss, gradient = of.loss(z, n, backward=n < steps)
        if loss < least:
            best, least = z, loss
        if gradient is None:
            break
        if before is None:
            length = FIRST / max(float((gradient * gradient).mean() ** 0.5), 1e-12)
        else:
            moved, bent = z - before[0], gradient - before[1]
            curvature = float((moved * bent).sum())
            if curvature > 0:  # else the loss bends the other way there, or all is noise: go on as before
                length = min(float((moved * moved).sum()) / curvature, LONGER * length)
        before = z, gradient
        away = z - (LAST if n == steps - 1 else 1) * length * gradient - of.guide
        z = of.guide + away * min(1.0, radius / max(of.norm(away), 1e-12))
    return best


def tiles(size: tuple[int, int], tiling: Tiling) -> Iterator[tuple[Part, Part]]:
    """The parts of a small image (h, w) whose results are counted, each with the larger part that it sees."""
    side = SIDE * tiling.grid
    halo = math.ceil(tiling.reach / tiling.grid) * tiling.grid
    for top in range(0, size[0], side):
        for left in range(0, size[1], side):
            inside = (slice(top, min(size[0], top + side)), slice(left, min(size[1], left + side)))
            rows, columns = (slice(max(0, i.start - halo), min(n, i.stop + halo))
                             for i, n in zip(inside, size, strict=True))
            yield inside, (rows, columns)


def large(part: Part, scale: int, outside: Part | None = None) -> Part:
    """A part of the small image in the large one; counted from the corner of the part `outside`, if given."""
    rows, columns = (slice((i.start - o) * scale, (i.stop - o) * scale)
                     for i, o in zip(part, (s.start for s in outside) if outside else (0, 0), strict=True))
    return rows, columns
