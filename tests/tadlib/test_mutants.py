"""The planted faults (tests/mutants.py): each can still be planted, and what is said of them is what was measured."""
from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections import Counter

import pytest
from mutants import MUTANTS

from tadlib.settings import ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_a_fault_can_be_planted_and_its_test_is_there(mutant):
    assert (ROOT / mutant.file).read_text().count(mutant.old) == 1, "the code has changed: plant it anew"
    assert mutant.new != mutant.old
    file, _, name = mutant.node.partition("::")
    assert f"\ndef {name.partition('[')[0]}(" in (ROOT / file).read_text()


def test_every_fault_has_a_name_of_its_own():
    assert max(Counter(mutant.name for mutant in MUTANTS).values()) == 1


TREE = {
    "house.py": "DOORS = 2\n",
    "tests/tadlib/test_house.py": "import house\n\n\ndef test_doors():\n    assert house.DOORS == 2\n\n\n"
                                  "def test_roof():\n    assert house.DOORS\n",
}


@pytest.mark.slow
def test_a_fault_is_noticed_missed_or_cannot_be_planted(tmp_path):
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    rows = {"noticed": ("DOORS = 2", "test_doors"), "MISSED": ("DOORS = 2", "test_roof"),
            "no such text": ("WINDOWS = 2", "test_doors"), "no such test": ("DOORS = 2", "test_windows")}
    script = ("import sys; from pathlib import Path; from mutants import Mutant, tried; "
              "print(tried(Mutant('', 'house.py', sys.argv[2], 'DOORS = 3', sys.argv[3]), Path(sys.argv[1])))")
    for outcome, (old, test) in rows.items():
        done = subprocess.run([sys.executable, "-c", script, tmp_path, old,
                               f"test_house.py::{test}"], capture_output=True, text=True,
                              timeout=120, cwd=ROOT / "tests")
        assert done.stdout == f"{outcome}\n", done.stderr
        assert (tmp_path / "house.py").read_text() == TREE["house.py"]


def test_what_is_said_is_what_was_measured():
    rows = list(csv.DictReader((ROOT / "results" / "cpu" / "mutants.csv").open()))
    assert [(row["fault"], row["file"]) for row in rows] == [(mutant.name, mutant.file) for mutant in MUTANTS]
    noticed = sum(row["outcome"] == "noticed" for row in rows)
    assert noticed >= 29 / 30 * len(rows) and len(rows) >= 30
    text = " ".join((ROOT / "CONTRIBUTING.md").read_text().split())
    assert re.search(rf"plants {len(rows)} deliberate faults", text)
    assert re.search(rf"{noticed} of {len(rows)} were noticed", text)
