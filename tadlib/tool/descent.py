"""A better small image for the decoder that there is: some gradient steps on X_SLR itself.

The encoder guesses X_SLR in one pass. Here the code z is moved so that what the frozen decoder makes of it, after the
channel, comes closer to X_HR, while it stays as close to X_GD as the encoder's was:

    min MSE(decode(channel(z)), X_HR)   with   MSE(z, X_GD) <= MSE(X_SLR, X_GD)

or, with a weight for likeness, of the sum MSE(...) + likeness * MSE(z, X_GD) without that bound. Decoder, file and
reader stay as they are (Xu et al. 2022, HCD; content-adaptive encoding in learned codecs). It is a spectral projected
gradient (Birgin, Martinez and Raydan 2000): steps along the gradient, as long as Barzilai and Borwein (1988) measure
them from the two points before, then back onto the ball. So there is no rate to tune, where that of Adam is ten times
larger for x4 than for colour, and no weight.

A file holds whole codes. The first steps go as if rounding were nothing: the gradient is taken of the rounded code and
moves the one that is not. Of more than ten steps the last two thirds let the code settle: at step k of K whatever lies
within k / (2 K) of a whole code is put there and stays, and what is still free makes up for it, as weights are rounded
part by part (Zhou et al. 2017). When to begin was chosen on held-out crops.

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
LAST = 0.7  # the last step, of its measured length, where the code does not settle: what is left is rounding's noise
LONGER = 4.0  # a step is so many times as long as the one before, at most

Values = Any  # a backend's floats, in one shape throughout: a tensor, or an array of NumPy's
Part = tuple[slice, slice]  # rows and columns


class Objective(Protocol):
    """What is made smaller."""

    guide: Values  # X_GD

    @property
    def settles(self) -> bool:
        """Whether a code may settle: what arrives is the code rounded, and nothing else."""

    def loss(self, z: Values, step: int, backward: bool, rounded: bool) -> tuple[float, Values | None]:
        """L(z), of what the channel makes of z or, where not `rounded`, of z itself; if asked for its gradient, times
        the number of values in z (so that size is no matter).
        """

    def norm(self, x: Values) -> float:
        """The square root of the sum of squares."""


def descend(of: Objective, z: Values, steps: int, likeness: float | None) -> Values:
    """X_SLR -> a better one, not rounded unless it has settled.

    Without `likeness` the result is as like X_GD as X_SLR was, or more, but for its rounding; with it, the objective
    weighs the deviation (0: likeness does not count). The best point is returned, as the objective measures it: not
    worse than the first, but where the channel draws noise, at each point anew. Raises BadInput for steps or likeness
    below zero.
    """
    if steps < 0 or not (likeness is None or 0 <= likeness < math.inf):
        raise BadInput("refinement takes a whole number of steps and a likeness, neither of them below zero")
    from tqdm import tqdm  # here: without refinement it is not needed, and takes its time

    radius = of.norm(z - of.guide) if likeness is None else math.inf
    best, least = z, math.inf
    before: tuple[Values, Values] | None = None  # the point before and the gradient there
    length, free = 0.0, z * 0 + 1  # free: 1 for each value that has not settled, else 0
    first = settles_from(steps) if of.settles else steps
    for n in tqdm(range(steps + 1), desc="refining", unit="step", disable=None, leave=False):
        whole = n < first or n == steps  # else some values lie between the codes that a file can hold
        loss, gradient = of.loss(z, n, backward=n < steps, rounded=whole)
        if whole and loss < least:
            best, least = z, loss
        if gradient is None:
            break
        gradient = gradient * free
        if before is None:
            length = FIRST / max(float((gradient * gradient).mean() ** 0.5), 1e-12)
        else:
            moved, bent = (z - before[0]) * free, (gradient - before[1]) * free
            curvature = float((moved * bent).sum())
            if curvature > 0:  # else the loss bends the other way there, or all is noise: go on as before
                length = min(float((moved * moved).sum()) / curvature, LONGER * length)
        before = z, gradient
        away = z - (LAST if n == steps - 1 and first == steps else 1) * length * gradient - of.guide
        room = max(0.0, radius**2 - of.norm(away * (1 - free)) ** 2) ** 0.5  # in the ball, beside what has settled
        z = of.guide + away * (1 - free + free * min(1.0, room / max(of.norm(away * free), 1e-12)))
        if n >= first:
            codes = (z * 255).round().clip(0, 255)
            free = free * (abs(z * 255 - codes) > 0.5 * (n + 1 - first) / (steps - first))
            z = free * z + (1 - free) * codes / 255
    return best


def settles_from(steps: int) -> int:
    """The first of so many steps at which a code settles; `steps` itself where it never does."""
    return steps // 3 if steps > 10 else steps


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
