"""One training in several processes (torchrun): the same training as in one, up to the order of floating point."""
from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
import torch

from tadlib import machine
from tadlib.errors import BadInput
from tadlib.run import Run
from tadlib.settings import ROOT
from tadlib.stored import folder
from tadlib.training import loop
from tadlib.training.loop import Trainer
from workbook import studies

SMALL = {"steps": 4, "batch": 4, "patch": 32, "train": ("SampleTrain",), "profile": "smoke"}
RUNS = {  # one of each kind of objective, and of what is drawn or decided over a whole batch
    "gated": Run("gated", "aetad_very_small", epsilon=40, reading="observed", beta=0.1, **SMALL),
    "noisy": Run("noisy", "aetad_very_small", noise=0.1, beta=0.1, **SMALL),
    "channels": Run("channels", "aetad_very_small", **SMALL,
                    channels=("noise:0..0.1", "jpeg:60..95", "8bit", "resize:0.85..1.0")),
    "grey": Run("grey", "color_shuffle", scale=1, grey=0.5, **SMALL),
    "hinge": Run("hinge", "aetad_very_small", latent="hinge", epsilon=0.8, **SMALL),
    "bins": Run("bins", "cic_color", scale=1, **SMALL),
    "warped": Run("warped", "sofvsr", **SMALL),
    **{f"aim_{aim}": Run(f"aim_{aim}", "aetad_sofvsr", aim=aim, **SMALL) for aim in ("farneback", "flow")},
}



@pytest.mark.parametrize(("wanted", "device"), [("", "cuda:2"), ("cuda", "cuda:2"), ("cpu", "cpu")])
def test_each_process_has_a_gpu_of_its_own_before_it_joins_the_others(monkeypatch, wanted, device):
    monkeypatch.setenv("TAD_DEVICE", wanted)
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setattr(machine.dist, "is_torchelastic_launched", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "zeros", lambda size, device: Made(device))
    assert machine.best_device() == torch.device(device)


class Made:
    """A tensor on a device that this machine may lack."""

    def __init__(self, device: str):
        self.device = torch.device(device)


GRADIENT = """
import sys, torch
from tests.tadlib.test_processes import first_gradient, RUNS
from tadlib.machine import join
first = join() == 0
found = {name: first_gradient(run) for name, run in RUNS.items()}
if first:
    torch.save(found, sys.argv[1])
"""


def first_gradient(run: Run) -> dict:
    """Of a run's first step, before it is clipped; and what the step measured."""
    torch.set_num_threads(1)
    frames = run.net.head.frames
    rng = torch.Generator().manual_seed(5)
    coarse = torch.rand(run.batch, 3 * frames, 6, 6, generator=rng)  # smooth: a motion can be seen in it
    codes = torch.nn.functional.interpolate(coarse, size=(run.patch, run.patch), mode="bicubic").clamp(0, 1)
    codes = (255 * codes).to(torch.uint8).unflatten(1, (frames, 3))
    trainer, kept = Trainer(run), {}

    def keep(parameters, limit):
        kept["gradient"] = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
        return torch.tensor(1.0)

    clip, loop.torch.nn.utils.clip_grad_norm_ = loop.torch.nn.utils.clip_grad_norm_, keep
    try:
        measured = trainer.step(codes if frames > 1 else codes[:, 0], 0)
    finally:
        loop.torch.nn.utils.clip_grad_norm_ = clip
    return kept | {"measured": measured}


def torchrun(*arguments: str, restarts: int = 0) -> subprocess.CompletedProcess:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1",
               f"--master-port={port}", f"--max-restarts={restarts}", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_two_processes_have_the_gradient_of_one(own_results, no_data, tmp_path):
    script = tmp_path / "gradient.py"
    script.write_text(GRADIENT)
    done = torchrun(str(script), str(tmp_path / "two.pt"))
    assert done.returncode == 0, done.stderr[-3000:]
    two = torch.load(tmp_path / "two.pt", weights_only=True)
    for name, run in RUNS.items():
        one = first_gradient(run)
        off = (two[name]["gradient"] - one["gradient"]).norm() / one["gradient"].norm()
        assert one["gradient"].norm() > 0 and off < 1e-4, (name, off)
        assert two[name]["measured"] == pytest.approx(one["measured"], rel=1e-4), name
    shut = first_gradient(RUNS["gated"])["measured"]  # near its gate, and each half of the batch on its own
    assert 0 < shut["of_observed"] < 100


def test_processes_that_cannot_share_a_batch_are_told_so(monkeypatch):
    monkeypatch.setattr(loop, "processes", lambda: 3)
    with pytest.raises(BadInput, match="gated: 3 processes cannot share batches of 4") as told:
        Trainer(RUNS["gated"])
    assert told.value.code == 2


def test_alone_a_process_shares_with_nobody(own_results, no_data):
    from tadlib import machine

    batch = torch.rand(4, 3)
    assert machine.join() == 0 and machine.processes() == 1
    assert machine.share(batch) is batch and machine.whole(batch) is batch and machine.over_all(batch) is batch


def test_every_kind_of_objective_and_aim_is_held_against_one_process():
    kinds = {(run.aim, type(loop.objective(run))) for run in RUNS.values()}
    assert kinds == {(run.aim, type(loop.objective(run))) for run in studies.ALL.values() if run.trains}


# One of two is killed in the middle of a training. Of those that are started again the first is late: all that the
# other then finds in torchrun's store is what the first ones left
KILLED = """
import os, signal, sys, time
from tadlib.training.fit import fit
from tests.tadlib.test_processes import LONGER
life, rank = os.environ["TORCHELASTIC_RESTART_COUNT"], os.environ["RANK"]
def watch(progress):
    if (life, rank) == ("0", "1") and progress.step == 7:
        os.kill(os.getpid(), signal.SIGKILL)
if (life, rank) == ("1", "0"):
    time.sleep(3)
for place, watching in (("undisturbed", None), ("disturbed", watch)):
    os.environ |= {"TAD_RESULTS": f"{sys.argv[1]}/{place}", "TAD_CHECKPOINTS": f"{sys.argv[1]}/{place}/checkpoints"}
    fit(LONGER, watch=watching)
print("life", life)
"""
LONGER = Run("longer", "aetad_very_small", epsilon=40, reading="observed", beta=0.1, noise=0.05,
             **SMALL | {"steps": 12})


@pytest.mark.slow
def test_a_killed_process_is_started_again_and_nothing_shows(own_results, no_data, tmp_path, monkeypatch):
    monkeypatch.setenv("TAD_CHECKPOINT_SECONDS", "0")
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    done = torchrun(str(script), str(tmp_path), restarts=1)
    assert done.returncode == 0 and "life 1" in done.stdout and "life 0" not in done.stdout, done.stderr[-3000:]
    one, other = ((tmp_path / place / "smoke" / "runs" / folder(LONGER).name / "weights.safetensors").read_bytes()
                  for place in ("undisturbed", "disturbed"))
    assert one == other
