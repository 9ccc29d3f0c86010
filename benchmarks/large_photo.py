"""Peak memory and time of the tool on a photograph of 48 megapixels, down and up.

The picture is a sample's, repeated to 8000 x 6000 pixels and stored as JPEG; each command is a process of its own.
"""
import argparse
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from clip_memory import peak

from tadlib import machine

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
    parser.add_argument("--keep", type=Path, metavar="CSV", help="write the rows there: results/cpu/large_photo.csv")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        photo, small, big = (Path(folder, name) for name in ("photo.jpg", "small.png", "big.png"))
        peak("-c", MAKE, photo, *options.size)
        for model in options.models:
            for command, source, target in (("downscale", photo, small), ("upscale", small, big)):
                start = time.perf_counter()
                memory = peak("-m", "tadlib", command, source, target, "--model", model) * 2**20 / 1e9
                seconds = time.perf_counter() - start
                rows.append({"model": model, "command": command, "megapixels": options.size[0] * options.size[1] / 1e6,
                             "peak GB": round(memory, 2), "seconds": round(seconds), **machine.facts()})
                print(f"{model:10} {command:9} {memory:.2f} GB, {seconds:.0f} s", flush=True)
    if options.keep:
        pd.DataFrame(rows).to_csv(options.keep, index=False)
    sys.exit(max(row["peak GB"] for row in rows) >= options.limit)
