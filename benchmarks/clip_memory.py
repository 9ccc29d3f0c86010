"""Peak memory of the tool on a clip, which must not grow with the clip's length.

A window of 320 x 240 pixels moves over a photograph; `downscale` makes small frames of the video, `upscale` a video of
those, each as a process of its own, for a short and a long clip. Prints the peak of each process and the ratio.
"""
import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

MAKE = """
import sys
from tadlib.data.sets import load
from tadlib.pixels import pan, to_array, to_codes, to_float
from tadlib.resize import upscale
from tadlib.tool.video import Writer
path, count = sys.argv[1], int(sys.argv[2])
photo = to_codes(upscale(to_float(load("Sample")["coffee"]), 2))[0]
with Writer(path) as writer:
    for frame in pan(photo, count, (240, 320), (1, 2)):
        writer.write(to_array(frame))
"""


def peak(*arguments, refused: int | None = None) -> float:
    """MiB that this Python command needed at its peak; 0 where its exit code is `refused`.

    The children are asked one by one: their common peak only grows.
    This process stays small, without torch: a child is also charged what its parent had when it was started.
    """
    child = subprocess.Popen([sys.executable, *map(str, arguments)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if refused is not None and os.waitstatus_to_exitcode(status) == refused:
        return 0
    if status:
        sys.exit(f"failed: {' '.join(map(str, arguments))}")
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["bicubic", "tool_x4"])
    parser.add_argument("--frames", type=int, nargs=2, default=[100, 300], metavar=("SHORT", "LONG"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for n in options.frames:
            peak("-c", MAKE, Path(folder, f"{n}.mp4"), n)
        for model in options.models:
            peaks = {"downscale": [], "upscale": []}
            for n in options.frames:
                clip, small, big = (Path(folder, name) for name in (f"{n}.mp4", f"{model}_{n}", f"{model}_{n}.mp4"))
                for command, source, target in (("downscale", clip, small), ("upscale", small, big)):
                    peaks[command].append(peak("-m", "tadlib", command, source, target, "--model", model))
            for command, (short, long) in peaks.items():
                print(f"{model:10} {command:9} {options.frames[0]} frames {short:.0f} MiB, {options.frames[1]} frames "
                      f"{long:.0f} MiB: ratio {long / short:.3f}", flush=True)
