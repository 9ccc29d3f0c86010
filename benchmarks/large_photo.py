"""Peak memory and time of the tool on a photograph of 48 megapixels, down and up.

The picture is a sample's, repeated to 8000 x 6000 pixels and stored as JPEG; each command is a process of its own.
"""
import argparse
import sys
import tempfile
import time
from pathlib import Path

from clip_memory import peak

MAKE = """
import sys
import numpy, skimage.data
from PIL import Image
path, width, height = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
coffee = skimage.data.coffee()  # 400 x 600
repeated = numpy.tile(coffee, (-(-height // 400), -(-width // 600), 1))[:height, :width]
Image.fromarray(repeated).save(path, quality=95)
"""

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["tool_x4"])
    parser.add_argument("--size", type=int, nargs=2, default=[8000, 6000], metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--limit", type=float, default=3, metavar="GB", help="of memory; above it the exit code is 1")
    options = parser.parse_args()
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        photo, small, big = (Path(folder, name) for name in ("photo.jpg", "small.png", "big.png"))
        peak("-c", MAKE, photo, *options.size)
        for model in options.models:
            for command, source, target in (("downscale", photo, small), ("upscale", small, big)):
                start = time.perf_counter()
                memory = peak("-m", "tadlib", command, source, target, "--model", model) * 2**20 / 1e9
                worst = max(worst, memory)
                print(f"{model:10} {command:9} {memory:.2f} GB, {time.perf_counter() - start:.0f} s", flush=True)
    sys.exit(worst >= options.limit)
