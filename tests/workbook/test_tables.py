"""Tables say what records say: tiny records with known answers, and the numbers that are quoted."""
from __future__ import annotations

import json
from math import isnan

from workbook import figures, studies, tables

# ------------------------------------------------------------------------------------------------------- scores

def test_score_table_is_in_the_order_asked_for(store):
    rows = [{"set": s, "kind": k, "psnr_rgb": v} for s, k, v in (
        ("Set5", "SHRT", 30), ("Set14", "SHRT", 28), ("Set14", "SLR", 40))]
    store("bicubic", rows)
    store("tool_x4", rows)
    table = tables.score_table(["tool_x4", "bicubic"], ("Set14", "Set5"))
    assert list(zip(table["set"], table["run"], table["psnr_rgb"], strict=True)) == [
        ("Set14", "tool_x4", 28), ("Set14", "bicubic", 28), ("Set5", "tool_x4", 30), ("Set5", "bicubic", 30)]
    both = tables.score_table(["bicubic"], ("Set14",), kinds=("SLR", "SHRT"))
    assert both["kind"].tolist() == ["SLR", "SHRT"]


def test_scored_sets_are_those_with_scores_in_the_order_wanted_else_the_sample(store):
    store("aetad", [{"set": s} for s in ("Set14", "Set5", "Sample")])
    store("no_tad")
    assert studies.scored_sets("aetad", "cpu", ("Set5", "Urban100", "Set14")) == ("Set5", "Set14")
    assert studies.scored_sets("aetad", "cpu", ("Urban100",)) == ("Sample",)
    assert studies.scored_sets("no_tad", "cpu", ("Set5",)) == ("Sample",)
    assert studies.scored_sets("aetad", "smoke", ("Set5",)) == ("SampleCrop",)
    assert studies.best_set("cpu") == "Set14"


def test_precision_threads_and_processor_are_counted_from_the_records_of_what_was_trained(store):
    for name, precision, threads in (("aetad", "bf16-mixed", 1), ("no_tad", "bf16-mixed", 1), ("vdsr", "32-true", 2),
                                     ("bicubic", "32-true", 2)):  # the last has nothing to train
        path = store(name) / "record.json"
        record = json.loads(path.read_text()) | {
            "precision": precision, "machine": {"cpu": "A", "gpu": None, "threads": threads}}
        path.write_text(json.dumps(record))
    table = tables.machines_table(["aetad", "no_tad", "vdsr", "aetad", "bicubic"])
    assert table.to_dict("records") == [{"precision": "bf16-mixed", "threads": 1, "machine": "A", "runs": 2},
                                        {"precision": "32-true", "threads": 2, "machine": "A", "runs": 1}]


def test_a_run_is_said_by_what_it_changes_of_the_base(store):
    for name, psnr in (("aetad", 30.0), ("aetad_unguided", 29.5), ("aetad_x2", 35.0)):
        store(name, [{"set": "Set14", "psnr_rgb": psnr}])
    first, other = tables.changes_table(["aetad_unguided", "aetad_x2"], "aetad", ("Set14",)).to_dict("records")
    assert first == {"run": "aetad_unguided", "what is changed": "added False", "params": 671350, "Set14, dB": -0.5}
    assert (other["what is changed"], other["Set14, dB"]) == ("scale 2", 5.0)


def test_a_table_over_scales_has_a_column_each_and_a_gap_where_nothing_was_measured(store):
    store("aetad", [{"scale": s, "image": i, "psnr_rgb": v} for s, i, v in (
        (2, "a", 9), (2, "b", 11), (4, "a", 30), (4, "b", 20), (16, "a", 18), (16, "b", 18))]
        + [{"scale": 2, "kind": "SLR", "psnr_rgb": 50}])
    row, = tables.scale_table(["aetad", "aetad"]).to_dict("records")
    assert (row["model"], row["set"], row["x2"], row["x4"], row["x16"]) == ("aetad", "Set14", 10, 25, 18)
    assert row["run"].startswith("aetad-")
    assert isnan(row["x8"])


def test_noise_is_the_mean_over_images_and_draws_with_the_extremes_of_the_draws(store):
    store("aetad", [{"set": "Set14"}])
    found = [{"image": i, "psnr_rgb": v, "psnr_y": v + 1} for i, v in (("a", 30), ("b", 32))]
    found += [{"image": i, "channel": "noise:0.11", "draw": d, "psnr_rgb": v, "psnr_y": v + 2}
              for i, d, v in (("a", 0, 10), ("b", 0, 20), ("a", 1, 12), ("b", 1, 20))]
    found += [{"kind": "SLR", "psnr_rgb": 90}, {"channel": "jpeg:90", "psnr_rgb": 1}]
    folder = store("eps_0", found)
    table = tables.noise_table(["eps_0", "eps_0"])
    assert table.to_dict("records") == [
        {"run": "eps_0", "folder": folder.name, "set": "Set14", "scale": 4, "sigma": 0.0, "psnr_rgb": 31.0,
         "psnr_y": 32.0, "low": 31.0, "high": 31.0},
        {"run": "eps_0", "folder": folder.name, "set": "Set14", "scale": 4, "sigma": 0.11, "psnr_rgb": 15.5,
         "psnr_y": 17.5, "low": 15.0, "high": 16.0}]


def test_a_front_holds_likeness_against_quality_on_held_out_crops_and_the_main_set(store):
    store("aetad", [{"psnr_rgb": 30}])
    for name in ("kink_ball_1", "eps_100_observed"):
        store(name, [{"kind": k, "psnr_rgb": v} for k, v in (("SHRT", 27), ("SLR", 36), ("SHRB", 9))],
              {"step": [30, 1200], "held_out_slr": [50.0, 37.0], "held_out_shr": [20.0, 29.0]})
    table = tables.front_table(["kink_ball_1", "eps_100_observed"])
    assert table[["run", "set", "slr", "shr"]].values.tolist() == [
        ["kink_ball_1", "held-out crops", 37, 29], ["kink_ball_1", "Set14", 36, 27],
        ["eps_100_observed", "held-out crops", 37, 29], ["eps_100_observed", "Set14", 36, 27]]
    assert table[["term", "weight", "epsilon"]].drop_duplicates().values.tolist() == [["ball", 0.1, 1], ["L1", 0, 100]]
    figure = figures.fronts(table, "slr", "shr", "term", "run", "likeness", "quality")
    assert [ax.get_title() for ax in figure.axes] == ["held-out crops", "Set14"]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["ball", "L1"]
    assert figure.axes[1].lines[-1].get_xydata().tolist() == [[36, 27]]


# ------------------------------------------------------------------------------------------------------- runs

def test_experiments_show_what_runs_differ_in():
    names = ["bicubic", "aetad", "eps_10_observed", "eps_0.5", "aetad_unguided", "aetad_any_scale", "tool_x4"]
    table = tables.experiments_table(names).set_index("run")
    assert table.index.tolist() == names
    assert table["epsilon"].tolist() == ["0", "0", "10 % observed", "0.5 % range", "0", "0", "0"]
    assert table["scale"].tolist() == [4, 4, 4, 4, 4, "2/4/8/16", 4]
    assert table["added"].tolist() == [True, True, True, True, False, True, True]
    assert table.loc["aetad", ["network", "steps", "alpha:beta", "skip"]].tolist() == ["aetad", 1200, "1:0.02", "none"]
    assert table.loc["tool_x4", "skip"] == "bicubic"
    assert (table.loc["bicubic", "recipe"], table.loc["eps_0.5", "alpha:beta"]) == ("", "1:0.1")
    assert set(tables.experiments_table(["aetad"], "smoke")["steps"]) == {3}


# ------------------------------------------------------------------------------------------------------- quoted

def test_every_quoted_number_has_a_source():
    entries = tables.quoted()
    assert {"kim_x4", "report_table1", "report_table2", "report_table3"} <= set(entries)
    for name, entry in entries.items():
        assert len(entry["source"]) > 20, name
        numbers = [n for key, value in entry.items() if key != "source" for n in _numbers(value)]
        assert numbers and all(5 < n < 60 for n in numbers), name  # each of them is a PSNR in dB
        similar = [v["ssim"] for v in entry.values() if isinstance(v, dict) and "ssim" in v]
        assert all(0.5 < s < 1 for s in similar), name  # but for these


def _numbers(value) -> list[float]:
    if isinstance(value, dict):
        return [n for key, one in value.items() if key not in ("ssim", "params", "scale")
                for n in _numbers(one)]
    return [float(n) for n in (value if isinstance(value, list) else [value])]


def test_quoted_rows_have_one_number_for_each_scale_of_their_table():
    entries = tables.quoted()
    for table in ("report_table1", "report_table2"):
        assert {len(row) for key, row in entries[table].items() if key != "source"} == {4}  # x2, x4, x8, x16
    assert set(entries["report_table2"]) - {"source"} <= set(studies.OTHER_SCALES)
    assert set(entries["report_table3"]) - {"source"} <= set(studies.TABLE_3)
