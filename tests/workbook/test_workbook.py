"""The workbook as a whole: what is committed fits together, and says only what records say."""
from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pandas as pd
import pytest
from safetensors.torch import load_file

from tadlib import networks, settings, stored
from tadlib.data import sets
from tadlib.errors import BadInput
from tadlib.evaluation.protocol import score
from tadlib.settings import ROOT
from tadlib.stored import Trained, is_trained
from tadlib.training.fit import fit
from workbook import studies
from workbook.__main__ import main
from workbook.scores import MEASURED, scores, verify

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def cells(notebook: Path, kind: str = "code") -> list[dict]:
    return [c for c in json.loads(notebook.read_text())["cells"] if c["cell_type"] == kind]


# ------------------------------------------------------------------------------------------------------- stored runs

def offenders(judge: Callable[[str], list[str]]) -> str:
    """What is wrong with each stored run of the study, a line each; nothing where all is well."""
    names = [name for name in studies.ALL if is_trained(studies.named(name))]
    assert names
    return "\n".join(f"{name}: {fault}" for name in names for fault in judge(name))


def test_every_committed_run_is_complete():
    def judge(name: str) -> list[str]:
        trained = studies.trained(name)
        run, record, rows = trained.run, trained.record, pd.read_csv(trained.folder / "scores.csv")
        scored = set(rows["set"])
        right = {
            "its record has another name": record["run"] == trained.folder.name,
            "its record is of another run": Trained.open(trained.folder).run == run,
            "its record is of another network": trained.unchanged() is trained,
            "not as many parameters": record["params"] == networks.build(run.model).parameters_count,
            "other columns of scores": list(rows.columns) == MEASURED,
            # what sees several frames has nothing to say about single images
            f"scored on {scored}": scored == set(studies.clips("cpu")) if networks.spec(run.model).head.frames > 1
            else {"Set5", "Set14", "Sample"} <= scored,
        }
        if run.trains:
            steps = trained.history["step"]
            right |= {
                "its curve ends elsewhere": steps.is_monotonic_increasing and steps.iloc[-1] == run.steps,
                "a scale is not in its curve": {f"held_out_x{s}_shr" for s in run.watch} <= set(trained.history),
            }
        return [fault for fault, fine in right.items() if not fine]

    assert not offenders(judge)


@pytest.fixture(scope="module")
def cloned(tmp_path_factory) -> Path:
    """Results with what git holds of the stored runs and nothing else: here may lie weights that are not in git."""
    listed = subprocess.run(["git", "ls-files", "results/cpu/runs"], cwd=ROOT, capture_output=True, text=True).stdout
    if not listed:
        pytest.skip("not a git checkout")
    root = tmp_path_factory.mktemp("clone")
    for name in listed.splitlines():
        link = root / Path(name).relative_to("results")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(ROOT / name)
    return root


def test_of_every_committed_run_the_network_is_whole_or_left_out(cloned, monkeypatch):
    monkeypatch.setenv("TAD_RESULTS", str(cloned))

    def judge(name: str) -> list[str]:
        trained = studies.trained(name)
        record, faults = trained.record, []
        if record.get("start", []) != [studies.trained(earlier.name).folder.name for earlier in trained.run.start]:
            faults.append("started from other runs")
        if trained.run.trains and trained.has_weights != (name in studies.KEPT):
            faults.append("keeps weights" if trained.has_weights else "keeps no weights")
        try:
            net = trained.network()  # a frozen part comes from where it was trained, which must then be committed too
        except BadInput as error:
            return faults if not trained.has_weights and "--retrain" in str(error) else [*faults, str(error)]
        return [*faults, *(["other parameters"] if net.parameters_count != record["params"] else [])]

    assert not offenders(judge)


def test_a_frozen_part_is_stored_only_where_it_was_trained():
    def judge(name: str) -> list[str]:
        trained = studies.trained(name)
        if not (trained.run.frozen and (trained.folder / stored.WEIGHTS).exists()):
            return []
        lacking = trained.run.build().state_dict().keys() - load_file(trained.folder / stored.WEIGHTS)
        return [] if {key.split(".")[0] for key in lacking} == {trained.run.frozen} else [f"lacks {lacking}"]

    assert not offenders(judge)


def test_every_committed_run_is_scored_on_all_that_is_shown_of_it(monkeypatch):
    monkeypatch.setattr(sets, "is_here", lambda name: True)  # as where it was scored

    def judge(name: str) -> list[str]:
        trained = studies.trained(name)
        rows = pd.read_csv(trained.folder / "scores.csv")
        draws = rows[rows["kind"] == "SHRT"].groupby(["scale", "set", "channel"])["draw"].nunique().to_dict()
        return [f"not scored on {where}" for todo in studies.scoring(trained.run)
                for where in product([todo.scale or trained.run.scale], todo.sets, todo.channels)
                if where[1] != "VDIV2K"  # which was nowhere yet
                and draws.get(where, 0) < (todo.draws if "noise" in where[2] else 1)]

    assert not offenders(judge)


# ------------------------------------------------------------------------------------------------------- commands

def test_a_stored_score_that_its_weights_do_not_give_is_found(own_results):
    trained = fit(studies.named("bicubic", "smoke"))
    scores(trained, ("SampleCrop",))
    assert verify(trained) < 1e-3  # what rounding to four digits leaves
    path = trained.folder / "scores.csv"
    rows = pd.read_csv(path)
    rows.loc[rows["kind"] == "SHRT", "psnr_rgb"] += 0.02
    rows.to_csv(path, index=False)
    with pytest.raises(BadInput, match=r"off by 0\.020 dB"):
        verify(trained)


def test_train_scores_what_studies_need_or_only_what_is_asked(own_results, no_data, capsys):
    path = stored.folder(studies.named("bicubic", "smoke")) / "scores.csv"
    assert main(["train", "bicubic", "--profile", "smoke", "--score"]) == 0
    assert not path.exists()
    assert main(["train", "bicubic", "--profile", "smoke", "--score", "SampleCrop"]) == 0
    assert set(pd.read_csv(path)["channel"]) == {"8bit"}
    assert main(["train", "bicubic", "--profile", "smoke"]) == 0
    rows = pd.read_csv(path)
    assert set(rows["channel"]) == {"8bit", *studies.EVERY_NOISE, *studies.HAPPENS}
    assert set(rows["scale"]) == {2, 4, 8, 16}
    assert capsys.readouterr().out.count(f"{path.parent.name}: 0.0 minutes") == 3


def test_of_two_sets_that_train_is_asked_for_each_is_scored_by_its_own_images(own_results, no_data, write_set, photo):
    """Both have an image of the same name, so that only the numbers tell them apart."""
    one = write_set("one", {"a": photo, "b": photo[:, :64]})
    two = write_set("two", {"a": 255 - photo[:, 8:80, :100]})
    assert main(["train", "bicubic", "--profile", "smoke", "--score", one, two]) == 0
    rows = pd.read_csv(stored.folder(studies.named("bicubic", "smoke")) / "scores.csv")
    trained = studies.trained("bicubic", "smoke")
    for name, images in ((one, ["a", "b"]), (two, ["a"])):
        mine = rows[(rows["set"] == name) & (rows["kind"] == "SHRT")]
        fresh = score(trained.network(), sets.load(name), 4, trained.run.guide).query("kind == 'SHRT'")
        assert mine["image"].tolist() == images
        assert mine["pixels"].tolist() == fresh["pixels"].tolist()
        assert mine["psnr_rgb"].tolist() == pytest.approx(fresh["psnr_rgb"].tolist(), abs=1e-4)
    assert main(["train", "bicubic", "--profile", "smoke", "--score", one, "Nowhere"]) == 2


def test_what_is_not_in_the_study_or_not_here_is_one_line(own_results, no_data, capsys):
    for arguments, reason in (
            (["train", "nonesuch"], "workbook: no run 'nonesuch'; there are: bicubic, "),
            (["train", "bicubic", "--profile", "smoke", "--score", "Set5"], "workbook: Set5: not here (see "),
            (["batch", "--only", "99"], "workbook: --only 99: no such notebook; there are 00_quickstart, ")):
        assert main(arguments) == 2
        line, = capsys.readouterr().err.splitlines()
        assert line.startswith(reason)
    with pytest.raises(SystemExit, match="2"):
        main(["train", "--profile", "huge"])


def test_every_setting_stands_in_the_help(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = capsys.readouterr().out
    assert settings.VARIABLES.keys() <= set(re.findall(r"TAD_\w+", text))
    assert {"train", "data", "speed", "claims", "readme", "publish", "networks", "batch"} <= set(
        re.findall(r"^    (\w+)", text, re.M))


def test_the_ledger_is_printed_and_written(own_results, no_data, capsys):
    assert main(["claims", "--profile", "smoke"]) == 0
    out = capsys.readouterr().out
    assert str(own_results / "smoke" / "claims.csv") in out and (own_results / "smoke" / "claims.csv").exists()
    assert "not testable" in out and "task_aware" in out


def test_networks_are_listed_with_their_words_size_and_cost(capsys):
    assert main(["networks"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["name", "family", "params"]
    assert [row.split()[0] for row in rows] == list(networks.ZOO)
    aetad = next(row for row in rows if row.split()[0] == "aetad")
    assert networks.ZOO["aetad"].encoder in aetad and str(networks.build("aetad").parameters_count) in aetad


# ------------------------------------------------------------------------------------------------------- notebooks

@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda n: n.stem)
def test_a_notebook_asks_calls_and_shows(notebook):
    for cell in cells(notebook):
        source = "".join(cell["source"])
        in_plain_sight = notebook.stem == "00_quickstart" and "plain-pytorch" in cell["metadata"].get("tags", [])
        assert in_plain_sight or not re.search(r"^\s*(class |for .*epoch)", source, re.M), source
        assert source.count("\n") <= 40, source
        assert not any(o["output_type"] == "error" for o in cell["outputs"])
    assert any(c["outputs"] for c in cells(notebook)), "no outputs: a reader on a code host sees nothing"
    parameters = [c for c in cells(notebook) if "parameters" in c["metadata"].get("tags", [])]
    assert len(parameters) == 1


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda n: n.stem)
def test_papermill_knows_the_parameters_that_the_batch_gives(notebook):
    import papermill

    assert set(papermill.inspect_notebook(str(notebook))) == {"profile"}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda n: n.stem)
def test_a_notebook_is_committed_clean(notebook):
    text = notebook.read_text()
    assert "papermill" not in json.loads(text)["metadata"] and "widget-state" not in text
    assert not re.search(r"/(work|home|root|tmp)/", text)


def test_the_report_has_every_figure_and_table_of_the_one_that_it_measures():
    text = "\n".join("".join(c["source"]) for c in cells(ROOT / "notebooks" / "06_report.ipynb", "markdown"))
    headings = re.findall(r"^### Report, (Figures?|Table) ([0-9]+(?: and [0-9]+)?)", text, re.M)
    found = {kind: sorted(int(n) for k, numbers in headings if k[0] == kind for n in numbers.split(" and "))
             for kind in "FT"}
    assert found == {"F": list(range(1, 27)), "T": [1, 2, 3, 4, 5]}
