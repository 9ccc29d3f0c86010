"""Every TAD_ variable: documented, read in one room, and checked when it is read."""
from __future__ import annotations

import re
from pathlib import Path

import pytest

from tadlib import settings
from tadlib.__main__ import main
from tadlib.errors import BadInput
from tadlib.run import Run
from tadlib.stored import folder
from tadlib.training.fit import fit

TINY = Run("tiny", "aetad_very_small", scale=2, steps=3, batch=2, patch=32, train=("SampleTrain",), profile="smoke")
BAD = {"TAD_UNTIL": ("abc", "-1", "nan", "1 2"), "TAD_CHECKPOINT_SECONDS": ("abc", "-1", "nan"),
       "TAD_PRECISION": ("fp64", "16", "32"), "TAD_DEVICE": ("gpu", "cuda:", "cuda:1 ", "meta")}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_a_bad_value_is_told_in_one_line_and_nothing_is_trained(own_results, no_data, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(BadInput, match=f"^{name}={value}: has to be ") as told:
        fit(TINY, quiet=True)
    assert len(str(told.value).splitlines()) == 1 and told.value.code == 2
    assert not folder(TINY).exists()


def test_good_values_are_taken(monkeypatch):
    monkeypatch.setenv("TAD_UNTIL", "1e10")
    monkeypatch.setenv("TAD_CHECKPOINT_SECONDS", "0")
    monkeypatch.setenv("TAD_PRECISION", "bf16-mixed")
    assert (settings.until(), settings.checkpoint_seconds(), settings.precision()) == (1e10, 0, "bf16-mixed")
    for text, means in (("bf16", "bf16-mixed"), ("fp32", "32-true"), ("auto", None), ("32-true", "32-true")):
        monkeypatch.setenv("TAD_PRECISION", text)
        assert settings.precision() == means
    for text in ("cpu", "mps", "cuda", "cuda:1"):
        monkeypatch.setenv("TAD_DEVICE", text)
        assert settings.device() == text
    for name in BAD:
        monkeypatch.setenv(name, "")  # as unset
    assert (settings.until(), settings.checkpoint_seconds(), settings.precision()) == (float("inf"), 60, None)


def test_places_can_be_moved(monkeypatch, tmp_path):
    for name in ("TAD_DATA", "TAD_RESULTS", "TAD_CHECKPOINTS", "TAD_MODELS"):
        monkeypatch.setenv(name, str(tmp_path / name))
    assert settings.data_folder() == tmp_path / "TAD_DATA"
    assert settings.results("smoke") == tmp_path / "TAD_RESULTS" / "smoke"
    assert settings.checkpoints("gpu") == tmp_path / "TAD_CHECKPOINTS" / "gpu"
    assert settings.model_folders()[0] == tmp_path / "TAD_MODELS"
    assert settings.model_folders()[1] == tmp_path / "TAD_RESULTS" / "cpu" / "runs"
    monkeypatch.delenv("TAD_MODELS")
    assert settings.model_folders()[0] == tmp_path / "TAD_RESULTS" / "cpu" / "runs"


def test_each_is_read_in_one_room_and_documented(capsys):
    read = {path.relative_to(settings.ROOT).as_posix() for path in (settings.ROOT / "tadlib").rglob("*.py")
            if re.search(r"environ|getenv", path.read_text())}
    assert read == {"tadlib/settings.py"}
    named = set(re.findall(r'"(TAD_[A-Z_]+)"', Path(settings.__file__).read_text()))
    assert named == set(settings.VARIABLES)
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown, readme = capsys.readouterr().out, (settings.ROOT / "README.md").read_text()
    for name in settings.VARIABLES:
        assert name in shown and name in readme, name
