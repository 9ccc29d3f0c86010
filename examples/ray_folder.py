"""A folder of pictures becomes small PNGs on every node of a Ray cluster, by Ray Data.

    python examples/ray_folder.py IN OUT --address auto     # without an address Ray is started on this machine

IN, OUT and the clone lie on a file system that all nodes see. It may be stopped at any time: started again, it skips
what is written. A picture that cannot be read is told at the end and stops none of the others (exit code 2).
"""
from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from tadlib import Codec
from tadlib.errors import BadInput, tell
from tadlib.tool.jobs import tried
from tadlib.tool.pictures import downscale_file, pairs
from tadlib.tool.progress import watched

# no word to Ray's makers, no lower priority than others have, and patience: a busy machine starts slowly
for name, value in {"USAGE_STATS_ENABLED": 0, "worker_niceness": 0, "raylet_start_wait_time_s": 150,
                    "agent_register_timeout_ms": 150_000}.items():
    os.environ.setdefault(f"RAY_{name}", str(value))


class Shrink:
    """What a process of one thread does: it loads the model once, and then takes picture after picture."""

    def __init__(self, model: str | None):
        self.codec = Codec.find(model)

    def __call__(self, row: dict) -> dict:
        notes: list[str] = []
        trouble = tried(lambda source, target: notes.extend(downscale_file(self.codec, source, target)),
                        (Path(row["in"]), Path(row["out"])))
        return row | {"said": "; ".join(notes), "trouble": str(trouble or "")}


def shrink(todo: list[dict], model: str | None, address: str | None, jobs: int | None) -> list[dict]:
    """The rows, in their order, with what is "said" of a picture and what "trouble" there was. Raises BadInput."""
    import ray
    import ray.data

    try:
        ray.init(address or "local", logging_level="ERROR", log_to_driver=False,
                 **({} if address else {"include_dashboard": False}))
    except Exception as error:  # of a start that takes too long it says so with a plain Exception
        raise BadInput(f"no Ray at {address or 'this machine'} ({' '.join(str(error).split())[:200]})") from None
    logging.getLogger("ray.data").setLevel("ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    jobs = min(jobs or int(ray.cluster_resources().get("CPU", 1)), len(todo))
    # many small blocks: with a node only a few pictures are lost, and they are made again
    rows = ray.data.from_items(todo, override_num_blocks=min(len(todo), 8 * jobs)).map(
        Shrink, fn_constructor_args=(model,), compute=ray.data.ActorPoolStrategy(size=jobs), num_cpus=1)
    done = list(watched(rows.iter_rows(), "ray", len(todo), "image"))
    ray.shutdown()
    return sorted(done, key=lambda row: row["number"])


def count(text: str) -> int:
    """What --jobs takes."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError("takes a whole number from 1 on")
    return int(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input", type=Path, metavar="IN")
    parser.add_argument("output", type=Path, metavar="OUT")
    parser.add_argument("--model", metavar="NAME", help="see `python -m tadlib models` (default: tool_x4)")
    parser.add_argument("--jobs", type=count, metavar="N", help="processes (default: as many as the cluster has CPUs)")
    parser.add_argument("--address", metavar="HOST:PORT", help="of a running cluster, or auto")
    options = parser.parse_args()
    try:
        every = pairs(options.input.resolve(), options.output.resolve())
        Codec.find(options.model)  # what is wrong with the model is told before anything starts
        todo = [{"number": n, "in": str(one), "out": str(other)} for n, (one, other) in enumerate(every)
                if not other.exists()]
        done = shrink(todo, options.model, options.address, options.jobs) if todo else []
    except BadInput as error:
        tell(error, parser.prog)
        return 2
    except ModuleNotFoundError as error:
        tell(f"this takes the package {error.name}: pip install -c constraints.txt -e '.[ray]'", parser.prog)
        return 2
    bad = [row["trouble"] for row in done if row["trouble"]]
    for line in (*(row["said"] for row in done if row["said"]), *bad):
        tell(line, parser.prog)
    there = len(every) - len(todo)
    print(f"{len(todo) - len(bad)} of {len(every)} images written to {options.output}, {there} were there")
    return 2 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
