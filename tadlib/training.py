"""fit(run): load it if it is there, go on if it is half done, train it otherwise.

A run's folder below results/<profile>/runs holds record.json, history.csv, scores.csv (evaluation.py) and, where
something loads them, weights.safetensors. Its name is the run's name and a hash of what differs from the defaults.
"""
from __future__ import annotations

import functools
import hashlib
import json
import logging
import math
import os
import platform
import shutil
import time
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from tadlib import datasets
from tadlib.channel import send
from tadlib.evaluation import psnr_of_set
from tadlib.guidance import guidance
from tadlib.images import BadInput, replacing, to_float
from tadlib.losses import latent_loss, task_loss
from tadlib.networks import TAD, build, spec
from tadlib.optim import Muon

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
    latent: str = "l1"
    epsilon: float = 0.0
    reading: str = "range"  # of epsilon (losses.READINGS)
    guidance: str = ""  # "" the task's own: bicubic, or Y for colour; "bilinear" as in the report's text
    skip: str = ""  # "" as the zoo's row says
    noise: float = 0.0  # sigma of the channel in training, drawn from 0..noise for each batch
    train: tuple[str, ...] = ("DIV2K_crops", "BSDS_train")
    profile: str = "cpu"

    @property
    def guide(self) -> str:
        return self.guidance or spec(self.model).guided

    def build(self) -> TAD:
        """The freshly initialised network of this run; the same for the same seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return build(self.model, **({"skip": self.skip} if self.skip else {}))

    def label(self, prints: dict[str, str | None]) -> str:
        """The folder's name, given each training set's fingerprint."""
        default = {f.name: f.default for f in fields(self)}
        differing = {k: v for k, v in asdict(self).items() if v != default[k] and k not in ("name", "profile")}
        text = json.dumps([differing, RECIPE_VERSION[self.recipe], [prints[n] for n in self.train]], sort_keys=True)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

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
    """The run's folder: that of the committed copy of its training data if it exists, else that of the data at hand."""
    runs = results(run.profile) / "runs"
    known = runs / run.label({n: datasets.known_fingerprint(n) for n in run.train})
    if (known / "record.json").exists() or not all(map(datasets.is_here, run.train)):
        return known
    return runs / run.label({n: datasets.fingerprint(n) for n in run.train})


def is_trained(run: Run) -> bool:
    return (folder(run) / "record.json").exists()


def on_this_machine(run: Run) -> Run:
    """The run itself if it is trained or its data are here; else the same on the bundled sample, named so."""
    if is_trained(run) or all(map(datasets.is_here, run.train)):
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

    def network(self) -> TAD:
        """The trained network in evaluation mode, float32. Raises BadInput where its weights are missing or unfit."""
        model = self.run.build().eval()
        if self.run.trains:
            path = self.folder / "weights.safetensors"
            try:
                model.load_state_dict({k: v.float() for k, v in load_file(path).items()})
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


def fit(run: Run, retrain: bool = False, quiet: bool = False) -> Trained:
    """The trained run: from its folder if complete, from its checkpoint if half done, else trained from the start.

    On a machine without its training data the run falls back to the bundled sample under another name.
    Raises BadInput (no data; weights that do not fit), FloatingPointError (the loss is no number any more).
    """
    trained = stored(run)
    run, target = trained.run, trained.folder
    if retrain or not (target / "record.json").exists():  # what is stored stays until the new one is complete
        if os.environ.get("TAD_NO_TRAINING"):
            raise BadInput(f"{target.name}: not among the stored runs, and training is forbidden here")
        target.mkdir(parents=True, exist_ok=True)
        if run.trains:
            _train(run, target, quiet)
        else:
            _finish(run, target, run.build(), [], 0.0, "32-true", 0)
    return trained


# ---------------------------------------------------------------------------------------------------- precision

@functools.cache
def fastest_precision(device: torch.device) -> str:
    """"bf16-mixed" where it is measured or known to be faster here, else "32-true"; found once per process.

    On CPUs with bf16 instructions it halves the step, on others it is 14 times slower: so two steps are timed.
    """
    if device.type != "cpu":
        return "bf16-mixed" if torch.cuda.is_available() and torch.cuda.is_bf16_supported(False) else "32-true"
    return _faster_on_cpu()


def _faster_on_cpu() -> str:
    conv = torch.nn.Conv2d(64, 64, 3, padding=1).to(memory_format=torch.channels_last)
    x = torch.rand(8, 64, 32, 32).to(memory_format=torch.channels_last)
    seconds = {}
    for precision in ("32-true", "bf16-mixed"):
        times = []
        for _ in range(4):
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
                y = conv(conv(x))
            y.float().square().mean().backward()
            times.append(time.perf_counter() - start)
        seconds[precision] = min(times[1:])  # the first one warms up
    return min(seconds, key=seconds.get)


def seconds_per_step(run: Run) -> float:
    """What one training step of this run takes on this machine now, measured on two steps."""
    net = _Pass(run, run.build().to(memory_format=torch.channels_last))
    codes = torch.randint(0, 256, (run.batch, 3, run.patch, run.patch), dtype=torch.uint8)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    fast = fastest_precision(device) == "bf16-mixed"
    net, codes = net.to(device), codes.to(device)
    for _ in range(2):  # the first one warms up
        start = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            hr, _, _, shr = net(codes, 0)
        task_loss(shr, hr).backward()
        seconds = time.perf_counter() - start
    return seconds


# ---------------------------------------------------------------------------------------------------- one training

def _schedule(run: Run, step: int) -> float:
    """Learning rate at a step as a fraction of the recipe's."""
    if run.recipe == "report":  # x0.25 at epochs 20, 100, 200 of 500 (the public code), scaled to the run's length
        return 0.25 ** sum(step >= run.steps * epoch / 500 for epoch in (20, 100, 200))
    warm = min(100, run.steps // 5)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, run.steps - warm)))


def _optimizers(run: Run, model: TAD) -> list[torch.optim.Optimizer]:
    if run.recipe == "report":  # Adam as printed (section 4)
        return [torch.optim.Adam(model.parameters(), lr=4e-4, betas=(0.9, 0.999), eps=1e-8)]
    inner = model.inner_convolutions()
    rest = [p for p in model.parameters() if not any(p is i for i in inner)]
    return [Muon(inner, lr=2e-3), torch.optim.Adam(rest, lr=6e-4)]


def _history_steps(run: Run) -> set[int]:
    """About 20 steps at which the curve gets a point, denser at the start."""
    return {int(s) for s in np.geomspace(max(1, run.steps // 40), run.steps, 16).round()} | {run.steps}


EMA = 0.99  # of the weights that are scored and kept
JUMP = 2.5  # times the typical loss: what counts as running away


def _train(run: Run, target: Path, quiet: bool) -> None:
    from lightning_fabric import Fabric  # imported here: it is slow to import and only training needs it

    missing = [n for n in run.train if not datasets.files(n)]
    if missing:
        raise datasets.MissingData(f"{run.name}: no training data {', '.join(missing)} (see `python -m tadlib data`)")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # precision stands in the record
    patches = datasets.Patches(run.train, run.patch)
    fabric = Fabric(accelerator="auto", devices=1)
    precision = os.environ.get("TAD_PRECISION") or fastest_precision(fabric.device)
    fabric = Fabric(accelerator="auto", devices=1, precision=precision)

    raw = run.build().to(memory_format=torch.channels_last)
    average = run.build().to(fabric.device, memory_format=torch.channels_last).eval().requires_grad_(False)
    raw_optimizers = _optimizers(run, raw)
    rates = [[g["lr"] for g in o.param_groups] for o in raw_optimizers]
    model, *optimizers = fabric.setup(_Pass(run, raw), *raw_optimizers)

    saved = checkpoints(run.profile) / target.name / "state.pt"
    state = _resume(saved)
    rows, done, seconds, sums = [], 0, 0.0, dict.fromkeys(_SUMS, 0.0)
    if state:
        rows, done, seconds, sums = state["rows"], state["step"], state["seconds"], state["sums"]
        raw.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        for optimizer, saved_state in zip(raw_optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved_state)
    marks = _history_steps(run)
    curve_sets = {"held_out": datasets.held_out(run.train)}
    names = ("SampleCrop",) if run.profile == "smoke" else datasets.here_or_sample(("Set5", "Set14"))
    curve_sets |= {n.lower(): datasets.load(n) for n in names}

    bar = tqdm(total=run.steps, initial=done, desc=run.name, disable=True if quiet else None, mininterval=1)
    started, checkpointed = time.perf_counter(), time.perf_counter()
    spent_elsewhere = 0.0  # on evaluation and checkpoints: not counted as training
    typical = sums["typical"]
    for step in range(done, run.steps):
        codes = fabric.to_device(patches.batch(step, run.batch, run.seed))
        for optimizer, base in zip(optimizers, rates, strict=True):
            for group, rate in zip(optimizer.param_groups, base, strict=True):
                group["lr"] = rate * _schedule(run, step)
        hr, guide, slr, shr = model(codes, step)
        task = task_loss(shr, hr)
        latent = latent_loss(slr, guide, run.epsilon, run.reading, run.latent)
        loss = run.alpha * task + run.beta * latent.loss
        value = float(loss.detach())
        fabric.backward(loss)
        norm = torch.nn.utils.clip_grad_norm_(raw.parameters(), 0.5)
        if math.isfinite(value) and torch.isfinite(norm) and (step < 50 or value < JUMP * typical):
            for optimizer in optimizers:
                optimizer.step()
            typical = value if step == 0 else 0.98 * typical + 0.02 * value
            decay = min(EMA, (1 + step) / (10 + step))
            with torch.no_grad():
                torch._foreach_lerp_(list(average.parameters()), list(raw.parameters()), 1 - decay)
        else:  # the weights ran away: back to their average, and forget the momentum that drove them
            sums["rewinds"] += 1
            if sums["rewinds"] > 20:
                raise FloatingPointError(f"{run.name}: training broke down at step {step} (loss {value:.3g}); "
                                         "lower the learning rate or change the seed")
            raw.load_state_dict(average.state_dict())
            for optimizer in raw_optimizers:
                optimizer.state.clear()
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        for key, term in zip(_SUMS, (1, float(task.detach()), float(latent.loss.detach()), latent.open,
                                     latent.of_observed, latent.of_range), strict=False):
            sums[key] += term
        sums["typical"] = typical
        bar.update()
        pause = time.perf_counter()
        if step + 1 in marks:
            seconds_now = seconds + pause - started - spent_elsewhere
            rows.append(_history_row(run, average, step + 1, seconds_now, sums, curve_sets, precision))
            for key in _SUMS[:6]:
                sums[key] = 0.0
            bar.set_postfix(loss=f"{value:.4f}", held_out=f"{rows[-1]['held_out_shr']:.2f} dB")
        if time.perf_counter() - checkpointed > float(os.environ.get("TAD_CHECKPOINT_SECONDS") or 60):
            _save(saved, {"step": step + 1, "rows": rows, "sums": sums, "model": raw.state_dict(),
                          "seconds": seconds + pause - started - spent_elsewhere, "average": average.state_dict(),
                          "optimizers": [o.state_dict() for o in raw_optimizers]})
            checkpointed = time.perf_counter()
        spent_elsewhere += time.perf_counter() - pause
    bar.close()
    seconds += time.perf_counter() - started - spent_elsewhere
    _finish(run, target, average, rows, seconds, precision, int(sums["rewinds"]))
    shutil.rmtree(saved.parent, ignore_errors=True)


_SUMS = ("n", "task", "latent", "open", "of_observed", "of_range", "rewinds", "typical")


class _Pass(torch.nn.Module):
    """One training step's forward pass, from codes to all that the loss compares, in float32 but for the layers.

    Codes go in as uint8 because Fabric turns floats that go into a module into bf16, in which 8 bits do not fit.
    """

    def __init__(self, run: Run, net: TAD):
        super().__init__()
        self.run, self.net = run, net

    def forward(self, codes: Tensor, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        run = self.run
        hr = to_float(codes).contiguous(memory_format=torch.channels_last)  # (B, 3, patch, patch)
        guide = guidance(hr, run.scale, run.guide)  # (B, 3, patch/scale, patch/scale)
        slr, shr = self.net(hr, run.scale, guide, lambda x: self.channel(x, step))
        return hr, guide, slr, shr

    def channel(self, slr: Tensor, step: int) -> Tensor:
        if self.run.recipe == "report" and step < 0.8 * self.run.steps:  # it rounds only late in training
            return slr
        if not self.run.noise:
            return send(slr)
        rng = torch.Generator().manual_seed(self.run.seed * 7_919 + step)
        return send(slr, f"noise:{self.run.noise * torch.rand((), generator=rng).item()}", rng)


def _history_row(run: Run, model: TAD, step: int, seconds: float, sums: dict, sets: dict, precision: str) -> dict:
    n = max(1, sums["n"])
    row = {"step": step, "seconds": round(seconds, 2), "task": sums["task"] / n, "latent": sums["latent"] / n,
           "gate_open": sums["open"] / n, "of_observed": sums["of_observed"] / n, "of_range": sums["of_range"] / n}
    for name, images in sets.items():
        slr, shr = psnr_of_set(model, images, run.scale, run.guide, fast=precision == "bf16-mixed")
        row |= {f"{name}_slr": slr, f"{name}_shr": shr}
    return {k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()}


def _finish(run: Run, target: Path, model: TAD, rows: list[dict], seconds: float, precision: str, rewinds: int) -> None:
    (target / "scores.csv").unlink(missing_ok=True)  # they were those of other weights
    if run.trains:
        with replacing(target / "weights.safetensors") as temporary:
            save_file({k: v.half().cpu().contiguous() for k, v in model.state_dict().items()}, temporary)
    if rows:
        with replacing(target / "history.csv") as temporary:
            pd.DataFrame(rows).to_csv(temporary, index=False)
    record = asdict(run) | {
        "run": target.name,
        "params": model.parameters_count,
        "recipe_version": RECIPE_VERSION[run.recipe],
        "data": {n: {"images": len(datasets.load(n)), "fingerprint": datasets.fingerprint(n)} for n in run.train},
        "minutes": round(seconds / 60, 2),
        "rewinds": rewinds,
        "precision": precision,
        "machine": machine(),
    }
    with replacing(target / "record.json") as temporary:  # last: it is what says that the run is complete
        temporary.write_text(json.dumps(record, indent=1) + "\n")


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


def _save(path: Path, state: dict) -> None:
    """Write a checkpoint, keeping the one before until the new one is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.replace(path.with_name("previous.pt"))
    with replacing(path) as temporary:
        torch.save(state, temporary)


def _resume(path: Path) -> dict | None:
    """The newest readable checkpoint, or None."""
    for candidate in (path, path.with_name("previous.pt")):
        try:
            return torch.load(candidate, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            continue
        except Exception as error:  # a damaged file fails in many ways; the one before it is still good
            print(f"{candidate}: damaged checkpoint passed over ({type(error).__name__})")
    return None
