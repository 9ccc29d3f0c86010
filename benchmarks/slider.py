"""How long the explorer takes to answer a changed sigma on a 512x512 picture: the median over its noise levels."""
import time

import numpy as np

from tadlib.data import sets
from workbook import studies
from workbook.viewer import explorer

pictures = {"astronaut": sets.load("Sample")["astronaut"]}  # 512x512, of which the explorer shows the middle
for name in ("eps_0", "tool_x4"):
    viewer = explorer({name: studies.trained(name)}, pictures, studies.SIGMAS)
    seconds = []
    for sigma in studies.SIGMAS:
        start = time.perf_counter()
        viewer.controls["sigma"].value = sigma
        seconds.append(time.perf_counter() - start)
    print(f"{name}: median {np.median(seconds):.2f} s, slowest {max(seconds):.2f} s")
