"""Tables say what records say: tiny records with known answers, and the numbers that are quoted."""
from __future__ import annotations

import itertools
from math import isnan, log10

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from tadlib import datasets, networks, plots, report, studies
from tadlib.channel import send
from tadlib.images import to_float


def db(mse: float) -> float:
    """PSNR of a mean squared error in 8-bit levels."""
    return 10 * log10(255**2 / mse)


# ------------------------------------------------------------------------------------------------------- scores

def test_score_table_is_in_the_order_asked_for(store):
    rows = [{"set": s, "kind": k, "psnr_rgb": v} for s, k, v in (
        ("Set5", "SHRT", 30), ("Set14", "SHRT", 28), ("Set14", "SLR", 40))]
    store("bicubic", rows)
    store("tool_x4", rows)
    table = report.score_table(["tool_x4", "bicubic"], ("Set14", "Set5"))
    assert list(zip(table["set"], table["run"], table["psnr_rgb"], strict=True)) == [
        ("Set14", "tool_x4", 28), ("Set14", "bicubic", 28), ("Set5", "tool_x4", 30), ("Set5", "bicubic", 30)]
    both = report.score_table(["bicubic"], ("Set14",), kinds=("SLR", "SHRT"))
    assert both["kind"].tolist() == ["SLR", "SHRT"]


def test_scored_sets_are_those_with_scores_in_the_order_wanted_else_the_sample(store):
    store("aetad", [{"set": s} for s in ("Set14", "Set5", "Sample")])
    store("no_tad")
    assert report.scored_sets("aetad", "cpu", ("Set5", "Urban100", "Set14")) == ("Set5", "Set14")
    assert report.scored_sets("aetad", "cpu", ("Urban100",)) == ("Sample",)
    assert report.scored_sets("no_tad", "cpu", ("Set5",)) == ("Sample",)
    assert report.scored_sets("aetad", "smoke", ("Set5",)) == ("SampleCrop",)
    assert report.best_set("cpu") == "Set14"


def test_the_range_of_seeds_is_that_of_their_means(store):
    for name, values in (("aetad", (30, 32)), ("aetad_seed1", (31, 32)), ("aetad_seed2", (29, 32.4)),
                         ("aetad_very_small", (10, 10)), ("aetad_very_small_seed1", (10, 11))):
        store(name, [{"image": i, "psnr_rgb": v} for i, v in zip("ab", values, strict=True)])
    assert report.seed_range("aetad", "Set14") == pytest.approx((30.7, 31.5))
    assert report.seed_range("aetad_very_small", "Set14") == pytest.approx((10, 10.5))


def test_one_training_or_none_has_no_range(store):
    assert all(map(isnan, report.seed_range("aetad", "Set14")))
    store("aetad", [{"psnr_rgb": 30}])
    assert all(map(isnan, report.seed_range("aetad", "Set14")))


def test_a_table_over_scales_has_a_column_each_and_a_gap_where_nothing_was_measured(store):
    store("aetad", [{"scale": s, "image": i, "psnr_rgb": v} for s, i, v in (
        (2, "a", 9), (2, "b", 11), (4, "a", 30), (4, "b", 20), (16, "a", 18), (16, "b", 18))]
        + [{"scale": 2, "kind": "SLR", "psnr_rgb": 50}])
    row, = report.scale_table(["aetad", "aetad"]).to_dict("records")
    assert (row["model"], row["set"], row["x2"], row["x4"], row["x16"]) == ("aetad", "Set14", 10, 25, 18)
    assert row["run"].startswith("aetad-")
    assert isnan(row["x8"])


# ------------------------------------------------------------------------------------------------------- noise

def test_noise_is_the_mean_over_images_and_draws_with_the_extremes_of_the_draws(store):
    store("aetad", [{"set": "Set14"}])
    found = [{"image": i, "psnr_rgb": v, "psnr_y": v + 1} for i, v in (("a", 30), ("b", 32))]
    found += [{"image": i, "channel": "noise:0.11", "draw": d, "psnr_rgb": v, "psnr_y": v + 2}
              for i, d, v in (("a", 0, 10), ("b", 0, 20), ("a", 1, 12), ("b", 1, 20))]
    found += [{"kind": "SLR", "psnr_rgb": 90}, {"channel": "jpeg:90", "psnr_rgb": 1}]
    folder = store("eps_0", found)
    table = report.noise_table(["eps_0", "eps_0"])
    assert table.to_dict("records") == [
        {"run": "eps_0", "folder": folder.name, "set": "Set14", "scale": 4, "sigma": 0.0, "psnr_rgb": 31.0,
         "psnr_y": 32.0, "low": 31.0, "high": 31.0},
        {"run": "eps_0", "folder": folder.name, "set": "Set14", "scale": 4, "sigma": 0.11, "psnr_rgb": 15.5,
         "psnr_y": 17.5, "low": 15.0, "high": 16.0}]


def test_gain_is_what_noise_adds_to_the_error_over_what_noise_was_sent(store):
    store("aetad", [{"set": "Set14"}])
    clean, noisy = {"a": 10.0, "b": 30.0}, {("a", 0): 30.0, ("a", 1): 40.0, ("b", 0): 50.0, ("b", 1): 60.0}
    store("eps_0", [{"image": i, "psnr_rgb": db(m)} for i, m in clean.items()]
          + [{"image": i, "draw": d, "channel": "noise:0.01", "psnr_rgb": db(m)} for (i, d), m in noisy.items()]
          + [{"image": i, "draw": d, "channel": "noise:0.01", "kind": "SLR", "psnr_rgb": db(6.5)} for i, d in noisy]
          + [{"image": i, "kind": "SLR", "psnr_rgb": db(m)} for i, m in (("a", 1), ("b", 17))])
    got = report.noise_gain("eps_0")
    assert got["run"] == "eps_0"
    assert got["gain"] == pytest.approx(25**0.5 / 2.55)  # mean squared errors 45 and 20; noise of 2.55 levels
    assert got["X_SLR from guidance, levels"] == pytest.approx(3)
    assert got["clean dB"] == pytest.approx((db(10) + db(30)) / 2)


def test_noise_that_costs_nothing_has_no_gain_and_equal_images_are_no_distance(store):
    store("aetad", [{"set": "Set14"}])
    store("bicubic", [{"psnr_rgb": 30}, {"channel": "noise:0.02", "psnr_rgb": 31},
                      {"kind": "SLR", "psnr_rgb": float("inf")}])
    got = report.noise_gain("bicubic", sigma=0.02)
    assert got["gain"] == 0
    assert got["X_SLR from guidance, levels"] < 0.01


# ------------------------------------------------------------------------------------------------------- curves

def test_the_open_share_weighs_each_point_by_the_steps_it_stands_for():
    history = pd.DataFrame({"step": [10, 20, 50], "gate_open": [1.0, 0.5, 0.0]})
    assert report.share_open(history) == pytest.approx((10 + 5) / 50)
    assert report.share_open(history.assign(gate_open=1.0)) == 1
    assert report.share_open(pd.DataFrame({"step": [7], "gate_open": [0.25]})) == 0.25


def test_a_front_holds_likeness_against_quality_on_held_out_crops_and_the_main_set(store):
    store("aetad", [{"psnr_rgb": 30}])
    for name in ("kink_ball_1", "eps_100_observed"):
        store(name, [{"kind": k, "psnr_rgb": v} for k, v in (("SHRT", 27), ("SLR", 36), ("SHRB", 9))],
              {"step": [30, 1200], "held_out_slr": [50.0, 37.0], "held_out_shr": [20.0, 29.0]})
    table = report.front_table(["kink_ball_1", "eps_100_observed"])
    assert table[["run", "set", "slr", "shr"]].values.tolist() == [
        ["kink_ball_1", "held-out crops", 37, 29], ["kink_ball_1", "Set14", 36, 27],
        ["eps_100_observed", "held-out crops", 37, 29], ["eps_100_observed", "Set14", 36, 27]]
    assert table[["term", "weight", "epsilon"]].drop_duplicates().values.tolist() == [["ball", 0.1, 1], ["L1", 0, 100]]
    figure = plots.fronts(table, "slr", "shr", "term", "run", "likeness", "quality")
    assert [ax.get_title() for ax in figure.axes] == ["held-out crops", "Set14"]
    assert [t.get_text() for t in figure.axes[1].get_legend().get_texts()] == ["ball", "L1"]
    assert figure.axes[1].lines[-1].get_xydata().tolist() == [[36, 27]]


def test_equal_bytes_are_interpolated_image_by_image_over_the_logarithm():
    rates = pd.DataFrame([("a", "jpeg:10", 100, 20), ("a", "jpeg:90", 10_000, 40), ("a", "webp:90", 1, 99),
                          ("b", "jpeg:10", 50, 25), ("b", "jpeg:90", 500, 35)],
                         columns=["image", "channel", "lr_bytes", "psnr_rgb"])
    mine = pd.DataFrame({"image": ["a", "b"], "lr_bytes": [1000, 5000]})
    assert report.at_equal_bytes(rates, mine, "jpeg") == pytest.approx((30 + 35) / 2)


def test_rate_is_bits_per_hr_pixel_and_both_are_means_over_images(store):
    store("aetad", [{"image": "a", "pixels": 100, "lr_bytes": 50, "psnr_rgb": 30},
                    {"image": "b", "pixels": 400, "lr_bytes": 100, "psnr_rgb": 32},
                    {"kind": "SLR", "pixels": 100, "lr_bytes": 9999}])
    store("original", [{"channel": c, "pixels": 100, "lr_bytes": b, "psnr_rgb": v} for c, b, v in (
        ("8bit", 700, 100), ("jpeg:90", 100, 40), ("jpeg:10", 10, 25), ("webp:90", 80, 41))])
    figure, table = report.rate_distortion(["aetad"])
    found = {(r.model, r.channel): (r.bits, r.psnr_rgb) for r in table.itertuples()}
    assert found == {("aetad", "8bit"): (3, 31), ("original", "jpeg:90"): (8, 40), ("original", "jpeg:10"): (0.8, 25),
                     ("original", "webp:90"): (6.4, 41)}
    jpeg, webp, own = figure.axes[0].lines
    assert jpeg.get_xydata().tolist() == [[0.8, 25], [8, 40]]  # from the smallest file on
    assert webp.get_xydata().tolist() == [[6.4, 41]]
    assert own.get_xydata().tolist() == [[3, 31]]
    assert [ax.get_title() for ax in figure.axes] == ["Set14"]


# ------------------------------------------------------------------------------------------------------- networks

@pytest.mark.parametrize(("model", "scale", "sizes"), [("aetad_very_small", 4, [2, 4]), ("aetad_direct4", 4, [4]),
                                                      ("no_tad", 8, [2, 4, 8])])
def test_passes_end_with_the_large_image(photo, model, scale, sizes):
    torch.manual_seed(0)
    net = networks.build(model).eval()
    found = report.passes(net, photo, scale)
    h, w = photo.shape[1] // scale, photo.shape[2] // scale
    assert [tuple(x.shape[-2:]) for x in found] == [(h * s, w * s) for s in sizes]
    with torch.no_grad():
        hr = to_float(photo)
        torch.testing.assert_close(found[-1], net.decode(send(net.encode(hr, scale)), scale))


def test_the_first_of_two_passes_is_what_the_decoder_makes_of_the_rounded_code(photo):
    torch.manual_seed(0)
    net = networks.build("aetad_very_small").eval()
    with torch.no_grad():
        expected = net.decoder(send(net.encode(to_float(photo), 4)))
    torch.testing.assert_close(report.passes(net, photo, 4)[0], expected)


def test_experiments_show_what_runs_differ_in():
    names = ["bicubic", "aetad", "eps_10_observed", "eps_0.5", "aetad_unguided", "aetad_any_scale", "tool_x4"]
    table = report.experiments_table(names).set_index("run")
    assert table.index.tolist() == names
    assert table["epsilon"].tolist() == ["0", "0", "10 % observed", "0.5 % range", "0", "0", "0"]
    assert table["scale"].tolist() == [4, 4, 4, 4, 4, "2/4/8/16", 4]
    assert table["added"].tolist() == [True, True, True, True, False, True, True]
    assert table.loc["aetad", ["network", "steps", "alpha:beta", "skip"]].tolist() == ["aetad", 1200, "1:0.02", "none"]
    assert table.loc["tool_x4", "skip"] == "bicubic"
    assert (table.loc["bicubic", "recipe"], table.loc["eps_0.5", "alpha:beta"]) == ("", "1:0.1")
    assert set(report.experiments_table(["aetad"], "smoke")["steps"]) == {3}


# ------------------------------------------------------------------------------------------------------- quoted

def test_every_quoted_number_has_a_source():
    entries = report.quoted()
    assert {"kim_x4", "report_table1", "report_table2", "report_table3"} <= set(entries)
    for name, entry in entries.items():
        assert len(entry["source"]) > 20, name
        numbers = [n for key, value in entry.items() if key != "source" for n in _numbers(value)]
        assert numbers and all(5 < n < 60 for n in numbers), name  # each of them is a PSNR in dB
        similar = [v["ssim"] for v in entry.values() if isinstance(v, dict) and "ssim" in v]
        assert all(0.5 < s < 1 for s in similar), name  # but for these


def _numbers(value) -> list[float]:
    if isinstance(value, dict):
        return [n for key, one in value.items() if key != "ssim" for n in _numbers(one)]
    return [float(n) for n in (value if isinstance(value, list) else [value])]


def test_quoted_rows_have_one_number_for_each_scale_of_their_table():
    entries = report.quoted()
    for table in ("report_table1", "report_table2"):
        assert {len(row) for key, row in entries[table].items() if key != "source"} == {4}  # x2, x4, x8, x16
    assert set(entries["report_table2"]) - {"source"} <= set(studies.OTHER_SCALES)
    assert set(entries["report_table3"]) - {"source"} <= set(studies.TABLE_3)


# ------------------------------------------------------------------------------------------------------- points

def test_every_point_has_its_label_and_no_two_labels_overlap():
    rows = pd.DataFrame({"x": [1, 1.1, 1.2, 9], "y": [20.0, 20.0, 20.1, 30.0], "run": ["a", "b", "c", "d"]})
    figure = plots.points(rows, "x", "y", "run", "steps", "dB")
    figure.draw_without_rendering()
    ax = figure.axes[0]
    boxes = {t.get_text(): t.get_window_extent() for t in ax.texts if t.get_text()}
    assert sorted(boxes) == ["a", "b", "c", "d"]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes.values(), 2))
    for x, y, name in rows.itertuples(index=False):  # beside its point, and not on it
        near = ax.transData.transform((x, y))
        assert not boxes[name].contains(*near) and abs(boxes[name].get_points() - near).max() < 60
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("steps", "dB")
    again = plots.points(rows, "x", "y", "run", "steps", "dB").axes[0]  # else git would see a new picture each time
    assert [t.get_position() for t in again.texts] == [t.get_position() for t in ax.texts]


def test_bars_are_as_long_as_told_and_none_where_unknown():
    rows = pd.DataFrame({"x": [1, 2], "y": [5.0, 6.0], "run": ["a", "b"], "low": [4.9, float("nan")],
                         "high": [5.5, float("nan")]})
    bars, = plots.points(rows, "x", "y", "run", "", "", bars=("low", "high")).axes[0].collections
    ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
    assert ends == [pytest.approx([4.9, 5.5]), [6, 6]]


# ------------------------------------------------------------------------------------------------------- flow, video

def test_the_stages_of_sofvsr_have_the_shapes_that_its_modules_put_out():
    stages = report.sofvsr_stages(networks.build("sofvsr"), 64)
    assert stages[0] == ("three HR frames", "3x3x64x64") and stages[6][1] == "3x64x64"
    assert ("neighbours moved", "32x16x16") in stages and stages[-1] == ("shuffle: HR Y", "1x64x64")
    assert ("bicubic, each frame", "3x3x16x16") in stages and ("flow at half LR size", "2x8x8") in stages
    assert ("encoder, each frame", "3x3x16x16") in report.sofvsr_stages(networks.build("aetad_sofvsr"), 64)


def test_flow_is_measured_where_the_scenes_are_or_as_it_was_stored(own_results, no_data, monkeypatch):
    torch.manual_seed(0)
    encoders, vsr = {"mine": networks.build("aetad").eval()}, networks.build("sofvsr").eval()
    table = report.flow_table(encoders, vsr, "smoke").set_index(["frames", "by"])["end-point error"]
    assert set(table.index) == set(itertools.product(("HR", "bicubic", "mine"), ("Farneback", "flow net")))
    assert max(table["HR", "Farneback"], table["bicubic", "Farneback"]) < 0.3 < table["bicubic", "flow net"]
    monkeypatch.setattr(report, "flows", lambda *args: pytest.fail("measured again"))
    again = report.flow_table(encoders, vsr, "smoke").set_index(["frames", "by"])["end-point error"]
    assert again.to_dict() == table.to_dict()


# ------------------------------------------------------------------------------------------------------- figures

def test_a_photograph_is_shown_as_jpeg_and_a_plot_as_png(own_results):
    figure = Figure(figsize=(5, 5))
    plots.picture(figure.add_axes((0, 0, 1, 1)), datasets.load("Sample")["astronaut"])
    assert plots.show(figure, "photo", "smoke").format == "jpeg"
    figure = Figure(figsize=(3, 3))
    figure.subplots().plot([1, 2])
    assert plots.show(figure, "plot", "smoke").format == "png"


def test_an_animation_has_every_frame_of_every_panel(own_results, photo):
    clip = torch.stack([photo[:, :40, n : n + 60] for n in range(0, 10, 2)])
    shown = plots.animate({"a": clip, "b": 255 - clip}, "moving", "smoke", times=1)
    path = own_results / "smoke" / "figures" / "moving.webp"
    with Image.open(path) as picture:
        assert picture.n_frames == 5 and picture.width >= 120 and picture.height >= 40
        first = np.asarray(picture.convert("RGB"), dtype=float)
    inside = first[-40:, 4:64].transpose(2, 0, 1)
    assert np.abs(inside - clip[0].numpy()).mean() < 12  # lossy, but the picture
    stamp = path.stat().st_mtime_ns
    assert plots.animate({"a": clip, "b": 255 - clip}, "moving", "smoke", times=1).data == shown.data
    assert path.stat().st_mtime_ns == stamp


def test_a_pipeline_names_every_stage():
    figure = plots.pipeline([(f"stage {n}", f"{n}x{n}") for n in range(9)], "all", per_row=4)
    texts = {t.get_text() for t in figure.axes[0].texts}
    assert {f"stage {n}" for n in range(9)} | {f"{n}x{n}" for n in range(9)} <= texts
