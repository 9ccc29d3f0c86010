"""What the README says of seconds and memory is what the benchmarks' records say."""
from __future__ import annotations

import pandas as pd
import pytest

from tadlib import settings
from tadlib.errors import BadInput
from workbook import costs

MACHINE = {"cpu": "a processor", "gpu": "", "python": "3", "torch": "2"}


@pytest.fixture
def kept(own_results):
    def keep(name: str, *rows: dict) -> None:
        folder = settings.results("cpu")
        folder.mkdir(parents=True, exist_ok=True)
        pd.DataFrame([MACHINE | row for row in rows]).to_csv(folder / f"{name}.csv", index=False)
    return keep


def test_both_backends_stand_beside_each_other(kept):
    kept("backends", {"model": "net", "what": "cold downscale", "unit": "s", "threads": 2, "by torch": 2.345,
                      "by onnxruntime": 0.3456})
    assert costs.backends().splitlines()[0] == "| `net`; a processor, 2 cores, no GPU | PyTorch | onnxruntime |"
    assert costs.backends().splitlines()[2] == "| cold downscale | 2.35 s | 0.346 s |"


def test_a_record_of_another_net_or_a_gpu_is_told_as_that(kept):
    row = {"model": "net", "threads": 2, "steps": 3, "megapixels": 1, "peak GB": 1.0, "s/MP a step": 0.25,
           "precision": "32-true"}
    kept("refine_cost", row | {"gpu": "a card"}, row | {"model": "other", "peak GB": 9.0, "s/MP a step": 5.0})
    said = costs.refining()
    assert "`net` took" in said and "(a processor, 2 cores, a card)" in said and "5.0" not in said and "9.0" not in said


def test_a_step_costs_so_much_for_a_megapixel(kept):
    row = {"model": "net", "threads": 2}
    kept("refine_cost", *(row | {"steps": steps, "megapixels": size, "peak GB": peak, "s/MP a step": a_step,
                                 "precision": precision}
                          for steps, size, peak, a_step, precision in ((0, 1, 9.0, 0.0, "32-true"),
                              (3, 1, 1.0, 2.5, "32-true"), (3, 12, 1.5, 0.75, "bf16-mixed"))))
    said = costs.refining()
    assert ("0.8 to 0.8 in bfloat16 and 2.5 to 2.5 in float32, in seconds a megapixel"
            in said)
    assert "at most 9.00 GB, for a megapixel as for 12 megapixels" in said


def test_two_jobs_against_one(kept):
    row = {"model": "net", "side": 768, "cores": 2}
    kept("jobs", row | {"command": "downscale", "ratio": 1.94}, row | {"command": "upscale", "ratio": 1.66})
    assert costs.jobs().startswith("Two jobs made 1.9 (downscale) and 1.7 (upscale) times the pictures")


@pytest.mark.parametrize("name, passage", [("backends", costs.backends), ("refine_cost", costs.refining),
                                           ("jobs", costs.jobs)])
def test_a_record_without_a_column_is_told_in_a_line_that_names_it(kept, name, passage):
    kept(name, {"model": "net", "threads": 2, "cores": 2, "what": "a command", "command": "downscale"})
    with pytest.raises(BadInput, match=rf"{name}\.csv: damaged \(no column "):
        passage()
