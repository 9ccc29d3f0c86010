"""torch and onnxruntime beside each other: how long a command takes from a cold start, how fast a picture goes, memory.

A start is a process of its own that takes a picture of 512 x 512 pixels; the throughput is that of a large picture in
one process, from the third call on; refined is the small picture, in float32 or what torch finds faster. The two take
turns. Prints medians and the ratio, onnxruntime's to torch's. Exit code 1 where a cold downscale with onnxruntime takes
a second or more: let nothing else run.
"""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from clip_memory import peak

BACKENDS = ("torch", "onnx")
COLD = "cold downscale"
MAKE = """
import sys, numpy, skimage.data
from PIL import Image
from tadlib.tool.export import export
folder, model, side = sys.argv[1], sys.argv[2], int(sys.argv[3])
export(model, __import__("pathlib").Path(folder, model))
photo = skimage.data.astronaut()
Image.fromarray(photo).save(f"{folder}/photo.png")
Image.fromarray(numpy.tile(photo, (-(-side // 512), -(-side // 512), 1))[:side, :side]).save(f"{folder}/large.png")
"""
SPEED = """
import statistics, sys, time
from tadlib.files import read_image
from tadlib.tool.codec import Codec
folder, model, backend, rounds = *sys.argv[1:4], int(sys.argv[4])
codec, photo = Codec.find(model, task=None, backend=backend), read_image(f"{folder}/large.png")
less = photo[:512, :512]
for way, skipped in ((lambda: codec.downscale(photo), 2), (lambda: codec.upscale(small), 2),
                     (lambda: codec.downscale(less, refine=3), 1)):
    times = []
    for _ in range(skipped + (rounds if skipped > 1 else 1)):
        start = time.perf_counter()
        result = way()
        times.append(time.perf_counter() - start)
    small = result
    print(statistics.median(times[skipped:]))
"""

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tool_x4")
    parser.add_argument("--side", type=int, default=1024, help="of the large picture, in pixels")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", type=Path, metavar="CSV", help="write the rows there: results/cpu/backends.csv")
    options = parser.parse_args()
    there, back = ("decolorize", "colorize") if "color" in options.model else ("downscale", "upscale")
    rows = []

    def told(what: str, found: dict[str, list[float]], unit: str) -> float:
        torch, onnx = (statistics.median(found[backend]) for backend in BACKENDS)
        what = what.replace("downscale", there).replace("upscale", back)
        rows.append({"model": options.model, "what": what, "unit": unit, "by torch": round(torch, 3),
                     "by onnxruntime": round(onnx, 3)})  # "torch" is its version, below
        print(f"{what:26} torch {torch:8.2f}   onnxruntime {onnx:8.2f} {unit:5} ratio {onnx / torch:.2f}", flush=True)
        return onnx

    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", MAKE, folder, options.model, str(options.side)], check=True)
        photo, small, large = (Path(folder, name) for name in ("photo.png", "small.png", "again.png"))
        places = {"torch": os.environ.get("TAD_MODELS", ""), "onnx": folder}
        cold = {}
        for command, name, source, target in ((there, COLD, photo, small), (back, "cold upscale", small, large)):
            seconds: dict[str, list[float]] = {backend: [] for backend in BACKENDS}
            memory: dict[str, list[float]] = {backend: [] for backend in BACKENDS}
            for backend in BACKENDS * options.rounds:
                os.environ["TAD_MODELS"] = places[backend]
                start = time.perf_counter()
                memory[backend].append(peak("-m", "tadlib", command, source, target, "--model", options.model,
                                            "--backend", backend))
                seconds[backend].append(time.perf_counter() - start)
            cold[name] = told(name, seconds, "s")
            told(f"{name}, peak", memory, "MiB")
        speeds: dict[str, list[list[float]]] = {backend: [] for backend in BACKENDS}
        for backend in BACKENDS * 2:
            done = subprocess.run([sys.executable, "-c", SPEED, folder, options.model, backend, str(options.rounds)],
                                  env=os.environ | {"TAD_MODELS": places[backend]}, check=True, capture_output=True,
                                  text=True)
            speeds[backend].append([float(line) for line in done.stdout.split()])
        for n, command in enumerate(("downscale", "upscale")):
            told(f"{command}, throughput", {b: [options.side**2 / 1e6 / speed[n] for speed in found]
                                            for b, found in speeds.items()}, "MP/s")
        told("downscale, 3 steps", {b: [speed[2] for speed in found] for b, found in speeds.items()}, "s")
    if options.keep:
        import pandas as pd  # here: this process stays small, a child is charged what its parent had

        from tadlib import machine

        pd.DataFrame([row | machine.facts() for row in rows]).to_csv(options.keep, index=False)
    sys.exit(cold[COLD] >= 1)
