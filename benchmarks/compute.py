"""Training compute: our step (precision chosen for the machine, channels_last, Muon) against a plain fp32 loop.

Both sides train the same network on the same batches, held in memory; the plain loop is what one writes first: fp32,
default memory layout, Adam. Prints seconds a step (median) and the ratio.
"""
import argparse
import statistics
import time

import torch

from tadlib import studies
from tadlib.channel import send
from tadlib.guidance import guidance
from tadlib.losses import latent_loss, task_loss
from tadlib.runs import machine
from tadlib.training import Pass, fastest_precision, make_optimizers

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def ours(run):
    net = run.build().to(DEVICE, memory_format=torch.channels_last)
    step, optimizers = Pass(run, net), make_optimizers(run, net)
    fast = fastest_precision(DEVICE) == "bf16-mixed"

    def train(codes):
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=fast):
            hr, guide, slr, shr = step(codes, 0)
        (task_loss(shr, hr) + run.beta * latent_loss(slr, guide).loss).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return train


def plain(run):
    net = run.build().to(DEVICE)
    optimizer = torch.optim.Adam(net.parameters(), lr=4e-4)

    def train(codes):
        hr = codes.float() / 255
        guide = guidance(hr, run.scale)
        slr = net.encode(hr, run.scale, guide)
        shr = net.decode(send(slr), run.scale)
        (task_loss(shr, hr) + run.beta * latent_loss(slr, guide).loss).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return train


def seconds(train, codes):
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
    print(machine(), "precision:", fastest_precision(DEVICE))
    for name in options.runs:
        run = studies.run(name)
        shape = (run.batch, 3, run.patch, run.patch)
        codes = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).to(DEVICE)
        sides = {"ours": ours(run), "plain fp32": plain(run)}
        times = {side: [] for side in sides}
        for n in range(options.steps + 2):
            for side, train in sides.items():
                t = seconds(train, codes)
                if n >= 2:  # the first two warm up
                    times[side].append(t)
        a, b = (statistics.median(t) for t in times.values())
        print(f"{name:10} batch {run.batch}: ours {a:.3f} s, plain fp32 {b:.3f} s a step: {b / a:.2f} times as fast")
