"""CONTRIBUTING's recipes, typed as they stand there into a copy of the code, and then used as they say."""
from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tadlib.__main__ import main as tool
from tadlib.files import write_png
from tadlib.pixels import to_array
from tadlib.settings import ROOT
from workbook import studies
from workbook.__main__ import main

TEXT = (ROOT / "CONTRIBUTING.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    return [code for kind, code in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S) if kind == language]


def recipe(heading: str, language: str = "python") -> list[str]:
    """The blocks of code below a heading."""
    section, = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S)
    found = blocks(section, language)
    assert found, heading
    return found


class Understood(Exception):
    """Raised in place of what a command does."""


@pytest.fixture
def only_read(monkeypatch):
    """Of a command line no more is done than that it is taken apart."""
    parse = argparse.ArgumentParser.parse_args

    def read(self, *arguments):
        parse(self, *arguments)
        raise Understood

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", read)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_every_command_that_is_to_be_typed_is_one(name, only_read):
    lines = [line for block in blocks((ROOT / name).read_text(), "") for line in block.splitlines()]
    typed = 0
    for line in lines:
        chosen = re.sub(r"\|\w+", "", re.sub(r"\[(.*?)\]", r"\1", line))  # with every option, of values the first
        for room, rest in re.findall(r"\b(tadlib|workbook) ([a-z].*)", chosen):
            with pytest.raises(Understood):
                {"tadlib": tool, "workbook": main}[room](shlex.split(rest, comments=True))
            typed += 1
        if "run_all.sh" in line:
            options = shlex.split(line, comments=True)
            assert set(options[1:]) <= {"--profile", "smoke", "cpu", "gpu", "--only", "--retrain", "--test", "--wheel",
                                        "--help", *(f"{n:02}" for n in range(10))}, line
    assert typed >= 2


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """The code with every recipe in it, each where the text says that it goes."""
    root = tmp_path_factory.mktemp("copy")
    for room in ("tadlib", "workbook"):
        shutil.copytree(ROOT / room, root / room, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "data").mkdir()
    shutil.copy(ROOT / "data" / "quoted.toml", root / "data")

    def put(path: str, mark: str, text: str, before: bool = False) -> None:
        file = root / path
        source = file.read_text()
        assert source.count(mark) == 1, (path, mark, source.count(mark))
        file.write_text(source.replace(mark, f"{text}{mark}" if before else f"{mark}{text}"))

    def indented(text: str) -> str:
        return "".join(f"    {line}\n" for line in text.splitlines())

    network, = recipe("A network")
    put("tadlib/networks/zoo.py", "_SPECS = [\n", indented(network))
    head, = recipe("A decoder of another kind")
    row = re.search(r'`(Spec\("bold".*?\))`', TEXT, re.S)[1]
    put("tadlib/networks/heads.py", "\ndef named(", f"{head}\n\n", before=True)
    put("tadlib/networks/zoo.py", "_SPECS = [\n", indented(" ".join(row.split()) + ","))
    put("tadlib/networks/zoo.py", "from tadlib.networks.heads import ", "Bold, ")
    channel, = recipe("A channel")
    put("tadlib/channel.py", "KINDS = {\n", indented(channel))
    objective, = recipe("An objective")
    put("tadlib/training/objectives.py", "\nBY_HEAD", f"{objective}\n\n", before=True)
    put("tadlib/training/objectives.py", "heads.Bins: Bins, ", re.search(r"`(heads\.Bold: .*?)`", TEXT)[1] + ", ")
    run, = recipe("A run, a study")
    put("workbook/studies.py", "_STUDY = [\n", indented(run + 'Run("bold", "bold"),\n'))
    put("workbook/studies.py", "NEEDS = {  # notebook -> names of runs\n", '    "09_mine": ["bicubic"],\n')
    claim, = recipe("A claim")
    put("workbook/claims.py", "CLAIMS = [\n", indented(claim))
    return root


USED = """
import io, json, sys
from contextlib import redirect_stdout
from pathlib import Path

import torch

from tadlib import networks, stored
from tadlib.tool import models
from tadlib.__main__ import main as tool
from tadlib.channel import send
from tadlib.training.objectives import objective
from workbook import studies
from workbook.__main__ import main

root, pictures = Path(sys.argv[1]), sys.argv[2]
assert Path(networks.__file__).is_relative_to(root)

def said(command, *arguments):
    with redirect_stdout(io.StringIO()) as out:
        assert command(list(arguments)) == 0, arguments
    return out.getvalue()

assert {"mine", "bold"} <= {line.split()[0] for line in said(main, "networks").splitlines()}

for name in ("mine", "bold"):
    out = said(main, "train", name, "--profile", "smoke")
    trained = studies.trained(name, "smoke")
    assert out.startswith(trained.folder.name) and trained.record["steps"] == 3
    assert (trained.folder / "scores.csv").exists()
    assert "SHRT" in said(tool, "evaluate", "--model", name, "--set", pictures)
    picture = next(Path(pictures).iterdir())
    said(tool, "downscale", str(picture), "small.png", "--model", name)
    said(tool, "upscale", "small.png", "big.png")
assert type(objective(studies.named("bold"))).__name__ == "Squared"
assert str(models.find("bold").network().head) == "bold"

x = torch.rand(1, 3, 8, 8)
torch.testing.assert_close(send(x, "invert"), 1 - send(x), atol=1e-6, rtol=0)
rows = said(tool, "evaluate", "--model", "bicubic", "--set", pictures, "--channel", "invert")
shrt = next(line.split() for line in rows.partition("mean")[2].splitlines() if "SHRT" in line.split())
plain = said(tool, "evaluate", "--model", "bicubic", "--set", pictures)
same = next(line.split() for line in plain.partition("mean")[2].splitlines() if "SHRT" in line.split())
number = [float(line[line.index("SHRT") + 3]) for line in (shrt, same)]
assert abs(number[0] - number[1]) < 0.5, (shrt, same)  # what is wanted then is the negative

assert "mine" in {line.split()[0] for line in said(main, "claims", "--profile", "smoke").splitlines()[2:]}
for cell in json.loads(sys.argv[3]):
    exec(cell)
assert book.made("mine")["run"].tolist() == ["bicubic"]
"""


@pytest.mark.slow
def test_the_recipes_do_what_they_say(copy, tmp_path, photo):
    pictures = tmp_path / "pictures"
    write_png(pictures / "a.png", to_array(photo))
    results = tmp_path / "results"
    stored = studies.trained("bicubic").folder  # of which the notebook shows scores
    shutil.copytree(stored, results / "cpu" / "runs" / stored.name)
    cells = json.dumps(recipe("A notebook"))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TAD_")}
    environment |= {"PYTHONPATH": str(copy), "TAD_RESULTS": str(results), "TAD_DATA": str(tmp_path / "none"),
                    "TAD_MODELS": str(results / "smoke" / "runs"), "TAD_CHECKPOINTS": str(tmp_path / "checkpoints"),
                    "TAD_PRECISION": "32-true"}
    done = subprocess.run([sys.executable, "-c", USED, str(copy), str(pictures), cells], cwd=tmp_path,
                          env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
