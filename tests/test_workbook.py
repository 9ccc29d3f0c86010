"""The workbook as a whole: what is committed fits together, and says only what records say."""
import json
import re
import subprocess
from itertools import product
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from safetensors.torch import load_file

from tadlib import batch, datasets, networks, plots, report, runs, studies
from tadlib.__main__ import main
from tadlib.datasets import ROOT
from tadlib.evaluation import MEASURED, verify
from tadlib.images import BadInput
from tadlib.runs import is_trained

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TRAINED = [name for name in studies.ALL if is_trained(studies.run(name))]


def cells(notebook, kind="code"):
    return [c for c in json.loads(notebook.read_text())["cells"] if c["cell_type"] == kind]


@pytest.mark.parametrize("name", TRAINED)
def test_a_committed_run_is_complete(name):
    trained = report.stored(name)
    record = trained.record
    assert record["run"] == trained.folder.name
    assert record["params"] == networks.build(trained.run.model).parameters_count
    scores = pd.read_csv(trained.folder / "scores.csv")
    assert list(scores.columns) == MEASURED
    if networks.spec(trained.run.model).frames > 1:  # these have nothing to say about single images
        assert set(scores["set"]) == set(studies.clips("cpu"))
    else:
        assert {"Set5", "Set14", "Sample"} <= set(scores["set"])
    if trained.run.trains:
        steps = trained.history["step"]
        assert steps.is_monotonic_increasing and steps.iloc[-1] == trained.run.steps
        assert {f"held_out_x{scale}_shr" for scale in trained.run.watch} <= set(trained.history)


@pytest.fixture(scope="module")
def cloned(tmp_path_factory):
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


@pytest.mark.parametrize("name", TRAINED)
def test_of_a_committed_run_the_network_is_whole_or_left_out(name, cloned, monkeypatch):
    monkeypatch.setenv("TAD_RESULTS", str(cloned))
    trained = report.stored(name)
    if not is_trained(trained.run):
        pytest.skip("trained, and not in git yet")
    assert trained.record.get("start", []) == [report.stored(earlier.name).folder.name for earlier in trained.run.start]
    if trained.has_weights:  # a frozen part comes from where it was trained, which must then be committed too
        assert trained.network().parameters_count == trained.record["params"]
    else:
        with pytest.raises(BadInput, match="--retrain"):
            trained.network()


@pytest.mark.parametrize("name", [name for name in TRAINED if studies.ALL[name].frozen])
def test_a_frozen_part_is_stored_only_where_it_was_trained(name):
    trained = report.stored(name)
    if not trained.has_weights:
        pytest.skip("keeps no weights")
    lacking = trained.run.build().state_dict().keys() - load_file(trained.folder / "weights.safetensors")
    assert {key.split(".")[0] for key in lacking} == {trained.run.frozen}


@pytest.mark.parametrize("name", TRAINED)
def test_a_committed_run_is_scored_on_all_that_is_shown_of_it(name, monkeypatch):
    trained = report.stored(name)
    monkeypatch.setattr(datasets, "is_here", lambda name: True)  # as where it was scored
    scores = pd.read_csv(trained.folder / "scores.csv")
    draws = scores[scores["kind"] == "SHRT"].groupby(["scale", "set", "channel"])["draw"].nunique().to_dict()
    for todo in studies.scoring(trained.run):
        for where in product([todo.scale or trained.run.scale], todo.sets, todo.channels):
            assert draws.get(where, 0) >= (todo.draws if "noise" in where[2] else 1), where


def test_a_stored_score_that_its_weights_do_not_give_is_found(tmp_path, monkeypatch):
    from tadlib.evaluation import scores
    from tadlib.training import fit

    monkeypatch.setenv("TAD_RESULTS", str(tmp_path))
    trained = fit(studies.run("bicubic", "smoke"))
    scores(trained, ("SampleCrop",))
    assert verify(trained) < 1e-3  # what rounding to four digits leaves
    path = trained.folder / "scores.csv"
    rows = pd.read_csv(path)
    rows.loc[rows["kind"] == "SHRT", "psnr_rgb"] += 0.02
    rows.to_csv(path, index=False)
    with pytest.raises(BadInput, match=r"off by 0\.020 dB"):
        verify(trained)


def test_train_scores_what_studies_need_or_only_what_is_asked(own_results, no_data, capsys):
    path = runs.folder(studies.run("bicubic", "smoke")) / "scores.csv"
    assert main(["train", "bicubic", "--profile", "smoke", "--score"]) == 0
    assert not path.exists()
    assert main(["train", "bicubic", "--profile", "smoke", "--score", "SampleCrop"]) == 0
    assert set(pd.read_csv(path)["channel"]) == {"8bit"}
    assert main(["train", "bicubic", "--profile", "smoke"]) == 0
    rows = pd.read_csv(path)
    assert set(rows["channel"]) == {"8bit", *studies.NOISES, *studies.HAPPENS}
    assert set(rows["scale"]) == {2, 4, 8, 16}
    assert capsys.readouterr().out.count(f"{path.parent.name}: 0.0 minutes") == 3


def test_the_ledger_is_printed_and_written(own_results, no_data, capsys):
    assert main(["claims", "--profile", "smoke"]) == 0
    out = capsys.readouterr().out
    assert str(own_results / "smoke" / "claims.csv") in out and (own_results / "smoke" / "claims.csv").exists()
    assert "not testable" in out and "task_aware" in out


def test_evaluate_prints_images_and_their_mean(write_set, photo, capsys):
    own = write_set("own", {"one": photo, "two": 255 - photo})
    assert main(["evaluate", "--model", "bicubic", "--set", own, "--channel", "jpeg:90"]) == 0
    images, _, mean = capsys.readouterr().out.partition("\nmean\n")
    assert " one " in images and " two " in images
    assert [line.split()[4:6] for line in mean.splitlines()[1:]] == [["SHRT", "jpeg:90"], ["SLR", "jpeg:90"]]


def test_the_readme_shows_the_stored_results():
    assert report.readme_table() in (ROOT / "README.md").read_text(), "run `python -m tadlib readme`"


def test_every_path_that_the_readme_names_is_there():
    text = (ROOT / "README.md").read_text()
    for path in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda n: n.stem)
def test_a_notebook_asks_calls_and_shows(notebook):
    for cell in cells(notebook):
        source = "".join(cell["source"])
        assert not re.search(r"^\s*(class |for .*epoch)", source, re.M), source
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


def test_a_failing_notebook_is_named_with_its_cell_and_error(tmp_path):
    notebook = {"cells": [{"cell_type": "code", "id": "a", "metadata": {}, "execution_count": None, "outputs": [],
                           "source": "nothing_here + 1"}],
                "metadata": {"kernelspec": {"name": "python3", "display_name": "x", "language": "python"}},
                "nbformat": 4, "nbformat_minor": 5}
    path = tmp_path / "bad.ipynb"
    path.write_text(json.dumps(notebook))
    trouble = batch._execute(path, tmp_path / "out.ipynb", "smoke")
    assert "cell 2" in trouble and "nothing_here + 1" in trouble and "NameError" in trouble


def test_publishing_cleans_what_was_executed_and_leaves_what_was_edited_since(tmp_path, monkeypatch, capsys):
    def code(tags, source):
        shown = [{"output_type": "execute_result", "execution_count": 7, "metadata": {}, "data": {"text/plain": "2"}}]
        return {"cell_type": "code", "id": source, "metadata": {"tags": tags, "papermill": {"duration": 1.5}},
                "execution_count": 7, "outputs": shown, "source": source}

    executed = {"cells": [code(["parameters"], "a"), code(["injected-parameters"], "b"), code([], "c"),
                          code(["widget"], "d")],
                "metadata": {"kernelspec": {"name": "python3", "display_name": "x", "language": "python"},
                             "papermill": {"output_path": str(tmp_path)}}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "build" / "cpu").mkdir(parents=True)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "build" / "cpu" / "00_x.ipynb").write_text(json.dumps(executed))
    monkeypatch.setattr(batch, "ROOT", tmp_path)
    (path,) = batch.publish()
    assert str(tmp_path) not in path.read_text() and "papermill" not in path.read_text()
    kept = cells(path)
    assert ["".join(c["source"]) for c in kept] == ["a", "c", "d"]
    assert [c["execution_count"] for c in kept] == [1, 2, 3]
    assert kept[1]["outputs"][0]["execution_count"] == 2
    assert kept[2]["outputs"] == []
    assert batch.publish() == [path]  # once more is the same
    edited = json.loads(path.read_text())
    edited["cells"][1]["source"] = "c, and more"
    path.write_text(json.dumps(edited))
    assert batch.publish() == [] and json.loads(path.read_text()) == edited  # what was changed since stays
    assert "00_x.ipynb: left as it is" in capsys.readouterr().err


def test_every_notebook_has_its_runs_and_every_needed_run_exists():
    assert set(studies.NEEDS) <= {n.stem for n in NOTEBOOKS}
    for names in studies.NEEDS.values():
        assert set(names) <= set(studies.ALL)
    with pytest.raises(KeyError, match="nonesuch"):
        studies.run("nonesuch")
    with pytest.raises(ValueError, match="huge"):
        studies.run("aetad", "huge")


def test_the_report_has_every_figure_and_table_of_the_one_that_it_measures():
    text = "\n".join("".join(c["source"]) for c in cells(ROOT / "notebooks" / "06_report.ipynb", "markdown"))
    headings = re.findall(r"^### (Figures?|Table) ([0-9]+(?: and [0-9]+)?)", text, re.M)
    found = {kind: sorted(int(n) for k, numbers in headings if k[0] == kind for n in numbers.split(" and "))
             for kind in "FT"}
    assert found == {"F": list(range(1, 27)), "T": [1, 2, 3, 4, 5]}


def test_what_another_notebook_has_not_made_yet_is_told(own_results):
    for ask in (report.made, report.drawn):
        with pytest.raises(BadInput, match="run the notebook that"):
            ask("fig99", "cpu")


def test_a_drawn_figure_is_shown_from_where_the_notebooks_are(own_results):
    figure = Figure()
    figure.subplots()
    path = plots.save(figure, "fig99", "cpu")
    link = re.fullmatch(r"!\[fig99\]\((.*)\)", report.drawn("fig99", "cpu").data)[1]
    assert (ROOT / "notebooks" / link).resolve() == path.resolve()


@pytest.mark.parametrize("name", [s.name for s in networks.ZOO.values() if s.decoder and not s.vsr])
def test_every_network_that_is_made_of_words_can_be_drawn(name):
    figure = plots.diagram(networks.spec(name))
    texts = {t.get_text() for ax in figure.axes for t in ax.texts}
    assert f"decoder\n{'enlarged Y' if name == 'vdsr' else 'SLR'} in" in texts


def test_a_figure_that_looks_the_same_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("TAD_RESULTS", str(tmp_path))

    def draw(height):
        figure = Figure(figsize=(2, 2))
        figure.subplots().bar([0], [height])
        return plots.save(figure, "bar", "cpu")

    path = draw(1.0)
    stamp = path.stat().st_mtime_ns
    draw(1.0)
    assert path.stat().st_mtime_ns == stamp
    before = path.read_bytes()
    figure = Figure(figsize=(3, 2))
    figure.subplots()
    plots.save(figure, "bar", "cpu")
    assert path.read_bytes() != before
    assert [p.name for p in path.parent.iterdir()] == ["bar.png"]
