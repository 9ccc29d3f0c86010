"""fit(run): load it if it is there, go on if it is half done, train it otherwise."""
from __future__ import annotations

import copy
import functools
import io
import json
import math
import os
import shutil
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock, Timeout
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

from tadlib import datasets
from tadlib.channel import draw, quantize, send
from tadlib.evaluation import psnr_of_set
from tadlib.flow import farneback
from tadlib.guidance import guidance
from tadlib.images import BadInput, replacing, rgb_to_y, to_float, ycbcr_to_rgb
from tadlib.losses import latent_loss, task_loss
from tadlib.networks import TAD, cic, spec
from tadlib.networks.sofvsr import enlarge, sofvsr_loss
from tadlib.optim import Muon
from tadlib.runs import RECIPE_VERSION, Run, Trained, best_device, checkpoints, machine, stored


def fit(run: Run, retrain: bool = False, quiet: bool = False) -> Trained:
    """The trained run: from its folder if complete, from its checkpoint if half done, else trained from the start.

    On a machine without its training data the run falls back to the bundled sample under another name. If another
    process is training it, this one waits and takes what that one leaves.
    Raises BadInput (no data; weights that do not fit; a full disk), FloatingPointError (the loss is no number any
    more), OutOfTime.
    """
    trained = stored(run)
    run, target = trained.run, trained.folder
    before = _completed(target)
    if before and not retrain:
        return trained.unchanged()
    if os.environ.get("TAD_NO_TRAINING"):
        raise BadInput(f"{target.name}: not among the stored runs, and training is forbidden here")
    with _alone(run, target):
        if _completed(target) == before:  # else another process has trained it meanwhile
            for place in (target, checkpoints(run.profile) / target.name):
                for leftover in place.glob(".*.*"):  # of a process that was killed while it wrote
                    leftover.unlink()
            try:
                if run.trains:  # what is stored stays until the new one is complete
                    _train(run, target, quiet)
                else:
                    _finish(run, target, run.build(), _Progress(), "32-true")
            finally:
                with suppress(OSError):
                    target.rmdir()  # if nothing came of it
    return trained


def _completed(target: Path) -> int:
    """When the run in this folder was completed, in nanoseconds; 0 if it was not."""
    record = target / "record.json"
    return record.stat().st_mtime_ns if record.exists() else 0


def _alone(run: Run, target: Path):
    """A context in which no other process trains the run: a lock of the system's, which a killed process cannot leave.

    Raises OutOfTime where another one has it until $TAD_UNTIL.
    """
    place = checkpoints(run.profile)
    for folder in (target, place):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(f"{folder}: cannot be made ({error.strerror})") from None
    lock = FileLock(place / f"{target.name}.lock")
    try:
        return lock.acquire(blocking=False)
    except Timeout:
        print(f"{run.name}: another process is training it; waiting for that", flush=True)
    try:
        return lock.acquire(timeout=max(0.0, _until() - time.time()), poll_interval=0.2)
    except Timeout:
        raise OutOfTime(f"{run.name}: out of time while another process was training it") from None


def _until() -> float:
    return float(os.environ.get("TAD_UNTIL") or math.inf)


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


# ---------------------------------------------------------------------------------------------------- one training

def _schedule(run: Run, step: int) -> float:
    """Learning rate at a step as a fraction of the recipe's."""
    if run.recipe == "report":  # x0.25 at epochs 20, 100, 200 of 500 (the public code), scaled to the run's length
        return 0.25 ** sum(step >= run.steps * epoch / 500 for epoch in (20, 100, 200))
    warm = min(100, run.steps // 5)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, run.steps - warm)))


def make_optimizers(run: Run, model: TAD) -> list[torch.optim.Optimizer]:
    learning = [p for p in model.parameters() if p.requires_grad]
    if run.recipe == "report":  # Adam as printed (section 4)
        return [torch.optim.Adam(learning, lr=4e-4 * run.rate, betas=(0.9, 0.999), eps=1e-8)]
    inner = [p for p in model.inner_convolutions() if p.requires_grad]
    rest = [p for p in learning if not any(p is i for i in inner)]
    muon = [Muon(inner, lr=2e-3 * run.rate)] if inner else []  # a chain of two convolutions has no inner one
    return [*muon, torch.optim.Adam(rest, lr=6e-4 * run.rate)]


def begin(run: Run) -> TAD:
    """The network as the run's training finds it: fresh, or with the weights of the runs it starts from.

    A first convolution that sees more frames than the one it comes from does at first what that one did: the weights of
    the middle frame are that one's, the others zero.
    """
    model = run.build()
    mine = model.state_dict()
    for earlier in run.start:
        for name, theirs in fit(earlier).network().state_dict().items():
            if name not in mine or (theirs.ndim == 4 and theirs.shape[1] > mine[name].shape[1]):
                continue
            if theirs.shape != mine[name].shape:
                wide = torch.zeros_like(mine[name])
                first = (wide.shape[1] - theirs.shape[1]) // 2
                wide[:, first : first + theirs.shape[1]] = theirs
                theirs = wide
            mine[name] = theirs
    model.load_state_dict(mine)
    if run.frozen:
        model.get_submodule(run.frozen).requires_grad_(False)
    return model.to(memory_format=torch.channels_last)


def _history_steps(run: Run) -> set[int]:
    """About 20 steps at which the curve gets a point, denser at the start."""
    return {int(s) for s in np.geomspace(max(1, run.steps // 40), run.steps, 16).round()} | {run.steps}


EMA = 0.99  # of the weights that are scored and kept
JUMP = 2.5  # times the typical loss: what counts as running away
PATIENCE = 20  # so many rewinds (or half of a short training), then the training has broken down


class OutOfTime(BadInput):
    """A training stopped at $TAD_UNTIL (seconds since 1970), its checkpoint written: no fault, but not complete."""

    code = 3


@dataclass
class _Progress:
    """How far a training has come, apart from weights and optimizers: all of it goes into a checkpoint."""

    step: int = 0
    seconds: float = 0.0  # of training, without evaluation and checkpoints
    typical: float = 0.0  # running mean of the loss
    rewinds: int = 0
    terms: list[dict] = field(default_factory=list)  # what each step since the curve's last point measured
    rows: list[dict] = field(default_factory=list)  # the curve


def _train(run: Run, target: Path, quiet: bool) -> None:
    missing = [n for n in run.train if not datasets.files(n)]
    if missing:
        raise datasets.MissingData(f"{run.name}: no training data {', '.join(missing)} (see `python -m tadlib data`)")
    scales = run.scales or (run.scale,)
    if any(run.patch % scale for scale in scales):
        raise BadInput(f"{run.name}: patches of {run.patch} pixels are no multiple of {max(scales)}, the scale")
    patches = (datasets.ClipPatches if spec(run.model).frames > 1 else datasets.Patches)(run.train, run.patch)
    saved = checkpoints(run.profile) / target.name / "state.pt"
    state = _resume(saved, _completed(target))
    device = best_device()
    precision = state.get("precision") or os.environ.get("TAD_PRECISION") or fastest_precision(device)

    model = begin(run).to(device)
    average = copy.deepcopy(model).eval().requires_grad_(False)
    optimizers = make_optimizers(run, model)
    rates = [[g["lr"] for g in o.param_groups] for o in optimizers]
    step_of = Pass(run, model)

    progress = _Progress()
    if state:
        progress = _Progress(**state["progress"])
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        for optimizer, saved_state in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved_state)
    marks, curve_sets = _history_steps(run), _curve_sets(run)
    jump = JUMP**2 if spec(run.model).vsr else JUMP  # its loss is a square

    def advance(step: int) -> dict:
        """One step; what it measured. Weights that ran away go back to their average."""
        codes = patches.batch(step, run.batch, run.seed).to(device)
        for optimizer, base in zip(optimizers, rates, strict=True):
            for group, rate in zip(optimizer.param_groups, base, strict=True):
                group["lr"] = rate * _schedule(run, step)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
            hr, guide, slr, out = step_of(codes, step)
        slr, out = slr.float(), out.float()  # losses are in float32
        task = step_of.task(out, hr)
        latent = latent_loss(slr, guide, run.epsilon, run.reading, run.latent)
        loss = run.alpha * task + run.beta_at(step) * latent.loss
        value = float(loss.detach())
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        if math.isfinite(value) and torch.isfinite(norm) and (step < 50 or value < jump * progress.typical):
            for optimizer in optimizers:
                optimizer.step()
            progress.typical = value if step == 0 else 0.98 * progress.typical + 0.02 * value
            decay = min(EMA, (1 + step) / (10 + step))
            with torch.no_grad():
                torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
        else:  # back to the average, and forget the momentum that drove them
            progress.rewinds += 1
            if progress.rewinds > min(PATIENCE, run.steps // 2):
                raise FloatingPointError(f"{run.name}: training broke down at step {step} (loss {value:.3g}); "
                                         "lower the learning rate or change the seed")
            model.load_state_dict(average.state_dict())
            for optimizer in optimizers:
                optimizer.state.clear()
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        return {"task": float(task.detach()), "latent": float(latent.loss.detach()), "gate_open": latent.open,
                "of_observed": latent.of_observed, "of_range": latent.of_range}

    bar = tqdm(total=run.steps, initial=progress.step, desc=run.name, disable=True if quiet else None, mininterval=1)
    checkpointed = time.perf_counter()
    while progress.step < run.steps:
        start = time.perf_counter()
        progress.terms.append(advance(progress.step))
        progress.seconds += time.perf_counter() - start
        progress.step += 1
        bar.update()
        if progress.step in marks:
            progress.rows.append(_history_row(run, average, progress, curve_sets, precision))
            progress.terms = []
            bar.set_postfix(held_out=f"{progress.rows[-1]['held_out_shr']:.2f} dB")
        over = progress.step < run.steps and time.time() > _until()
        if over or time.perf_counter() - checkpointed > float(os.environ.get("TAD_CHECKPOINT_SECONDS") or 60):
            _save(saved, {"progress": asdict(progress), "precision": precision, "model": model.state_dict(),
                          "average": average.state_dict(), "optimizers": [o.state_dict() for o in optimizers]})
            checkpointed = time.perf_counter()
        if over:
            raise OutOfTime(f"{run.name}: out of time at step {progress.step} of {run.steps}; goes on from there")
    bar.close()
    _finish(run, target, average, progress, precision)
    shutil.rmtree(saved.parent, ignore_errors=True)


class Pass(torch.nn.Module):
    """One training step's forward pass, from codes to all that the loss compares, in float32 but for the layers."""

    def __init__(self, run: Run, net: TAD):
        super().__init__()
        self.run, self.net = run, net

    def forward(self, codes: Tensor, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """X_HR, X_GD, X_SLR and what `task` compares with X_HR: X_SHR, or a classifier's scores."""
        run = self.run
        frames = self.net.spec.frames
        codes = codes.flatten(0, 1) if frames > 1 else codes  # a clip's frames one after the other: B = clips * frames
        hr = to_float(codes).contiguous(memory_format=torch.channels_last)  # (B, 3, patch, patch)
        if run.grey:
            hr = self.greyed(hr, step)
        scale = run.scale_at(step)
        guide = guidance(hr, scale, run.guide)  # (B, 3, patch/scale, patch/scale), or (B, 1, patch, patch) for colour
        slr = self.net.encode(hr, scale, guide)
        received = self.channel(slr, step)
        if run.aim:
            return hr, guide, slr, self.motion(received, hr)
        if self.net.spec.vsr:
            small, large = (rgb_to_y(x).unflatten(0, (-1, frames)).flatten(1, 2) for x in (received, hr))
            return hr, guide, slr, sofvsr_loss(self.net.decoder, small, large)
        if frames > 1:
            seen = received.unflatten(0, (-1, frames)).flatten(1, 2)  # (B / frames, frames * 3, h, w)
            return hr[frames // 2 :: frames], guide, slr, self.net.decode(seen, scale)
        out = self.net.decoded(received, scale) if self.net.spec.head else self.net.decode(received, scale)
        return hr, guide, slr, out

    def task(self, out: Tensor, hr: Tensor) -> Tensor:
        """The task term of what `forward` gave: a scalar."""
        if out.ndim == 0:  # it is one that compares more than the last image
            return out
        return cic.loss(out, hr, self.run.train) if self.net.spec.head == "cic" else task_loss(out, hr)

    def motion(self, received: Tensor, hr: Tensor) -> Tensor:
        """How far the motion seen in small frames (B, 3, h, w) is from Farneback's in X_HR: HR pixels, mean L1.

        With the aim "farneback" it is OpenCV's own flow that is seen, as in the report: no gradient comes back through
        it. With "flow" it is that of the decoder's flow net.
        """
        frames = self.net.spec.frames
        small, large = (rgb_to_y(x).unflatten(0, (-1, frames)) for x in (received, hr))  # (clips, 3, 1, h, w)
        error = 0.0
        for n in (0, frames - 1):
            truth = farneback(large[:, n], large[:, frames // 2])
            if self.run.aim == "farneback":
                seen = enlarge(farneback(small[:, n], small[:, frames // 2]), truth.shape[-2:])
            else:
                seen = self.net.decoder.flow(small[:, n], small[:, frames // 2]).hr
            error = error + (seen - truth).abs().mean() / 2
        return error

    def greyed(self, hr: Tensor, step: int) -> Tensor:
        """Some of the patches without their colours: else the net never learns that there are such pictures."""
        rng = torch.Generator().manual_seed(self.run.seed * 6_700_417 + step)
        chosen = (torch.rand(len(hr), generator=rng) < self.run.grey).to(hr.device)
        y = rgb_to_y(hr)
        neutral = torch.full_like(y, 128 / 255)
        return torch.where(chosen[:, None, None, None], quantize(ycbcr_to_rgb(y, neutral, neutral)), hr)

    def channel(self, slr: Tensor, step: int) -> Tensor:
        if self.run.recipe == "report":  # rounds only late in training, and then lets no gradient through (FACTS 2)
            return slr if step < 0.8 * self.run.steps else send(slr.detach())
        rng = torch.Generator().manual_seed(self.run.seed * 7_919 + step)
        if self.run.channels:
            return torch.cat([send(x, draw(self.run.channels, rng), rng) for x in slr.split(1)])
        if not self.run.noise:
            return send(slr)
        return send(slr, f"noise:{self.run.noise * torch.rand((), generator=rng).item()}", rng)


def _curve_sets(run: Run) -> dict[str, dict[str, Tensor]]:
    """What a learning curve is measured on: the held-out crops, and for plots only Set5 and Set14.

    Colour nets do without Set14: they work at full size, and it would cost them as much as the training. What sees
    several frames has only its clip.
    """
    if spec(run.model).frames > 1:
        return {"held_out": datasets.held_out(run.train)}
    wanted = ("Set5",) if spec(run.model).task == "colour" else ("Set5", "Set14")
    names = ("SampleCrop",) if run.profile == "smoke" else datasets.here_or_sample(wanted)
    return {"held_out": datasets.held_out(run.train)} | {n.lower(): datasets.load(n) for n in names}


def _history_row(run: Run, model: TAD, progress: _Progress, sets: dict, precision: str) -> dict:
    """A point of the learning curve: means since the last point, extremes of the ratio that epsilon is held against."""
    terms = pd.DataFrame(progress.terms)
    row = {"step": progress.step, "seconds": round(progress.seconds, 2), **terms.mean().to_dict(),
           "of_observed_min": terms["of_observed"].min(), "of_observed_max": terms["of_observed"].max(),
           "of_range_min": terms["of_range"].min(), "of_range_max": terms["of_range"].max()}
    for scale in (run.scale, *run.watch):
        for name, images in sets.items():
            at = "" if scale == run.scale else f"_x{scale}"
            slr, shr = psnr_of_set(model, images, scale, run.guide, fast=precision == "bf16-mixed")
            row |= {f"{name}{at}_slr": slr, f"{name}{at}_shr": shr}
    return {k: round(float(v), 6) if isinstance(v, float) else v for k, v in row.items()}  # no numpy in a checkpoint


def _finish(run: Run, target: Path, model: TAD, progress: _Progress, precision: str) -> None:
    record = asdict(run) | {
        "run": target.name,
        "start": [stored(earlier).folder.name for earlier in run.start],
        "net": run.net.chains(),
        "params": model.parameters_count,
        "recipe_version": RECIPE_VERSION[run.recipe],
        "data": {n: {"images": len(datasets.load(n)), "fingerprint": datasets.fingerprint(n)} for n in run.train},
        "minutes": round(progress.seconds / 60, 2),
        "rewinds": progress.rewinds,
        "precision": precision,
        "machine": machine(),
    }
    with ExitStack() as stack:  # nothing takes its place before all is written: a full disk leaves what was there
        def new(name: str) -> Path:
            return stack.enter_context(replacing(target / name))

        new("record.json").write_text(json.dumps(record, indent=1) + "\n")  # put in place last: it says "complete"
        if progress.rows:
            pd.DataFrame(progress.rows).to_csv(new("history.csv"), index=False)
        if run.trains:
            learnt = {k: v for k, v in model.state_dict().items() if k.split(".")[0] != run.frozen}
            new("weights.safetensors").write_bytes(save({k: v.half().cpu().contiguous() for k, v in learnt.items()}))
        (target / "scores.csv").unlink(missing_ok=True)  # they were those of other weights


def _save(path: Path, state: dict) -> None:
    """Write a checkpoint; the one before is kept beside it. Raises BadInput where the disk is full."""
    data = io.BytesIO()  # not written by torch itself: of a full disk it says "unexpected pos"
    torch.save(state, data)
    with replacing(path) as temporary:
        temporary.write_bytes(data.getbuffer())
        if path.exists():
            path.replace(path.with_name("previous.pt"))


def _resume(path: Path, since: int) -> dict:
    """The newest readable checkpoint, or {}. One older than `since` (in ns) is a rest of what is complete."""
    for candidate in (path, path.with_name("previous.pt")):
        try:
            if candidate.stat().st_mtime_ns > since:
                return torch.load(candidate, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            continue
        except Exception as error:  # a damaged file fails in many ways; the one before it is still good
            print(f"{candidate}: damaged checkpoint passed over ({type(error).__name__})")
    return {}
