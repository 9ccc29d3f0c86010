"""What computes: the device, the precision that is fastest on it, its name for the records; one process or several."""
from __future__ import annotations

import atexit
import functools
import platform
import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from tadlib import settings
from tadlib.errors import BadInput


def best_device() -> torch.device:
    """Where networks work: $TAD_DEVICE, else the CUDA GPU if there is one (under torchrun one's own), else the CPU.

    From then on float32 is float32 there. Raises BadInput where there is no such device.
    """
    torch.backends.cudnn.allow_tf32 = False  # by default a GPU's convolutions in float32 round to 10 bits
    wanted = settings.device()
    own = f"cuda:{dist.get_node_local_rank(0) if dist.is_available() else 0}"  # torchrun numbers its processes
    if wanted is None:
        return torch.device(own if torch.cuda.is_available() else "cpu")
    try:
        return torch.zeros(0, device=own if wanted == "cuda" else wanted).device
    except (RuntimeError, AssertionError):  # the second: a torch that was built without it
        raise BadInput(f"{wanted}: no such device here; CUDA has {torch.cuda.device_count()}, and the cpu") from None


def join() -> int:
    """This process's number among those that torchrun started to train together; 0 where it is alone."""
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        return 0
    if not dist.is_initialized():
        if (device := best_device()).type == "cuda":
            torch.cuda.set_device(device)
        timeout = timedelta(days=1)  # the others wait while the first one scores
        store, rank, size = next(dist.rendezvous("env://", timeout=timeout))
        # torchrun keeps one store over all restarts: in it are addresses of processes that are no more
        own = dist.PrefixStore(f"life {settings.restarts()}", store)
        dist.init_process_group(store=own, rank=rank, world_size=size, timeout=timeout)
        atexit.register(dist.destroy_process_group)
    return dist.get_rank()


def processes() -> int:
    """How many train together, each on its part of every batch."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def over_all(mine: Tensor, largest: bool = False) -> Tensor:
    """The mean of every process's tensor, or the largest, element by element: what one decides on, all decide alike."""
    if processes() == 1:
        return mine
    mine = mine.detach().clone()
    dist.all_reduce(mine, dist.ReduceOp.MAX if largest else dist.ReduceOp.SUM)
    return mine if largest else mine / processes()


def share(batch: Tensor) -> Tensor:
    """This process's part of what is drawn for a whole batch: (B, ...) -> (B / processes, ...)."""
    return batch if processes() == 1 else batch.chunk(processes())[dist.get_rank()]


def whole(part: Tensor) -> Tensor:
    """A whole batch with this process's part in its place, the others' zero: (B / processes, ...) -> (B, ...)."""
    if processes() == 1:
        return part
    before = dist.get_rank() * len(part)
    zeros = part.new_zeros(processes() * len(part), *part.shape[1:])
    return torch.cat([zeros[:before], part, zeros[before + len(part) :]])


@functools.cache
@torch.inference_mode(False)
@torch.enable_grad()  # wherever it is asked for
def fastest_precision(device: torch.device) -> str:
    """"bf16-mixed" where it is measured or known to be faster here, else "32-true"; found once per process.

    On CPUs with bf16 instructions it halves the step, on others it is 14 times slower: so two steps are timed.
    """
    if device.type != "cpu":
        return "bf16-mixed" if torch.cuda.is_available() and torch.cuda.is_bf16_supported(False) else "32-true"
    conv = torch.nn.Conv2d(64, 64, 3, padding=1).to(memory_format=torch.channels_last)
    x = torch.rand(8, 64, 32, 32).to(memory_format=torch.channels_last)
    seconds: dict[str, list[float]] = {"32-true": [], "bf16-mixed": []}
    for _ in range(7):  # in turn: what else runs here meets both
        for precision, times in seconds.items():
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
                y = conv(conv(x))
            y.float().square().mean().backward()
            times.append(time.perf_counter() - start)
    return min(seconds, key=lambda precision: min(seconds[precision][1:]))  # the first ones warm up


def precision(device: torch.device) -> str:
    """What layers compute in where nobody asks for float32: as $TAD_PRECISION says, else whatever is faster here."""
    return settings.precision() or fastest_precision(device)


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
