"""Memory of two processes that train at once on a set of 2 GB decoded, and of two that hold it in memory each.

The set is made here: smooth pictures of 2040 x 1360 pixels without noise. What is asked of a process again and again
is what it holds beyond the page cache (RssAnon and RssShmem of /proc/PID/status, Linux alone): pages of the decoded
file are the system's, one copy for both. The first of the two decodes the set, the other waits for it.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from tadlib import machine

SIZE = 2040, 1360
MAKE = """
import sys, numpy
from PIL import Image
folder, count, width, height = sys.argv[1], *map(int, sys.argv[2:])
y, x, c = numpy.arange(height)[:, None, None] / 100, numpy.arange(width)[:, None] / 100, numpy.arange(3)
for n in range(count):
    rows, columns = 63 * numpy.cos(y * (1 + n % 5) - c) + 127, 63 * numpy.sin(x * (1 + n % 7) + n + c)
    Image.fromarray(numpy.add(rows, columns, dtype=numpy.float32).astype(numpy.uint8)).save(f"{folder}/{n:03}.bmp")
"""
TRAIN = """
import sys
from tadlib.data import sets
from tadlib.run import Run
from tadlib.training.fit import fit
folder, name, steps, where = sys.argv[1:]
if where == "in memory":
    sets.IN_MEMORY = 1 << 60
fit(Run(name, "aetad_very_small", steps=int(steps), train=(folder,)))
"""


def held(process: subprocess.Popen) -> int:
    """kB that a process holds beyond the page cache now; 0 once it is gone."""
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "RssShmem")))


def peaks(folder: Path, steps: int, where: str, place: str) -> list[int]:
    """The peak of each of two trainings at once, in bytes, seen 50 times a second."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TAD_RESULTS": f"{place}/{where}",
                                "TAD_CHECKPOINTS": f"{place}/checkpoints"}
    Path(place, where).mkdir()
    both = [subprocess.Popen([sys.executable, "-c", TRAIN, folder, f"run_{n}", str(steps), where],
                             env=environment, stderr=subprocess.DEVNULL) for n in (1, 2)]
    found = [0, 0]
    while any(process.poll() is None for process in both):
        found = [max(peak, held(process)) for peak, process in zip(found, both, strict=True)]
        time.sleep(0.02)
    if any(process.returncode for process in both):
        sys.exit("a training failed")
    return [peak * 1024 for peak in found]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=241, help="of 8.3 MB decoded each")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--limit", type=float, default=1, metavar="GB", help="of each process; above it exit code 1")
    parser.add_argument("--keep", type=Path, metavar="CSV", help="write the rows there: results/cpu/large_set.csv")
    options = parser.parse_args()
    rows, size = [], options.pictures * 3 * SIZE[0] * SIZE[1]
    with tempfile.TemporaryDirectory() as place:
        pictures = Path(place, "pictures")
        pictures.mkdir()
        subprocess.run([sys.executable, "-c", MAKE, pictures, *map(str, (options.pictures, *SIZE))], check=True)
        for where in ("in a file", "in memory"):
            start = time.perf_counter()
            for n, peak in enumerate(peaks(pictures, options.steps, where, place), 1):
                rows.append({"set": where, "set GB": round(size / 1e9, 2), "process": n, "steps": options.steps,
                             "peak GB": round(peak / 1e9, 2), **machine.facts(), "threads": 1})
                print(f"{size / 1e9:.2f} GB {where:9}  process {n}: {peak / 1e9:.2f} GB beyond the page cache",
                      flush=True)
            print(f"{'':20} both took {time.perf_counter() - start:.0f} s, decoding included", flush=True)
            if options.keep:
                pd.DataFrame(rows).to_csv(options.keep, index=False)
    sys.exit(any(row["peak GB"] >= options.limit for row in rows if row["set"] == "in a file"))
