"""What a run is, and what it leaves: its definition, its folder's name, its record.

A run's folder below results/<profile>/runs holds record.json, history.csv, scores.csv (evaluation.py) and, where
something loads them, weights.safetensors. Its name is the run's name and a hash of what differs from the defaults.
"""
from __future__ import annotations

import hashlib
import json
import os
import platform
from dataclasses import dataclass, fields, replace
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file

from tadlib import datasets
from tadlib.images import BadInput
from tadlib.networks import TAD, Spec, spec

RECIPE_VERSION = {"modern": 1, "report": 1}  # raise one when its code changes results: its runs get new names
PROFILES = ("smoke", "cpu", "gpu")


@dataclass(frozen=True)
class Run:
    """One training: everything that its result depends on, and nothing else. A new field needs a default."""

    name: str  # what the study calls it
    model: str  # a row of the zoo
    scale: int = 4
    steps: int = 1000
    batch: int = 8
    patch: int = 96
    seed: int = 0
    recipe: str = "modern"  # "modern": Muon, rounding throughout; "report": the 2019 schedule
    alpha: float = 1.0  # L = alpha L_TASK + beta L_LATENT
    beta: float = 0.02
    beta_start: float = 0.0  # if given, beta is this in the first quarter and rises to its value in the second
    latent: str = "l1"
    epsilon: float = 0.0
    reading: str = "range"  # of epsilon (losses.READINGS)
    guidance: str = ""  # "" the task's own: bicubic, or Y for colour; "bilinear" as in the report's text
    skip: str = ""  # "" as the zoo's row says
    noise: float = 0.0  # sigma of the channel in training, drawn from 0..noise for each batch
    channels: tuple[str, ...] = ()  # of them each training image goes through one (channel.draw)
    added: bool = True  # X_GD is added to the encoder's output (Fig. 9 asks what that is worth)
    scales: tuple[int, ...] = ()  # drawn for each batch in place of `scale`: changing numbers of passes
    grey: float = 0.0  # share of the training patches that are made grey (colour nets)
    start: tuple[Run, ...] = ()  # trained runs whose weights this one starts from, the later over the earlier
    frozen: str = ""  # "encoder" or "decoder": keeps the weights that it starts with
    rate: float = 1.0  # times the recipe's learning rate
    neighbours: bool = True  # False: a decoder of several frames sees its own frame that many times
    aim: str = ""  # the task term: "" X_SHR; "farneback", "flow": motion as seen in X_SLR (training.Pass)
    train: tuple[str, ...] = ("DIV2K_crops", "BSDS_train")
    watch: tuple[int, ...] = ()  # further scales that the learning curve shows; changes no result
    profile: str = "cpu"

    def __post_init__(self):
        if isinstance(self.train, str):  # a comma forgotten: ("folder") is no tuple
            object.__setattr__(self, "train", (self.train,))

    @property
    def guide(self) -> str:
        return self.guidance or spec(self.model).guided

    def build(self) -> TAD:
        """The freshly initialised network of this run; the same for the same seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return TAD(self.net)

    @property
    def net(self) -> Spec:
        """The network's row, with what this run changes of it."""
        changes = {"skip": self.skip} if self.skip else {}
        return spec(self.model, added=self.added, neighbours=self.neighbours, **changes)

    def scale_at(self, step: int) -> int:
        """The scale of a training step: the run's, or one of `scales`, the same for the same seed and step."""
        if not self.scales:
            return self.scale
        rng = torch.Generator().manual_seed(self.seed * 15_485_863 + step)
        return self.scales[torch.randint(len(self.scales), (), generator=rng).item()]

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


def results(profile: str) -> Path:
    """Where a profile's records, tables and figures lie; $TAD_RESULTS moves all of it."""
    return Path(os.environ.get("TAD_RESULTS") or datasets.ROOT / "results") / profile


def checkpoints(profile: str) -> Path:
    """Where unfinished trainings wait, outside git; $TAD_CHECKPOINTS moves them."""
    root = os.environ.get("TAD_CHECKPOINTS")
    return (Path(root) if root else datasets.ROOT / "build" / "checkpoints") / profile


def folder(run: Run) -> Path:
    """The run's folder: that of the committed copy of its training data if it exists, else that of the data at hand.

    A folder of own images counts by its name: what was trained on it stays known when pictures are added or it is gone.
    """
    runs = results(run.profile) / "runs"
    known = runs / run.label({n: datasets.known_fingerprint(n) for n in run.train})
    if (known / "record.json").exists() or not all(map(datasets.is_here, run.train)):
        return known
    prints = {n: datasets.fingerprint(n) if datasets.is_registered(n) else None for n in run.train}
    return runs / run.label(prints)


def is_trained(run: Run) -> bool:
    return (folder(run) / "record.json").exists()


def on_this_machine(run: Run) -> Run:
    """The run itself if it is trained, or its data and those of what it starts from are here; else the same on the
    bundled sample, named so. A folder of own images has no stand-in.
    """
    own = not all(map(datasets.is_registered, run.train))
    if own or is_trained(run) or (all(map(datasets.is_here, run.train))
                                  and all(on_this_machine(s) == s for s in run.start)):
        return run
    return replace(run, name=f"{run.name}_sample", train=("SampleTrain",))


@dataclass
class Trained:
    """What a run left: its record, its curve, and its network where the weights are kept."""

    run: Run
    folder: Path

    @property
    def record(self) -> dict:
        return json.loads((self.folder / "record.json").read_text())

    @property
    def history(self) -> pd.DataFrame:
        return pd.read_csv(self.folder / "history.csv")

    @property
    def has_weights(self) -> bool:
        return (self.folder / "weights.safetensors").exists() or not self.run.trains

    def unchanged(self) -> Trained:
        """Itself. Raises BadInput where the network's row was changed since it was trained (the first records do not
        say what it was).
        """
        chains = self.run.net.chains()
        if (self.folder / "record.json").exists() and self.record.get("net", chains) != chains:
            raise BadInput(f"{self.folder.name}: the network {self.run.model} was changed since this was trained "
                           "(--retrain, or give the new one another name)")
        return self

    def network(self) -> TAD:
        """The trained network in evaluation mode, float32. Raises BadInput where its weights are missing or unfit."""
        model = self.unchanged().run.build().eval()
        if self.run.trains:
            path = self.folder / "weights.safetensors"
            try:
                mine = load_file(path)
                for earlier in reversed(self.run.start):  # a frozen part is stored only where it was trained
                    if lacking := model.state_dict().keys() - mine:
                        theirs = stored(earlier).network().state_dict()
                        mine |= {k: theirs[k] for k in lacking & theirs.keys()}
                model.load_state_dict({k: v.float() for k, v in mine.items()})
            except BadInput:
                raise
            except FileNotFoundError:
                raise BadInput(f"{path}: this run keeps no weights; train it again with --retrain") from None
            except Exception as error:  # safetensors has an error class of its own; torch raises RuntimeError
                reason = str(error).splitlines()[0]
                raise BadInput(f"{path}: not the weights of {self.run.model} ({reason})") from None
        return model.to(memory_format=torch.channels_last)


def stored(run: Run) -> Trained:
    """What the run left on this machine, or its stand-in on the bundled sample; its folder may not exist yet."""
    run = on_this_machine(run)
    return Trained(run, folder(run))


def best_device() -> torch.device:
    """Where networks work: the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def machine() -> dict:
    """What computed: processor, cores, versions."""
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"cpu": cpu, "threads": torch.get_num_threads(), "gpu": gpu,
            "python": platform.python_version(), "torch": torch.__version__}
