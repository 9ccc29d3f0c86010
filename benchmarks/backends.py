"""torch and onnxruntime beside each other: how long a command takes from a cold start, how fast a picture goes, memory.

A start is a process of its own that takes a picture of 512 x 512 pixels; the throughput is that of a large picture in
one process, from the third call on. The two take turns. Prints medians and the ratio, onnxruntime's to torch's.
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
for way in (lambda: codec.downscale(photo), lambda: codec.upscale(small)):
    times = []
    for _ in range(2 + rounds):
        start = time.perf_counter()
        result = way()
        times.append(time.perf_counter() - start)
    small = result
    print(statistics.median(times[2:]))
"""


def told(name: str, found: dict[str, list[float]], unit: str) -> None:
    torch, onnx = (statistics.median(found[backend]) for backend in BACKENDS)
    print(f"{name:22} torch {torch:8.2f}   onnxruntime {onnx:8.2f} {unit:5} ratio {onnx / torch:.2f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tool_x4")
    parser.add_argument("--side", type=int, default=1536, help="of the large picture, in pixels")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", MAKE, folder, options.model, str(options.side)], check=True)
        photo, small, large = (Path(folder, name) for name in ("photo.png", "small.png", "again.png"))
        places = {"torch": os.environ.get("TAD_MODELS", ""), "onnx": folder}
        there, back = ("decolorize", "colorize") if "color" in options.model else ("downscale", "upscale")
        for command, source, target in ((there, photo, small), (back, small, large)):
            seconds: dict[str, list[float]] = {backend: [] for backend in BACKENDS}
            memory: dict[str, list[float]] = {backend: [] for backend in BACKENDS}
            for backend in BACKENDS * options.rounds:
                os.environ["TAD_MODELS"] = places[backend]
                start = time.perf_counter()
                memory[backend].append(peak("-m", "tadlib", command, source, target, "--model", options.model,
                                            "--backend", backend))
                seconds[backend].append(time.perf_counter() - start)
            told(f"{command}, cold", seconds, "s")
            told(f"{command}, peak", memory, "MiB")
        speeds: dict[str, list[list[float]]] = {backend: [] for backend in BACKENDS}
        for backend in BACKENDS * 2:
            done = subprocess.run([sys.executable, "-c", SPEED, folder, options.model, backend, str(options.rounds)],
                                  env=os.environ | {"TAD_MODELS": places[backend]}, check=True, capture_output=True,
                                  text=True)
            speeds[backend].append([options.side**2 / 1e6 / float(line) for line in done.stdout.split()])
        for n, command in enumerate((there, back)):
            told(f"{command}, throughput", {b: [speed[n] for speed in found] for b, found in speeds.items()}, "MP/s")
