"""fit(run): load it if it is there, go on if it is half done, train it otherwise."""
from __future__ import annotations

import io
import json
import shutil
import time
import zipfile
from collections.abc import Callable
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import AcquireReturnProxy, FileLock, Timeout
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

from tadlib import settings
from tadlib.data import sets
from tadlib.data.patches import ClipPatches, Patches, large_enough
from tadlib.errors import BadInput, MissingData, OutOfTime
from tadlib.evaluation.protocol import psnr_of_set
from tadlib.files import replacing
from tadlib.machine import facts, join, over_all
from tadlib.networks import TAD, spec
from tadlib.run import RECIPE_VERSION, Run
from tadlib.stored import RECORD, WEIGHTS, Trained, describe, of
from tadlib.tasks import COLOUR
from tadlib.training.loop import Progress, Trainer


def fit(run: Run, retrain: bool = False, quiet: bool = False, watch: Callable[[Progress], None] | None = None
        ) -> Trained:
    """The trained run: from its folder if complete, from its checkpoint if half done, else trained from the start.

    On a machine without its training data the run falls back to the bundled sample under another name. If another
    process is training it, this one waits and takes what that one leaves. `watch` is shown each step. Under torchrun
    the processes train it together.
    Raises BadInput (no data; weights that do not fit; a full disk), FloatingPointError (the loss is no number any
    more), OutOfTime.
    """
    trained = of(run)
    run, target = trained.run, trained.folder
    first = join() == 0
    before = _first(_completed(target))
    if before and not retrain:
        return trained.unchanged()
    if settings.training_forbidden():
        raise BadInput(f"{target.name}: not among the stored runs, and training is forbidden here")
    with _alone(run, target) if first else nullcontext():
        if _first(_completed(target) == before):  # else another process has trained it meanwhile
            for place in (target, settings.checkpoints(run.profile) / target.name) if first else ():
                for leftover in place.glob(".*.*"):  # of a process that was killed while it wrote
                    leftover.unlink()
            try:
                if run.trains:  # what is stored stays until the new one is complete
                    _train(run, target, quiet or not first, watch)
                elif first:
                    _finish(run, target, run.build(), Progress(), "32-true")
            finally:
                with suppress(OSError):
                    target.rmdir()  # if nothing came of it
    _first(0)  # none goes on before all is written
    return trained


def _first(mine: int) -> int:
    """What the first of the processes found: all go on from that."""
    return int(over_all(torch.tensor(int(mine) if join() == 0 else 0), largest=True))


def _completed(target: Path) -> int:
    """When the run in this folder was completed, in nanoseconds; 0 if it was not."""
    record = target / RECORD
    return record.stat().st_mtime_ns if record.exists() else 0


def _alone(run: Run, target: Path) -> AcquireReturnProxy:
    """A context in which no other process trains the run: a lock of the system's, which a killed process cannot leave.

    Raises OutOfTime where another one has it until $TAD_UNTIL.
    """
    place = settings.checkpoints(run.profile)
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
        return lock.acquire(timeout=max(0.0, settings.until() - time.time()), poll_interval=0.2)
    except Timeout:
        raise OutOfTime(f"{run.name}: out of time while another process was training it") from None


def begin(run: Run) -> TAD:
    """The network as the run's training finds it: fresh, or with the weights of the runs it starts from.

    A first convolution that sees more frames than the one it comes from does at first what that one did: the weights of
    the middle frame are that one's, the others zero (as drawn where the row of the zoo does not start at zero).
    """
    model = run.build()
    mine = model.state_dict()
    for earlier in run.start:
        for name, theirs in fit(earlier).network().state_dict().items():
            if name not in mine or (theirs.ndim == 4 and theirs.shape[1] > mine[name].shape[1]):
                continue
            if theirs.shape != mine[name].shape:
                wide = torch.zeros_like(mine[name]) if run.net.start == "zero" else mine[name].clone()
                first = (wide.shape[1] - theirs.shape[1]) // 2
                wide[:, first : first + theirs.shape[1]] = theirs
                theirs = wide
            mine[name] = theirs
    model.load_state_dict(mine)
    if run.frozen:
        model.get_submodule(run.frozen).requires_grad_(False)
    return model.to(memory_format=torch.channels_last)


def _train(run: Run, target: Path, quiet: bool, watch: Callable[[Progress], None] | None) -> None:
    missing = [n for n in run.train if not sets.files(n)]
    if missing:
        raise MissingData(f"{run.name}: no training data {', '.join(missing)} (see `python -m workbook data`)")
    scales = run.scales or (run.scale,)
    if any(run.patch % scale for scale in scales):
        raise BadInput(f"{run.name}: patches of {run.patch} pixels are no multiple of {max(scales)}, the scale")
    every, _ = settings.checkpoint_seconds(), settings.until()  # a bad value is told before the first step
    patches = (ClipPatches if run.net.head.frames > 1 else Patches)(run.train, run.patch)
    for name in run.train:
        for line in sets.load(name).broken:
            print(f"{run.name}: {line}")
        if small := len(sets.load(name)) - _large(run, name):
            print(f"{run.name}: {small} images of {name} are too small for patches of {run.patch} pixels")
    trainer = Trainer(run, begin(run))
    saved = settings.checkpoints(run.profile) / target.name / "state.pt"
    _resume(trainer, saved, _completed(target))
    progress, first = trainer.progress, join() == 0
    marks, curve_sets = _history_steps(run), _curve_sets(run)

    bar = tqdm(total=run.steps, initial=progress.step, desc=run.name, disable=True if quiet else None, mininterval=1)
    checkpointed = time.perf_counter()
    while progress.step < run.steps:
        start = time.perf_counter()
        codes = patches.batch(run.batch, run.generator("patches", progress.step))
        progress.terms.append(trainer.step(codes, progress.step))
        progress.seconds += time.perf_counter() - start
        progress.step += 1
        bar.update()
        if progress.step in marks:
            if first:
                progress.rows.append(_history_row(run, trainer, curve_sets))
                bar.set_postfix(held_out=f"{progress.rows[-1]['held_out_shr']:.2f} dB")
            progress.terms = []
        if watch:
            watch(progress)
        over = progress.step < run.steps and bool(_first(time.time() > settings.until()))
        if first and (over or time.perf_counter() - checkpointed > every):
            _save(saved, trainer.state())
            checkpointed = time.perf_counter()
        if over:
            _first(0)  # torchrun ends all with the first that fails: not before the checkpoint is written
            raise OutOfTime(f"{run.name}: out of time at step {progress.step} of {run.steps}; goes on from there")
    bar.close()
    if first:
        _finish(run, target, trainer.average, progress, trainer.computed)
        shutil.rmtree(saved.parent, ignore_errors=True)


def _large(run: Run, name: str) -> int:
    """How many images of a training set are large enough."""
    return large_enough(name, run.patch, run.net.head.frames)


def _history_steps(run: Run) -> set[int]:
    """About 20 steps at which the curve gets a point, denser at the start."""
    return {int(s) for s in np.geomspace(max(1, run.steps // 40), run.steps, 16).round()} | {run.steps}


def _curve_sets(run: Run) -> dict[str, dict[str, Tensor]]:
    """What a learning curve is measured on: the held-out crops, and for plots only Set5 and Set14.

    Colour nets do without Set14: they work at full size, and it would cost them as much as the training. What sees
    several frames has only its clip.
    """
    if run.net.head.frames > 1:
        return {"held_out": sets.held_out(run.train)}
    wanted = ("Set5",) if spec(run.model).task == COLOUR.name else ("Set5", "Set14")
    names = ("SampleCrop",) if run.profile == "smoke" else sets.here_or_sample(wanted)
    return {"held_out": sets.held_out(run.train)} | {n.lower(): sets.load(n) for n in names}


def _history_row(run: Run, trainer: Trainer, curve_sets: dict) -> dict:
    """A point of the learning curve: means since the last point, extremes of the ratio that epsilon is held against."""
    progress, fast = trainer.progress, trainer.precision == "bf16-mixed"
    terms = pd.DataFrame(progress.terms)
    row = {"step": progress.step, "seconds": round(progress.seconds, 2), **terms.mean().to_dict(),
           "of_observed_min": terms["of_observed"].min(), "of_observed_max": terms["of_observed"].max(),
           "of_range_min": terms["of_range"].min(), "of_range_max": terms["of_range"].max()}
    for scale in (run.scale, *run.watch):
        for name, images in curve_sets.items():
            at = "" if scale == run.scale else f"_x{scale}"
            slr, shr = psnr_of_set(trainer.average, images, scale, run.guide, fast)
            row |= {f"{name}{at}_slr": slr, f"{name}{at}_shr": shr}
    return {k: round(float(v), 6) if isinstance(v, float) else v for k, v in row.items()}  # no numpy in a checkpoint


def _finish(run: Run, target: Path, model: TAD, progress: Progress, precision: str) -> None:
    record = asdict(run) | {
        "run": target.name,
        "start": [of(earlier).folder.name for earlier in run.start],
        "network": run.net.words(),
        "params": model.parameters_count,
        "recipe_version": RECIPE_VERSION[run.recipe],
        "data": {n: {"images": _large(run, n), "fingerprint": sets.fingerprint(n)} for n in run.train},
        "minutes": round(progress.seconds / 60, 2),
        "rewinds": progress.rewinds,
        "precision": precision,
        "machine": facts(),
    }
    if run.trains:
        learnt = {k: v for k, v in model.state_dict().items() if k.split(".")[0] != run.frozen}
        weights = save({k: v.half().cpu().contiguous() for k, v in learnt.items()})
        record["weights"] = describe(weights)
    with ExitStack() as stack:  # nothing takes its place before all is written: a full disk leaves what was there
        def new(name: str) -> Path:
            return stack.enter_context(replacing(target / name))

        new(RECORD).write_text(json.dumps(record, indent=1) + "\n")  # put in place last: it says "complete"
        if progress.rows:
            pd.DataFrame(progress.rows).to_csv(new("history.csv"), index=False)
        if run.trains:
            new(WEIGHTS).write_bytes(weights)
        (target / "scores.csv").unlink(missing_ok=True)  # they were those of other weights


def _save(path: Path, state: dict) -> None:
    """Write a checkpoint; the one before is kept beside it. Raises BadInput where the disk is full."""
    data = io.BytesIO()  # not written by torch itself: of a full disk it says "unexpected pos"
    torch.save(state, data)
    with replacing(path) as temporary:
        temporary.write_bytes(data.getbuffer())
        if path.exists():
            path.replace(path.with_name("previous.pt"))


def _resume(trainer: Trainer, path: Path, since: int) -> None:
    """Go on from the newest usable checkpoint, if there is one. One older than `since` (in ns) is a rest of what is
    complete.
    """
    for candidate in (path, path.with_name("previous.pt")):
        try:
            if candidate.stat().st_mtime_ns <= since:
                continue
            with zipfile.ZipFile(candidate) as archive:  # torch.load itself tests no checksum
                if damaged := archive.testzip():
                    raise BadInput(f"checksum of {damaged}")
            trainer.load(torch.load(candidate, map_location="cpu", weights_only=True))
            return
        except FileNotFoundError:
            continue
        except Exception as error:  # a damaged file fails in many ways; the one before it is still good
            print(f"{candidate}: damaged checkpoint passed over ({type(error).__name__})")
