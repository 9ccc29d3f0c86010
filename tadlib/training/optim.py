"""Muon: momentum, orthogonalised (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks").

torch.optim.Muon takes 2-D weights only and iterates in bf16, which costs quality here and, on a CPU without bf16
instructions, doubles the step. This one sees a convolution as a matrix out x (in * 9), iterates in float32, and
takes all weights of one shape at once. On 2-D weights it agrees with torch's (a test holds it there).
"""
from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

from tadlib.networks import TAD
from tadlib.run import Run

_A, _B, _C = 3.4445, -4.7750, 2.0315  # the quintic whose iteration drives all singular values towards 1


def orthogonalize(matrices: Tensor, steps: int = 5) -> Tensor:
    """(N, rows, columns) -> the same with singular values near 1 (0.7 to 1.2), by Newton-Schulz iterations.

    One iteration is x -> p(G) x with G = x x' and p(G) = A + B G + C G^2. All p(G) commute, so the iterations run
    on the small square G -> p(G) G p(G) alone, and x is multiplied once, by the product: a third of the work at 64x576.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    gram = x @ x.mT
    eye = torch.eye(gram.shape[-1], dtype=x.dtype, device=x.device)
    product = eye
    for _ in range(steps):
        p = _A * eye + _B * gram + _C * gram @ gram
        product = p @ product
        gram = p @ gram @ p
    x = product @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Muon for weights of two or more dimensions, Nesterov momentum, update scaled to Adam's size.

    Each update is lr * 0.2 * sqrt(max(rows, columns)) times the orthogonalised momentum (Liu et al. 2025).
    """

    def __init__(self, params: Iterable[Tensor], lr: float = 3e-3, momentum: float = 0.95):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            shapes = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    shapes[tuple(p.shape)].append(p)
            for alike in shapes.values():
                self._step(alike, group["lr"], group["momentum"])

    def _step(self, params: list[Tensor], lr: float, momentum: float) -> None:
        directions = []
        for p in params:
            assert p.grad is not None
            state = self.state[p]
            if not state:
                state["momentum"] = torch.zeros_like(p)
            state["momentum"].lerp_(p.grad, 1 - momentum)
            directions.append(p.grad.lerp(state["momentum"], momentum).flatten(1).float())  # (out, in * 9)
        update = orthogonalize(torch.stack(directions))
        rate = lr * 0.2 * max(update.shape[-2:]) ** 0.5
        for p, u in zip(params, update, strict=True):
            p.sub_(u.view(p.shape).to(p.dtype), alpha=rate)


def make_optimizers(run: Run, net: TAD) -> list[torch.optim.Optimizer]:
    """Of the run's recipe: Adam as printed (report, section 4), or Muon for what lies inside and Adam for the rest."""
    learning = [p for p in net.parameters() if p.requires_grad]
    if run.recipe == "report":
        return [torch.optim.Adam(learning, lr=4e-4 * run.rate, betas=(0.9, 0.999), eps=1e-8)]
    inner = [p for p in net.inner_convolutions() if p.requires_grad]
    rest = [p for p in learning if not any(p is i for i in inner)]
    muon = [Muon(inner, lr=2e-3 * run.rate)] if inner else []  # a chain of two convolutions has no inner one
    return [*muon, torch.optim.Adam(rest, lr=6e-4 * run.rate)]


def schedule(run: Run, step: int) -> float:
    """Learning rate at a step as a fraction of the recipe's."""
    if run.recipe == "report":  # x0.25 at epochs 20, 100, 200 of 500 (the public code), scaled to the run's length
        return 0.25 ** sum(step >= run.steps * epoch / 500 for epoch in (20, 100, 200))
    warm = min(100, run.steps // 5)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, run.steps - warm)))
