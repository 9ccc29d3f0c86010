"""Numbers of the house before this one (e27b2b8), which has to give them again: golden.json holds them.

A run that is trained again under another label takes its two lines there with it: its label, and its weights' digest.
"""
from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tadlib import settings
from tadlib.data.patches import ClipPatches, Patches
from tadlib.networks import TAD, ZOO
from tadlib.networks.tad import multiply_adds
from tadlib.pixels import with_neighbours
from tadlib.run import Run
from tadlib.stored import Trained
from tadlib.training.loop import Trainer

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())
COMMITTED = settings.ROOT / "results" / "cpu" / "runs"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def figures(x: Tensor) -> list[float]:
    x = x.double()
    return [float(x.mean()), float(x.std()), float(x.flatten()[::97].sum())]


def through(name: str) -> tuple[TAD, int, Tensor, Tensor]:
    """(the network of a row as it begins, its scale, X_SLR and X_SHR of noise); "joint_x4 still" sees one frame."""
    name, _, still = name.partition(" ")
    torch.manual_seed(0)
    net = TAD(replace(ZOO[name], neighbours=not still)).eval()
    rng = torch.Generator().manual_seed(7)
    for p in net.parameters():
        if not p.any():  # zero-initialised tails say nothing
            p.data = 0.02 * torch.randn(p.shape, generator=rng)
    hr = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    scale = 1 if net.spec.task == "colour" else 4
    with torch.no_grad():
        slr = net.encode(hr, scale)
        shr = net.decode(with_neighbours(slr, net.head.frames), scale)
    return net, scale, slr, shr


@pytest.mark.parametrize("name", GOLDEN["nets"])
def test_a_network_is_what_it_was(name):
    was = GOLDEN["nets"][name]
    net, scale, slr, shr = through(name)
    assert digest(" ".join(net.state_dict()).encode()) == was["keys"]
    assert [net.parameters_count, *multiply_adds(net, scale)] == was["counts"]
    assert figures(slr) == pytest.approx(was["slr"], abs=1e-4)
    assert figures(shr) == pytest.approx(was["shr"], abs=1e-4)


def test_every_network_was_there():
    assert {name.partition(" ")[0] for name in GOLDEN["nets"]} == set(ZOO)


def run_of(name: str) -> Run:
    return Trained.open(COMMITTED / GOLDEN["labels"][name]).run


def task_term(run: Run) -> Tensor:
    """Of step 4 of a short training on batch 3, with the network as it begins."""
    run = replace(run, batch=2, patch=64, train=("SampleTrain",), start=(), steps=10)
    kind = ClipPatches if run.net.head.frames > 1 else Patches
    codes = kind(run.train, run.patch).batch(2, run.generator("patches", 3))
    return Trainer(run).terms(codes, 4)[0]


@pytest.mark.parametrize("name", GOLDEN["terms"])
def test_the_task_term_of_a_training_step_is_what_it_was(monkeypatch, name):
    monkeypatch.setenv("TAD_PRECISION", "32-true")
    assert task_term(run_of(name)).item() == pytest.approx(GOLDEN["terms"][name], rel=1e-4)


def test_the_committed_runs_have_the_names_that_they_had():
    """The folder's name is a hash of all that decides the result; here it is rebuilt from the record alone."""
    wrong = {}
    for name, label in GOLDEN["labels"].items():
        trained = Trained.open(COMMITTED / label)
        prints = {n: data["fingerprint"] for n, data in trained.record.get("data", {}).items()}
        if (trained.run.name, trained.run.label(prints)) != (name, label):
            wrong[name] = trained.run.label(prints)
    assert wrong == {}


@pytest.mark.parametrize("label", GOLDEN["stored"])
def test_the_weights_of_a_stored_network_are_what_they_were(label):
    state = Trained.open(COMMITTED / label).network().state_dict()
    assert digest(b"".join(v.contiguous().numpy().tobytes() for v in state.values())) == GOLDEN["stored"][label]
