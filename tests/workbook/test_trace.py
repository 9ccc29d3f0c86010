"""A walk through a network names every layer, and ends at the image."""
from __future__ import annotations

import torch

from tadlib.networks import ZOO, build
from workbook.inspection import trace


def test_trace_walks_through_every_layer():
    rows = trace(build("aetad_very_small"), torch.rand(1, 3, 16, 24), 4)

    def encoder(n, h, w):
        inner = (1, 64, h // 2, w // 2)
        words = [("c8", (1, 8, h, w)), ("c16", (1, 16, h, w)), ("u2", inner), ("=", inner), ("r", inner),
                 ("c64", inner), ("+", inner), ("c3", (1, 3, h // 2, w // 2))]
        return [(f"encoder, pass {n}", *row) for row in words]

    def decoder(n, h, w):
        inner = (1, 64, h, w)
        words = [("c64", inner), ("=", inner), ("r", inner), ("c64", inner), ("+", inner), ("c256", (1, 256, h, w)),
                 ("p2", (1, 64, 2 * h, 2 * w)), ("c3", (1, 3, 2 * h, 2 * w))]
        return [(f"decoder, pass {n}", *row) for row in words]

    assert rows == [
        ("input", "X_HR", (1, 3, 16, 24)),
        *encoder(1, 16, 24), *encoder(2, 8, 12),
        ("guidance", "+ X_GD = X_SLR", (1, 3, 4, 6)),
        *decoder(1, 4, 6), *decoder(2, 8, 12),
        ("output", "X_SHR", (1, 3, 16, 24)),
    ]


def test_trace_works_for_every_net_and_ends_at_the_image():
    ends = {}
    for name, spec in ZOO.items():
        scale = 1 if spec.task == "colour" else 2 if name == "tool_x2" else 4
        ends[name] = trace(build(name), torch.rand(1, 3, 8, 8), scale)[-1]
    assert ends == dict.fromkeys(ZOO, ("output", "X_SHR", (1, 3, 8, 8)))
