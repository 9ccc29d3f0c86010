"""Notebooks executed and put back: a failure is named, what was executed is cleaned, what was edited since stays."""
from __future__ import annotations

import json

import pytest

from tadlib import stored
from tadlib.errors import BadInput
from tadlib.stored import on_this_machine
from tadlib.training.fit import fit
from workbook import batch, publish, studies

KERNEL = {"name": "python3", "display_name": "x", "language": "python"}


def test_a_failing_notebook_is_named_with_its_cell_and_error(tmp_path):
    notebook = {"cells": [{"cell_type": "code", "id": "a", "metadata": {}, "execution_count": None, "outputs": [],
                           "source": "nothing_here + 1"}],
                "metadata": {"kernelspec": KERNEL}, "nbformat": 4, "nbformat_minor": 5}
    path = tmp_path / "bad.ipynb"
    path.write_text(json.dumps(notebook))
    trouble = batch._execute(path, tmp_path / "out.ipynb", "smoke")
    assert "cell 2" in trouble and "nothing_here + 1" in trouble and "NameError" in trouble


def test_publishing_cleans_what_was_executed_and_leaves_what_was_edited_since(tmp_path, monkeypatch, capsys):
    def code(tags, source):
        shown = [{"output_type": "execute_result", "execution_count": 7, "metadata": {}, "data": {"text/plain": "2"}},
                 {"output_type": "stream", "name": "stderr", "text": "5 s left"}]
        return {"cell_type": "code", "id": source, "metadata": {"tags": tags, "papermill": {"duration": 1.5}},
                "execution_count": 7, "outputs": shown, "source": source}

    executed = {"cells": [code(["parameters"], "a"), code(["injected-parameters"], "b"), code([], "c"),
                          code(["widget"], "d")],
                "metadata": {"kernelspec": KERNEL, "papermill": {"output_path": str(tmp_path)}}, "nbformat": 4,
                "nbformat_minor": 5}
    (tmp_path / "build" / "cpu").mkdir(parents=True)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "build" / "cpu" / "00_x.ipynb").write_text(json.dumps(executed))
    monkeypatch.setattr(publish, "ROOT", tmp_path)
    (path,) = publish.publish()
    assert str(tmp_path) not in path.read_text() and "papermill" not in path.read_text()
    kept = json.loads(path.read_text())["cells"]
    assert ["".join(c["source"]) for c in kept] == ["a", "c", "d"]
    assert [c["execution_count"] for c in kept] == [1, 2, 3]
    assert kept[1]["outputs"][0]["execution_count"] == 2 and len(kept[1]["outputs"]) == 1  # nothing of stderr
    assert kept[2]["outputs"] == []
    assert publish.publish() == [path]  # once more is the same
    edited = json.loads(path.read_text())
    edited["cells"][1]["source"] = "c, and more"
    path.write_text(json.dumps(edited))
    assert publish.publish() == [] and json.loads(path.read_text()) == edited  # what was changed since stays
    assert "00_x.ipynb: left as it is" in capsys.readouterr().err
    path.unlink()
    executed["cells"][3]["metadata"]["papermill"]["status"] = "pending"  # interrupted before it
    (tmp_path / "build" / "cpu" / "00_x.ipynb").write_text(json.dumps(executed))
    assert publish.publish() == [] and not path.exists() and "not executed to its end" in capsys.readouterr().err
    (tmp_path / "build" / "cpu" / "00_x.ipynb").write_text(json.dumps(executed)[:-9])
    with pytest.raises(BadInput, match=r"00_x\.ipynb: damaged"):
        publish.publish()


@pytest.mark.parametrize("retrain", [False, True])
def test_what_a_run_starts_from_is_trained_before_it_where_its_weights_lack(own_results, no_data, monkeypatch, retrain):
    wanted, between = (on_this_machine(studies.named(name, "smoke")) for name in ("tool_x2", "tool_x2_short"))
    fit(between)
    began: list[tuple[str, bool]] = []
    monkeypatch.setattr(batch, "fit", lambda run, again: began.append((run.name, again)))
    monkeypatch.setattr(batch, "tqdm", lambda *runs, **how: ())  # nothing is scored
    batch._train([wanted], retrain)
    assert began == [(between.name, True)] * retrain + [(wanted.name, retrain)]
    (stored.folder(between) / "weights.safetensors").unlink()  # as git has it
    began.clear()
    batch._train([wanted], retrain)
    assert began == [(between.name, True), (wanted.name, retrain)]
