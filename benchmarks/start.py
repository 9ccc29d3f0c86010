"""How long the commands take to begin: seconds, the median of some starts.

`--help` loads no torch and should take under half a second; `models` reads records, and counts multiply-adds with torch
where no ONNX file says them; a picture that is not there is told once the model is loaded.
"""
import statistics
import subprocess
import sys
import time

COMMANDS = ("tadlib --help", "workbook --help", "tadlib models", "tadlib downscale nothing.png small.png")

for command in COMMANDS:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", *command.split()], capture_output=True)
        times.append(time.perf_counter() - start)
    print(f"{command}: median {statistics.median(times):.2f} s, slowest {max(times):.2f} s")
