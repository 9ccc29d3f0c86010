"""What a training left: a folder that says by itself what is in it, and opens without any table of runs.

It holds record.json, history.csv, scores.csv (workbook/scores.py) and, where something loads them,
weights.safetensors. The record has the run's fields, the network in words (zoo), and the weights' SHA-256.
"""
from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load
from torch import Tensor

from tadlib import settings
from tadlib.data import sets
from tadlib.errors import BadInput
from tadlib.files import RECORD, STAND_IN, WEIGHTS, read_record
from tadlib.networks import TAD, ZOO, Spec
from tadlib.run import Run

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Trained:
    """What a run left: its record, its curve, and its network where the weights are kept."""

    run: Run
    folder: Path

    @staticmethod
    def open(folder: str | Path) -> Trained:
        """The training whose folder this is. Raises BadInput naming the file that is not what it should be."""
        folder = Path(folder)
        record = read_record(folder)
        known = {f.name for f in fields(Run)}
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items() if k in known}
        try:
            ZOO.setdefault(str(record["model"]), Spec.of(record["network"]))  # one that the zoo has no row for any more
            earlier = [folder.with_name(str(name)) for name in record.get("start", [])]
            values["start"] = tuple(Trained.open(e).run for e in earlier if (e / RECORD).exists())
            return Trained(Run(**values), folder)
        except (TypeError, ValueError, KeyError, RecursionError, BadInput) as error:
            raise BadInput(f"{folder / RECORD}: not the record of a run ({error})") from None

    @property
    def record(self) -> dict:
        """Raises BadInput where it is damaged."""
        return read_record(self.folder)

    @property
    def history(self) -> pd.DataFrame:
        """The learning curve. Raises BadInput where it is damaged."""
        import pandas as pd

        path = self.folder / "history.csv"
        try:
            return pd.read_csv(path).astype({"step": int})
        except (OSError, ValueError, KeyError) as error:
            raise BadInput(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None

    @property
    def has_weights(self) -> bool:  # or none to have: a baseline. Of few of those that are trained git keeps them
        return (self.folder / RECORD).exists() and ((self.folder / WEIGHTS).exists() or not self.run.trains)

    def unchanged(self) -> Trained:
        """Itself. Raises BadInput where the zoo's row was changed since it was trained."""
        if (self.folder / RECORD).exists() and self._spec().layers() != self.run.net.layers():
            raise BadInput(f"{self.folder.name}: the network {self.run.model} was changed since this was trained "
                           "(--retrain, or give the new one another name)")
        return self

    def network(self) -> TAD:
        """The trained network in evaluation mode, float32, as its record describes it.

        Raises BadInput where its weights are missing, or are not those that the record tells of.
        """
        with torch.random.fork_rng(devices=[]):
            model = TAD(self._spec()).eval()
        if self.run.trains:
            wanted = model.state_dict()
            mine = read_weights(self.folder)
            for earlier in reversed(self.record.get("start", [])):  # a frozen part is stored where it was trained
                if lacking := wanted.keys() - mine:
                    theirs = read_weights(self.folder.with_name(str(earlier)))
                    mine |= {k: theirs[k] for k in lacking & theirs.keys()}
            try:
                model.load_state_dict(mine)
            except RuntimeError as error:
                reason = str(error).splitlines()[0]
                raise BadInput(f"{self.folder / WEIGHTS}: not the weights of {self.run.model} ({reason})") from None
        return model.to(memory_format=torch.channels_last)

    def _spec(self) -> Spec:
        words = self.record["network"]
        try:
            return Spec.of(words)
        except BadInput as error:
            raise BadInput(f"{self.folder / RECORD}: {error}") from None


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The weights in a folder as float32. Raises BadInput unless they are those that its record tells of."""
    path = folder / WEIGHTS
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise BadInput(f"{path}: this run keeps no weights; train it again with --retrain") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from None
    if describe(data) != read_record(folder).get("weights"):
        raise BadInput(f"{path}: not the weights that its record tells of (they have another SHA-256)")
    try:
        weights = load(data)
    except Exception as error:  # safetensors has an error class of its own
        raise BadInput(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None
    for name, values in weights.items():
        if values.dtype != torch.float16 or not values.isfinite().all():
            raise BadInput(f"{path}: {name} does not hold finite 16-bit numbers")
    return {name: values.float() for name, values in weights.items()}


def describe(weights: bytes) -> dict:
    """What a record tells of the bytes of its weights."""
    return {"sha256": hashlib.sha256(weights).hexdigest(), "bytes": len(weights)}


# ------------------------------------------------------------------------------------------- by run

def folder(run: Run) -> Path:
    """The run's folder: that of the committed copy of its training data if it exists, else that of the data at hand.

    A folder of own images counts by its name: what was trained on it stays known when pictures are added or it is gone.
    """
    runs = settings.results(run.profile) / "runs"
    known = runs / run.label({n: sets.known_fingerprint(n) for n in run.train})
    if (known / RECORD).exists() or not all(map(sets.is_here, run.train)):
        return known
    prints = {n: sets.fingerprint(n) if sets.is_registered(n) else None for n in run.train}
    return runs / run.label(prints)


def is_trained(run: Run) -> bool:
    return (folder(run) / RECORD).exists()


def on_this_machine(run: Run) -> Run:
    """The run itself if it is trained, or its data and those of what it starts from are here; else the same on the
    bundled sample, named so. A folder of own images has no stand-in.
    """
    own = not all(map(sets.is_registered, run.train))
    if own or run.name.endswith(STAND_IN) or is_trained(run) or (all(map(sets.is_here, run.train))
                                  and all(on_this_machine(s) == s for s in run.start)):
        return run
    return replace(run, name=run.name + STAND_IN, train=("SampleTrain",))


def of(run: Run) -> Trained:
    """What the run left on this machine, or its stand-in on the bundled sample; its folder may not exist yet."""
    run = on_this_machine(run)
    return Trained(run, folder(run))
