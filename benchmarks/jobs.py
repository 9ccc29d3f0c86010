"""A folder through `downscale` and `upscale` with --jobs 2 and with one job, one thread each: pictures a second.

Each is a command of its own; the two take turns. The speed is that from when each job has written a picture to the
last; what a start takes (loading torch, with --jobs in each process as well) is printed apart.
"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from tadlib import machine

MAKE = """
import sys, numpy, skimage.data
from PIL import Image
folder, count, side = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
photo = numpy.tile(skimage.data.astronaut(), (-(-side // 512), -(-side // 512), 1))[:side, :side]
for n in range(count):
    Image.fromarray(numpy.roll(photo, 16 * n, 1)).save(f"{folder}/{n}.png")
"""
JOBS = (1, 2)


def speed(command: str, source: Path, out: Path, model: str, jobs: int) -> tuple[float, float]:
    """Pictures a second of a command on a folder, and the seconds until the first is there."""
    shutil.rmtree(out, ignore_errors=True)
    start = time.time()
    subprocess.run([sys.executable, "-m", "tadlib", command, source, out, "--model", model, "--jobs", str(jobs)],
                   env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    times = sorted(path.stat().st_mtime for path in out.iterdir())
    # the clock starts when each job has written one: those of the first round are begun before it
    return (len(times) - jobs) / (times[-1] - times[jobs - 1]), times[0] - start


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=48)
    parser.add_argument("--side", type=int, default=768, help="of a picture, in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="tool_x4")
    parser.add_argument("--keep", type=Path, metavar="CSV", help="write the rows there: results/cpu/jobs.csv")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as place:
        photos, small, large = (Path(place, name) for name in ("photos", "small", "large"))
        photos.mkdir()
        subprocess.run([sys.executable, "-c", MAKE, photos, str(options.pictures), str(options.side)], check=True)
        for command, source, out in (("downscale", photos, small), ("upscale", small, large)):
            found: dict[int, list[tuple[float, float]]] = {jobs: [] for jobs in JOBS}
            load = os.getloadavg()[0]
            for jobs in JOBS * options.rounds:
                found[jobs].append(speed(command, source, out, options.model, jobs))
            (one, first), (two, second) = (map(statistics.median, zip(*found[jobs], strict=True)) for jobs in JOBS)
            rows.append({"command": command, "model": options.model, "pictures": options.pictures,
                         "side": options.side, "rounds": options.rounds, "one job, pictures/s": round(one, 3),
                         "two jobs, pictures/s": round(two, 3), "ratio": round(two / one, 2),
                         "start of one, s": round(first, 1), "start of two, s": round(second, 1),
                         "load": round(load, 1), "niceness": os.nice(0), "cores": os.cpu_count(), **machine.facts()})
            print(f"{command:10} one job {one:.2f}, two jobs {two:.2f} pictures/s: ratio {two / one:.2f} (start "
                  f"{first:.0f} s and {second:.0f} s), load {load:.1f} on {os.cpu_count()} cores", flush=True)
    if options.keep:
        pd.DataFrame(rows).drop(columns="threads").to_csv(options.keep, index=False)
