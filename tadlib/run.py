"""What a training is: everything that its result depends on, and the name of its folder.

The name is the run's name and a hash of what differs from the defaults, the recipe's version and the data.
"""
from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from typing import Literal, get_args, get_type_hints

import torch

from tadlib.channel import check_draws
from tadlib.errors import BadInput
from tadlib.networks import TAD, Spec, spec

RECIPE_VERSION = {"modern": 1, "report": 1}  # raise one when its code changes results: its runs get new names
PROFILES = ("smoke", "cpu", "gpu")
# What a run draws, and a large number for each, so that no two draw the same: see `generator`
_PURPOSES = {"network": 1, "patches": 1_000_003, "channel": 7_919, "grey": 6_700_417, "scale": 15_485_863}


@dataclass(frozen=True)
class Run:
    """One training: everything that its result depends on, and nothing else. A new field needs a default.

    Raises BadInput for what cannot be trained so.
    """

    name: str  # what the study calls it
    model: str  # a row of the zoo
    scale: int = 4
    steps: int = 1000
    batch: int = 8
    patch: int = 96
    seed: int = 0
    recipe: Literal["modern", "report"] = "modern"  # Muon, rounding throughout; the 2019 schedule
    alpha: float = 1.0  # L = alpha L_TASK + beta L_LATENT
    beta: float = 0.02
    beta_start: float = 0.0  # if given, beta is this in the first quarter and rises to its value in the second
    latent: Literal["l1", "l2", "hinge"] = "l1"  # losses.latent_loss
    epsilon: float = 0.0
    reading: Literal["range", "observed", "levels"] = "range"  # of epsilon (losses.READINGS)
    guidance: Literal["", "bicubic", "bilinear", "y"] = ""  # "" the task's own; "bilinear" as in the report's text
    skip: Literal["", "none", "bicubic", "bilinear", "lanczos", "grey"] = ""  # "" as the zoo's row says
    noise: float = 0.0  # sigma of the channel in training, drawn from 0..noise for each batch
    channels: tuple[str, ...] = ()  # of them each training image goes through one (channel.draw)
    added: bool = True  # X_GD is added to the encoder's output (Fig. 9 asks what that is worth)
    scales: tuple[int, ...] = ()  # drawn for each batch in place of `scale`: changing numbers of passes
    grey: float = 0.0  # share of the training patches that are made grey (colour nets)
    start: tuple[Run, ...] = ()  # trained runs whose weights this one starts from, the later over the earlier
    frozen: Literal["", "encoder", "decoder"] = ""  # keeps the weights that it starts with
    rate: float = 1.0  # times the recipe's learning rate
    ema: float = 0.99  # of the weights that are scored and kept: their mean over some 1 / (1 - ema) steps
    neighbours: bool = True  # False: a decoder of several frames sees its own frame that many times
    aim: Literal["", "farneback", "flow"] = ""  # the task term: X_SHR; motion as seen in X_SLR (training.objectives)
    train: tuple[str, ...] = ("DIV2K_crops", "BSDS_train")
    watch: tuple[int, ...] = ()  # further scales that the learning curve shows; changes no result
    profile: str = "cpu"

    def __post_init__(self) -> None:
        if isinstance(self.train, str):  # a comma forgotten: ("folder") is no tuple
            object.__setattr__(self, "train", (self.train,))
        try:
            spec(self.model)
        except KeyError as error:
            raise BadInput(f"run {self.name}: {error.args[0]}") from None
        for name, kind in get_type_hints(Run).items():
            known = get_args(kind) if getattr(kind, "__origin__", None) is Literal else None
            if known and getattr(self, name) not in known:
                raise BadInput(f"run {self.name}: {name} {getattr(self, name)!r}; there are "
                               f"{', '.join(map(repr, known))}")
        try:
            check_draws(self.channels)
        except BadInput as error:
            raise BadInput(f"run {self.name}: {error}") from None
        if min(self.scale, self.batch, self.patch) < 1 or self.steps < 0 or not 0 <= self.ema < 1:
            raise BadInput(f"run {self.name}: scale, batch and patch have to be above 0, steps not below, ema below 1")

    @property
    def guide(self) -> str:
        return self.guidance or spec(self.model).guided

    def build(self) -> TAD:
        """The freshly initialised network of this run; the same for the same seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.generator("network").initial_seed())
            return TAD(self.net)

    @property
    def net(self) -> Spec:
        """The network's row, with what this run changes of it."""
        changes = {"skip": self.skip} if self.skip else {}
        return spec(self.model, added=self.added, neighbours=self.neighbours, **changes)

    def generator(self, purpose: str, step: int = 0) -> torch.Generator:
        """What draws for a purpose at a training step, the same for the same seed: on the CPU, whatever trains."""
        return torch.Generator().manual_seed(self.seed * _PURPOSES[purpose] + step)

    def scale_at(self, step: int) -> int:
        """The scale of a training step: the run's, or one of `scales`."""
        if not self.scales:
            return self.scale
        return self.scales[int(torch.randint(len(self.scales), (), generator=self.generator("scale", step)).item())]

    def beta_at(self, step: int) -> float:
        """The latent weight at a training step."""
        if not self.beta_start:
            return self.beta
        risen = min(1.0, max(0.0, 4 * step / self.steps - 1))
        return self.beta_start + risen * (self.beta - self.beta_start)

    def label(self, prints: dict[str, str | None]) -> str:
        """The folder's name, given each training set's fingerprint."""
        text = json.dumps([self.differing(), RECIPE_VERSION[self.recipe], [prints[n] for n in self.train]],
                          sort_keys=True)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def differing(self) -> dict:
        """The fields that decide the result and differ from their defaults."""
        out = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        out = {k: v for k, v in out.items() if k not in ("name", "profile", "watch")}
        return out | ({"start": [s.differing() for s in self.start]} if self.start else {})

    @property
    def trains(self) -> bool:
        """False for a baseline that has no parameters."""
        return bool(spec(self.model).encoder or spec(self.model).decoder)
