"""Seconds and peak memory of downscaling with 0, 3, 10 and 30 refinement steps, each a process of its own.

The picture is the one of large_photo.py at another size. The seconds of no steps are taken off: what is printed is what
a step costs for a megapixel, and how that compares with decoding once.
"""
import argparse
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from clip_memory import peak
from large_photo import MAKE

from tadlib import machine

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tool_x4")
    parser.add_argument("--size", type=int, nargs=2, default=[1000, 1000], metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 3, 10, 30])
    parser.add_argument("--limit", type=float, default=3, metavar="GB", help="of memory; above it the exit code is 1")
    parser.add_argument("--keep", type=Path, metavar="CSV", help="write the rows there, in place of those of "
                        "this model, precision and size: results/cpu/refine_cost.csv")
    options = parser.parse_args()
    rows, plain = [], 0.0
    precision = machine.precision(machine.best_device())
    megapixels = options.size[0] * options.size[1] / 1e6
    with tempfile.TemporaryDirectory() as folder:
        photo, small, big = (Path(folder, name) for name in ("photo.jpg", "small.png", "big.png"))
        peak("-c", MAKE, photo, *options.size)
        for steps in options.steps:
            start = time.perf_counter()
            memory = peak("-m", "tadlib", "downscale", photo, small, "--model", options.model,
                          "--refine", steps) * 2**20 / 1e9
            seconds = time.perf_counter() - start
            plain = plain if steps else seconds
            a_step = (seconds - plain) / steps / megapixels if steps else 0.0
            rows.append({"model": options.model, "precision": precision, "steps": steps, "megapixels": megapixels,
                         "peak GB": round(memory, 2), "seconds": round(seconds, 1), "s/MP a step": round(a_step, 2),
                         **machine.facts()})
            print(f"{steps:3} steps: {memory:.2f} GB, {seconds:.1f} s, {a_step:.2f} s a megapixel and step", flush=True)
        start = time.perf_counter()
        peak("-m", "tadlib", "upscale", small, big)
        print(f"upscale: {time.perf_counter() - start:.1f} s")
    if options.keep:
        kept = pd.read_csv(options.keep) if options.keep.exists() else pd.DataFrame(columns=list(rows[0]))
        mine = {"model": options.model, "precision": precision, "megapixels": megapixels}
        other = kept[(kept[list(mine)] != pd.Series(mine)).any(axis=1)]
        pd.DataFrame([*other.to_dict("records"), *rows]).to_csv(options.keep, index=False)
    sys.exit(max(row["peak GB"] for row in rows) >= options.limit)
