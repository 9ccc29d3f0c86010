"""The README: its tables are those of the records, what it names is there, what it says to type is what one types."""
from __future__ import annotations

import re

import pytest

from tadlib import settings
from tadlib.__main__ import main as tool
from tadlib.settings import ROOT
from workbook import readme
from workbook.__main__ import main
from workbook.readme import PASSAGES, captioned, update_readme

TEXTS = ("README.md", "CONTRIBUTING.md")


def test_the_readme_shows_the_stored_results():
    text = (ROOT / "README.md").read_text()
    for name, passage in PASSAGES.items():
        assert passage() in text, f"{name}: run `python -m workbook readme`"


def test_figures_of_the_readme_have_the_captions_of_their_files():
    text = (ROOT / "README.md").read_text()
    assert captioned(text) == text, "run `python -m workbook readme`"
    figures = re.findall(r"!\[([^\]]*)\]\(results/cpu/figures/[^)]+\)(<br><sub>.+</sub>)?", text)
    assert len(figures) >= 5 and all(len(alt) > 40 and below for alt, below in figures)
    again = captioned("see ![old](results/cpu/figures/verdicts.png), and ![other](elsewhere.png)")
    assert "![old]" not in again and again.endswith("</sub>, and ![other](elsewhere.png)")


def test_the_tables_are_put_between_their_marks_and_nothing_else_is_touched(tmp_path, monkeypatch):
    text = (ROOT / "README.md").read_text()
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    expected = text
    for name, passage in PASSAGES.items():
        old, new = passage(), f"| {name} |\n|---|\n| 1 |"
        assert text.count(old) == 1
        text, expected = text.replace(old, "old"), expected.replace(old, new)
        monkeypatch.setitem(PASSAGES, name, lambda passage=new: passage)
    (tmp_path / "README.md").write_text(text)
    assert update_readme()
    changed = (tmp_path / "README.md").read_text()
    assert changed == expected
    assert not update_readme() and (tmp_path / "README.md").read_text() == changed


def test_every_path_that_is_linked_to_is_there():
    for name in TEXTS:
        for path in re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / name).read_text()):
            assert (ROOT / path).exists(), (name, path)


def test_every_file_of_the_code_that_is_named_is_there():
    for name in TEXTS:
        for path in re.findall(r"`((?:tadlib|workbook|tests|data|notebooks|benchmarks)/[\w./]*)`",
                               (ROOT / name).read_text()):
            assert (ROOT / path).exists() or path.split("/")[-1].startswith(("NAME", "NN_")), (name, path)


def test_every_command_that_is_named_exists_in_its_room(capsys):
    """`python -m tadlib train` and its like were moved; an old one in a text would lead nowhere."""
    known = {}
    for room, command in (("tadlib", tool), ("workbook", main)):
        with pytest.raises(SystemExit, match="0"):
            command(["--help"])
        known[room] = set(re.findall(r"^    (\w+)", capsys.readouterr().out, re.M))
    assert known["tadlib"] >= {"downscale", "upscale", "decolorize", "colorize", "models", "evaluate"}
    assert known["workbook"] >= {"train", "data", "speed", "claims", "readme", "publish", "networks", "batch"}
    files = [ROOT / name for name in (*TEXTS, "run_all.sh", ".ci/run")]
    files += [f for room in ("tadlib", "workbook", "benchmarks") for f in (ROOT / room).rglob("*.*")
              if f.suffix in (".py", ".md", ".toml")]
    files += (ROOT / "notebooks").glob("*.ipynb")
    wrong = []
    for file in files:
        for room, command in re.findall(r"-m (tadlib|workbook) ([a-z]+)\b", file.read_text()):
            if command not in known[room]:
                wrong.append(f"{file.relative_to(ROOT)}: python -m {room} {command}")
    assert not wrong


def test_the_readme_tells_of_every_setting():
    text = (ROOT / "README.md").read_text()
    assert set(re.findall(r"TAD_\w+", text)) == set(settings.VARIABLES)
