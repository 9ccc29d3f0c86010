"""What computes: the device, the precision that is fastest on it, and its name for the records."""
from __future__ import annotations

import functools
import platform
import time
from pathlib import Path

import torch


def best_device() -> torch.device:
    """Where networks work: the GPU if there is one, else the CPU. From then on float32 is float32 there."""
    torch.backends.cudnn.allow_tf32 = False  # by default a GPU's convolutions in float32 round to 10 bits
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@functools.cache
def fastest_precision(device: torch.device) -> str:
    """"bf16-mixed" where it is measured or known to be faster here, else "32-true"; found once per process.

    On CPUs with bf16 instructions it halves the step, on others it is 14 times slower: so two steps are timed.
    """
    if device.type != "cpu":
        return "bf16-mixed" if torch.cuda.is_available() and torch.cuda.is_bf16_supported(False) else "32-true"
    conv = torch.nn.Conv2d(64, 64, 3, padding=1).to(memory_format=torch.channels_last)
    x = torch.rand(8, 64, 32, 32).to(memory_format=torch.channels_last)
    seconds = {}
    for precision in ("32-true", "bf16-mixed"):
        times = []
        for _ in range(4):
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
                y = conv(conv(x))
            y.float().square().mean().backward()
            times.append(time.perf_counter() - start)
        seconds[precision] = min(times[1:])  # the first one warms up
    return min(seconds, key=lambda precision: seconds[precision])


def facts() -> dict:
    """What computed: processor, cores, versions."""
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"cpu": cpu, "threads": torch.get_num_threads(), "gpu": gpu,
            "python": platform.python_version(), "torch": torch.__version__}
