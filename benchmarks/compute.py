"""Training compute: our step (precision chosen for the machine, channels_last, Muon) against a plain fp32 loop.

Both sides train the same network on the same batches, held in memory; the plain loop is what one writes first: fp32,
default memory layout, Adam. Prints seconds a step (median) and the ratio.
"""
import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from tadlib import machine
from tadlib.channel import send
from tadlib.losses import latent_loss, task_loss
from tadlib.run import Run
from tadlib.tasks import guidance
from tadlib.training.loop import Trainer
from workbook import studies

DEVICE = machine.best_device()
Step = Callable[[Tensor], object]  # trains on a batch of codes


def ours(run: Run) -> Step:
    trainer, count = Trainer(run), itertools.count()
    return lambda codes: trainer.step(codes, next(count))


def plain(run: Run) -> Step:
    net = run.build().to(DEVICE)
    optimizer = torch.optim.Adam(net.parameters(), lr=4e-4)

    def train(codes: Tensor) -> None:
        hr = codes.to(DEVICE).float() / 255
        guide = guidance(hr, run.scale)
        slr = net.encode(hr, run.scale, guide)
        shr = net.decode(send(slr), run.scale)
        (task_loss(shr, hr) + run.beta * latent_loss(slr, guide).loss).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return train


def seconds(train: Step, codes: Tensor) -> float:
    start = time.perf_counter()
    train(codes)
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", nargs="+", default=["aetad", "tool_x4"])
    parser.add_argument("--steps", type=int, default=12)
    options = parser.parse_args()
    print(machine.facts(), "precision:", machine.precision(DEVICE))
    for name in options.runs:
        run = studies.named(name)
        shape = (run.batch, 3, run.patch, run.patch)
        codes = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        sides = {"ours": ours(run), "plain fp32": plain(run)}
        times = {side: [] for side in sides}
        for n in range(options.steps + 2):
            for side, train in sides.items():
                t = seconds(train, codes)
                if n >= 2:  # the first two warm up
                    times[side].append(t)
        a, b = (statistics.median(t) for t in times.values())
        print(f"{name:10} batch {run.batch}: ours {a:.3f} s, plain fp32 {b:.3f} s a step: {b / a:.2f} times as fast")
