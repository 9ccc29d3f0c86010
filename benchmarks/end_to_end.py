"""End to end: training with patches cut from memory against a DataLoader that reads and decodes files.

Same network, same step, same batch; the only difference is where patches come from. Uses DIV2K_crops and BSDS_train
where they are, else the bundled sample. Prints steps a second and the ratio.
"""
import argparse
import time
from pathlib import Path

import torch
from compute import ours
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tadlib import machine
from tadlib.data import sets
from tadlib.data.patches import Patches
from tadlib.files import read_image
from tadlib.pixels import from_array
from workbook import studies


class Files(Dataset):
    """One random patch of one file an item: the usual way."""

    def __init__(self, files: list[Path], size: int):
        self.files, self.size = files, size

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: int) -> Tensor:
        image = from_array(read_image(self.files[torch.randint(len(self.files), ()).item()]))
        top, left = (torch.randint(n - self.size + 1, ()).item() for n in image.shape[1:])
        return image[:, top : top + self.size, left : left + self.size]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", default="tool_x4")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    run = studies.named(options.run)
    names = run.train if all(map(sets.is_here, run.train)) else ("SampleTrain",)
    patches = Patches(names, run.patch)
    files = [f for name in names for f in sets.files(name)]
    loader = iter(DataLoader(Files(files, run.patch), run.batch, num_workers=options.workers))
    train = ours(run)
    sources = {"memory": lambda n: patches.batch(run.batch, run.generator("patches", n)),
               "files": lambda n: next(loader)}
    spent = dict.fromkeys(sources, 0.0)
    for n in range(options.steps // 5 + 1):  # in turns of five steps; the first turn warms up
        for name, source in sources.items():
            start = time.perf_counter()
            for k in range(5):
                train(source(5 * n + k))
            spent[name] += (time.perf_counter() - start) if n else 0
    told = f"data: {', '.join(names)}; {run.name}, batch {run.batch}, {options.workers} loader workers"
    print(machine.facts(), told)
    rate = {name: 5 * (options.steps // 5) / t for name, t in spent.items()}
    ratio = rate["memory"] / rate["files"]
    print(f"memory {rate['memory']:.2f}, files {rate['files']:.2f} steps/s: {ratio:.2f} times as fast")
