"""The training loop's one step, in plain sight: patches -> X_SLR -> channel -> task and latent term -> weights."""
from __future__ import annotations

import copy
import math
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from tadlib.channel import draw, quantize, send
from tadlib.errors import BadInput
from tadlib.losses import Latent, latent_loss
from tadlib.machine import best_device, over_all, precision, processes, share, whole
from tadlib.networks import TAD
from tadlib.pixels import rgb_to_y, to_float, ycbcr_to_rgb
from tadlib.run import Run
from tadlib.tasks import guidance
from tadlib.training.objectives import objective
from tadlib.training.optim import make_optimizers, schedule

JUMP = 2.5  # times the typical loss (to the objective's power): what counts as running away
PATIENCE = 20  # so many rewinds (or half of a short training), then the training has broken down
CLIP = 0.5  # norm of the gradient, at most


@dataclass
class Progress:
    """How far a training has come, apart from weights and optimizers: all of it goes into a checkpoint."""

    step: int = 0
    seconds: float = 0.0  # of training, without evaluation and checkpoints
    typical: float = 0.0  # running mean of the loss
    rewinds: int = 0
    terms: list[dict] = field(default_factory=list)  # what each step since the curve's last point measured
    rows: list[dict] = field(default_factory=list)  # the curve


class Trainer:
    """A network under training, its average (what is scored and kept) and its optimizers.

    >>> trainer = Trainer(run)
    >>> terms = trainer.step(patches.batch(run.batch, run.generator("patches", n)), n)
    """

    def __init__(self, run: Run, net: TAD | None = None):
        self.run = run
        self.device = best_device()
        fast = precision(self.device) == "bf16-mixed"
        self.precision = "bf16-mixed" if over_all(torch.tensor(float(fast))) == 1 else "32-true"
        if run.batch % processes():
            raise BadInput(f"{run.name}: {processes()} processes cannot share batches of {run.batch}")
        self.net = (net or run.build()).to(self.device).to(memory_format=torch.channels_last)
        self.computed = self.precision  # of all steps; of a training resumed at another precision both, in their order
        self.average = copy.deepcopy(self.net).eval().requires_grad_(False)
        self.objective = objective(run)
        self.optimizers = make_optimizers(run, self.net)
        self.rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]
        self.progress = Progress()

    def step(self, codes: Tensor, n: int) -> dict:
        """Training step number n on uint8 patches (B, 3, P, P), of clips (B, frames, 3, P, P); what it measured.

        Of several processes each takes its part of them; all have the same weights before and after. Weights that ran
        away go back to their average. Raises FloatingPointError where they do so again and again.
        """
        for optimizer, base in zip(self.optimizers, self.rates, strict=True):
            for group, rate in zip(optimizer.param_groups, base, strict=True):
                group["lr"] = rate * schedule(self.run, n)
        task, latent = self.terms(share(codes).to(self.device), n)
        loss = self.run.alpha * task + self.run.beta_at(n) * latent.loss
        value, of_task, of_latent = over_all(torch.stack([loss, task, latent.loss]).detach()).tolist()
        loss.backward()
        if processes() > 1:
            gradients = [p.grad for p in self.net.parameters() if p.grad is not None]
            means = over_all(torch.cat([g.flatten() for g in gradients])).split([g.numel() for g in gradients])
            for gradient, mean in zip(gradients, means, strict=True):
                gradient.copy_(mean.view_as(gradient))
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), CLIP)
        usual = n < 50 or value < JUMP**self.objective.power * self.progress.typical
        if math.isfinite(value) and torch.isfinite(norm) and usual:
            self._advance(value, n)
        else:
            self._rewind(value, n)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        return {"task": of_task, "latent": of_latent, "gate_open": latent.open, "of_observed": latent.of_observed,
                "of_range": latent.of_range}

    def terms(self, codes: Tensor, n: int) -> tuple[Tensor, Latent]:
        """L_TASK and L_LATENT of a batch, in float32 but for the layers."""
        run = self.run
        codes = codes.flatten(0, 1) if codes.ndim == 5 else codes  # frames one after another: B = clips * frames
        hr = to_float(codes).contiguous(memory_format=torch.channels_last)  # (B, 3, patch, patch)
        if run.grey:
            hr = greyed(run, hr, n)
        scale = run.scale_at(n)
        guide = guidance(hr, scale, run.guide)  # (B, 3, patch/scale, patch/scale), or (B, 1, patch, patch) for colour
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16-mixed"):
            slr = self.net.encode(hr, scale, guide)
            task = self.objective(self.net, arrived(run, slr, n), hr, scale)
        return task, latent_loss(slr.float(), guide, run.epsilon, run.reading, run.latent)

    def _advance(self, value: float, n: int) -> None:
        for optimizer in self.optimizers:
            optimizer.step()
        self.progress.typical = value if n == 0 else 0.98 * self.progress.typical + 0.02 * value
        decay = min(self.run.ema, (1 + n) / (10 + n))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.net.parameters()), 1 - decay)

    def _rewind(self, value: float, n: int) -> None:
        """Back to the average, without the momentum that drove the weights away from it."""
        self.progress.rewinds += 1
        if self.progress.rewinds > min(PATIENCE, self.run.steps // 2):
            raise FloatingPointError(f"{self.run.name}: training broke down at step {n} (loss {value:.3g}); "
                                     "lower the learning rate or change the seed")
        self.net.load_state_dict(self.average.state_dict())
        for optimizer in self.optimizers:
            optimizer.state.clear()

    def state(self) -> dict:
        """What a checkpoint holds."""
        return {"progress": asdict(self.progress), "precision": self.computed, "model": self.net.state_dict(),
                "average": self.average.state_dict(), "optimizers": [o.state_dict() for o in self.optimizers]}

    def load(self, state: dict) -> None:
        """Go on from a checkpoint at this machine's precision. Raises BadInput, and changes nothing, if it is unfit."""
        before = copy.deepcopy([o.state_dict() for o in self.optimizers])
        try:
            progress, earlier = Progress(**state["progress"]), str(state["precision"])
            for net, part in ((self.net, state["model"]), (self.average, state["average"])):
                if {k: v.shape for k, v in net.state_dict().items()} != {k: v.shape for k, v in part.items()}:
                    raise ValueError("of another network")
                if not all(v.isfinite().all() for v in part.values()) or not 0 <= progress.step <= self.run.steps:
                    raise ValueError("its numbers are none")
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
        except Exception as error:  # a stranger's structure fails in every way
            for optimizer, mine in zip(self.optimizers, before, strict=True):
                optimizer.load_state_dict(mine)
            raise BadInput(f"{type(error).__name__}: {error}") from None
        self.net.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.progress = progress
        self.computed = earlier if earlier.endswith(self.precision) else f"{earlier}, {self.precision}"


def greyed(run: Run, hr: Tensor, n: int) -> Tensor:
    """Some of the patches without their colours: else the net never learns that there are such pictures."""
    chosen = share(torch.rand(len(hr) * processes(), generator=run.generator("grey", n)) < run.grey).to(hr.device)
    y = rgb_to_y(hr)
    neutral = torch.full_like(y, 128 / 255)
    return torch.where(chosen[:, None, None, None], quantize(ycbcr_to_rgb(y, neutral, neutral)), hr)


def arrived(run: Run, slr: Tensor, n: int) -> Tensor:
    """What arrives of X_SLR at training step n, through the channels that the run trains for."""
    if run.recipe == "report":  # rounds only late in training, and then lets no gradient through (FACTS 2)
        return slr if n < 0.8 * run.steps else send(slr.detach())
    rng = run.generator("channel", n)
    if run.channels:
        return share(torch.cat([draw(run.channels, rng).send(x, rng) for x in whole(slr).split(1)]))
    if not run.noise:
        return send(slr)
    return share(send(whole(slr), f"noise:{run.noise * torch.rand((), generator=rng).item()}", rng))
