"""The ledger: numbers from stored scores alone, verdicts by thresholds, and every claim has what it is judged by."""
from __future__ import annotations

from math import nan

import pandas as pd
import pytest

from tadlib.data import sets
from tadlib.errors import BadInput
from tadlib.settings import ROOT, results
from workbook import claims, studies, tables
from workbook.claims import CLAIMS, VERDICTS, Claim, Condition, ledger, write
from workbook.measurements import LEVEL, Measured

BY_ID = {claim.id: claim for claim in CLAIMS}


def measured(id: str) -> Measured:
    return BY_ID[id].measure("cpu")


def on(set_name: str, *values: float, **where) -> list[dict]:
    """Scores of images a, b, ... of a set."""
    return [{"set": set_name, "image": i, "psnr_rgb": v} | where for i, v in zip("abcdef", values, strict=False)]


def two_sets(set5: float, set14: float, **where) -> list[dict]:
    return on("Set5", *[set5] * 5, **where) + on("Set14", *[set14] * 5, **where)


# ------------------------------------------------------------------------------------------------------- verdicts

def claim(holds: float, partly: float, at_most: bool = False, also: Condition | None = None) -> Claim:
    return Claim("id", "00", "1", "a is better", "5", "a over b", holds, partly, lambda profile: None, at_most=at_most,
                 also=also)


@pytest.mark.parametrize(("value", "verdict"), [(0.31, "holds"), (0.3, "holds"), (0.29, "partly"), (0.1, "partly"),
                                                (0.09, "not"), (-5, "not"), (nan, "not")])
def test_a_claim_of_at_least(value, verdict):
    assert claim(0.3, 0.1).verdict(value) == verdict


@pytest.mark.parametrize(("value", "verdict"), [(-5, "holds"), (0.1, "holds"), (0.11, "partly"), (0.3, "partly"),
                                                (0.31, "not"), (nan, "not")])
def test_a_claim_of_at_most(value, verdict):
    assert claim(0.1, 0.3, at_most=True).verdict(value) == verdict


def test_a_claim_of_two_things_holds_partly_at_most_where_the_second_fails():
    one = claim(0.3, 0.1)
    assert [one.verdict(v, also=False) for v in (5, 0.2, 0)] == ["partly", "partly", "not"]


def test_a_rule_reads_as_a_sentence():
    assert claim(0.3, 0.1).rule == "a over b: holds at least 0.3 dB, partly at least 0.1 dB"
    assert claim(0.1, 0.3, at_most=True).rule == "a over b: holds at most 0.1 dB, partly at most 0.3 dB"
    also = Condition("a is smaller", lambda profile: (True, ""))
    assert claim(0.3, 0.1, also=also).rule.endswith("partly at least 0.1 dB; partly at most, unless a is smaller")


def test_claims_are_told_apart_and_belong_to_notebooks():
    assert len(BY_ID) == len(CLAIMS)
    assert {c.notebook for c in CLAIMS} <= {n.stem for n in (ROOT / "notebooks").glob("*.ipynb")}
    for c in CLAIMS:
        if c.measure:
            assert c.number and (c.holds < c.partly if c.at_most else c.holds > c.partly), c.id
        else:
            assert c.remark and not c.rule, c.id  # why it cannot be tested


def test_a_rule_that_was_changed_says_when_what_it_was_and_why():
    changed = {c.id for c in CLAIMS if c.changed}
    assert changed == {"quarter_less", "equal_grey", "flow"}
    for c in CLAIMS:
        assert pd.Timestamp(c.fixed) <= pd.Timestamp.now(), c.id
        if c.changed:
            day, _, why = c.changed.partition(": ")
            assert pd.Timestamp(day) >= pd.Timestamp(c.fixed) and ("until then" in why or "was" in why), c.id


def test_thresholds_are_those_that_were_committed_before_the_runs():
    """Every number by which verdicts are given: whoever changes one has to change it here as well, and say so."""
    fixed = {c.id: (c.holds, c.partly) for c in CLAIMS if c.measure}
    assert fixed == {
        "noise_0": (37, 27), "noise_10": (15, 25), "robust": (1, 0.3), "quicker": (1.2, 1.05), "too_large": (0.3, 0.1),
        "other_scales": (0.5, 0.1), "harmless": (0.3, 0.6), "trivial": (0.5, 0.2), "trap": (0.5, 0.2),
        "guidance": (1.2, 1.05), "iterative": (0.3, 0.1), "task_aware": (2, 1),
        "task_aware_tool": (2, 1), "vdsr": (0.1, 0),
        "quarter_less": (0.3, 0.1), "resblocks": (0.3, 0.1), "stagnates": (0.1, 0.3), "large_drop": (0.5, 0.2),
        "44_percent": (0.3, 0.6), "skip2": (0.1, 0.3), "parity": (3, 1), "overfits": (0.3, 0), "runtime": (2, 1.3),
        "color_31": (20, 5), "equal_grey": (3, 1), "everywhere": (1, 0.3), "tad_vsr": (0.5, 0.2),
        "frame_by_frame": (0.5, 0.2), "in_steps": (0.3, 0.1), "flow": (5, 15)}


# ------------------------------------------------------------------------------------------------------- measures

def test_an_advantage_is_that_on_the_worse_set(store):
    store("aetad", two_sets(31.0, 30.2))
    store("aetad_direct4", two_sets(30.0, 30.0))
    found = measured("iterative")
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.2, 0.2))
    assert found.runs == ("aetad", "aetad_direct4")
    assert found.detail == "Set5 +1.00, Set14 +0.20"
    assert BY_ID["iterative"].verdict(found.value) == "partly"


def test_an_advantage_that_has_to_be_small_is_that_on_the_set_where_it_is_largest(store):
    store("aetad", two_sets(31.0, 30.2))
    store("aetad_very_large", two_sets(31.5, 30.25))
    store("aetad_large", two_sets(31.0, 30.2))
    found = measured("stagnates")
    assert found.value == pytest.approx(0.5)
    assert BY_ID["stagnates"].verdict(found.value) == "not"


def test_noise_costs_percent_of_the_clean_db(store):
    store("aetad", on("Set14", 30))
    store("eps_0", on("Set14", 20, 30) + on("Set14", 10, 10, channel="noise:0.11"))
    found = measured("noise_0")
    assert found.value == pytest.approx(60)
    assert found.detail == "Set14: 25.00 to 10.00 dB"
    assert BY_ID["noise_0"].verdict(found.value) == "holds"


def test_robustness_is_compared_under_noise_and_not_without(store):
    store("aetad", on("Set14", 30))
    store("eps_0", on("Set14", 30) + on("Set14", 12, channel="noise:0.11"))
    store("eps_10_observed", on("Set14", 20) + on("Set14", 19, channel="noise:0.11"))
    assert measured("robust").value == pytest.approx(7)


def test_loss_on_other_scales_is_the_mean_over_them(store):
    store("aetad", on("Set14", 30))
    for name, values in (("eps_0", (9, 10, 18)), ("eps_100_observed", (8, 10, 13))):
        store(name, [row for s, v in zip((2, 8, 16), values, strict=True) for row in on("Set14", v, scale=s)])
    found = measured("other_scales")
    assert found.value == pytest.approx(2)
    assert found.detail == "Set14: x2 +1.00, x8 +0.00, x16 +5.00"


def test_parity_holds_x16_against_the_better_of_x2_and_x8(store):
    store("aetad", on("Set14", 30))
    at = ((2, 7), (4, 28), (8, 9), (16, 18.5))
    store("aetad_very_small", [row for s, v in at for row in on("Set14", v, scale=s)])
    assert measured("parity").value == pytest.approx(9.5)


def test_the_dearest_of_the_small_balls_counts(store):
    store("aetad", two_sets(30, 30))
    store("eps_0", two_sets(30, 30))
    for e, v in (("0.5", 30.1), ("1", 29.9), ("2", 29.5), ("5", 29.8)):
        store(f"eps_{e}", two_sets(v, v))
    found = measured("harmless")
    assert found.value == pytest.approx(0.5)
    assert found.detail.startswith("eps_2: ")


def test_a_net_beyond_its_scale_is_held_against_bicubic_there(store):
    store("aetad", on("Set5", 30))
    store("bicubic", on("Set5", 26.5))
    store("aetad_x2", on("Set5", 36, scale=2) + on("Set5", 20, scale=4))
    found = measured("overfits")
    assert (found.value, found.detail) == (pytest.approx(6.5), "Set5: x2 36.00, x4 20.00")


def test_speed_is_down_and_up_together(own_results):
    rows = [{"model": m, "scale": s, "down s/MP": d, "up s/MP": u} for m, s, d, u in (
        ("aetad", 2, 9, 9), ("aetad", 4, 1, 5), ("aetad_very_small", 4, 0.5, 1.5))]
    with pytest.raises(BadInput, match="not measured yet"):
        measured("runtime")
    (own_results / "cpu").mkdir(parents=True)
    pd.DataFrame(rows).to_csv(own_results / "cpu" / "speed.csv", index=False)
    assert measured("runtime").value == pytest.approx(3)


def test_video_is_compared_on_the_two_clips_that_the_report_names(store):
    def clips(calendar, city, foliage=50):
        return [row for name, v in (("calendar", calendar), ("city", city), ("foliage", foliage))
                for row in on(f"Vid4/{name}", v, v)]

    store("sofvsr_tad", clips(20.5, 24.25))
    store("sofvsr", clips(20.0, 24.0, 99))
    store("aetad_video", clips(21, 25))
    found = measured("tad_vsr")
    assert (found.value, found.detail) == (0.25, "Vid4/calendar +0.50, Vid4/city +0.25")
    assert BY_ID["tad_vsr"].verdict(found.value) == "partly"
    found = measured("frame_by_frame")  # held against the better of the two VSR nets, clip by clip
    assert (found.value, found.detail.partition(":")[0]) == (pytest.approx(0.5), "sofvsr_tad")
    with pytest.raises(BadInput, match="direct: not trained yet"):
        measured("in_steps")


def test_quicker_is_how_many_times_as_many_steps_the_other_takes(store):
    with pytest.raises(BadInput, match="not trained yet"):
        measured("guidance")
    for name, step in (("aetad", 100), ("aetad_unguided", 150)):
        store(name, history={"step": [0, 2 * step], "held_out_shr": [LEVEL - 1, LEVEL + 1]})
    assert measured("guidance").value == pytest.approx(1.5)


def test_a_rival_that_never_gets_there_does_not_speak_against_the_quick_one(store):
    store("aetad", history={"step": [0, 200], "held_out_shr": [LEVEL - 1, LEVEL + 1]})
    store("aetad_unguided", history={"step": [0, 200], "held_out_shr": [LEVEL - 2, LEVEL - 1]})
    row = ledger(notebook=BY_ID["guidance"].notebook).set_index("id").loc["guidance"]
    assert row["verdict"] != "not"
    assert "nan" not in row["measured"]


def flow_errors(bicubic: float, aim: float) -> pd.DataFrame:
    rows = [(scene, frames, by, error + add) for scene, add in (("a", 0), ("b", 1)) for frames, by, error in (
        ("bicubic", "Farneback", bicubic), ("aim_farneback", "Farneback", aim), ("aim_farneback", "flow net", 9))]
    return pd.DataFrame(rows, columns=["scene", "frames", "by", "end-point error"])


def test_a_flow_loss_is_judged_by_what_its_frames_show_beyond_bicubic_ones(own_results):
    with pytest.raises(BadInput, match=r"flow\.csv: not there"):
        measured("flow")
    for aim, percent, verdict in ((1.0, 0, "holds"), (0.85, 10, "partly"), (0.4, 40, "not")):
        tables.save(flow_errors(1.0, aim), "flow", "cpu")
        found = measured("flow")
        assert found.value == pytest.approx(percent) and found.detail == f"1.500 to {aim + 0.5:.3f} pixels"
        assert BY_ID["flow"].verdict(found.value) == verdict


def test_a_net_that_is_better_and_larger_has_half_of_what_is_claimed(store):
    store("aetad_small", two_sets(31.0, 30.0))
    store("no_tad", two_sets(29.0, 28.0))
    row = ledger(notebook="02_sisr_architectures").set_index("id").loc["quarter_less"]
    assert (row["measured"], row["verdict"]) == ("2.00 dB", "partly")
    assert "523,638 parameters against 409,731, +28 %" in row["detail"]


@pytest.mark.parametrize(("on_chart", "verdict"), [(12.8, "partly"), (30.4, "holds")])
def test_colours_of_equal_grey_have_to_come_back_where_they_are_exactly_that(store, on_chart, verdict):
    store("aetad_color_large", on("ColorDemo", 28, 28))
    store("no_tad_color", on("ColorDemo", 20, 20))
    ask = {"notebook": "03_colorization"}
    assert "isoluminant.csv" in ledger(**ask).set_index("id").loc["equal_grey", "remark"]
    chart = {"run": ["no_tad_color", "aetad_color_large"], "PSNR": [11.6, on_chart]}
    tables.save(pd.DataFrame(chart), "isoluminant", "cpu")
    row = ledger(**ask).set_index("id").loc["equal_grey"]
    assert (row["verdict"], row["measured"]) == (verdict, "8.00 dB")
    assert f"chart of equal greys: {on_chart} dB against 11.6" in row["detail"]


# ------------------------------------------------------------------------------------------------------- ledger

def test_a_ledger_without_any_results_measures_and_writes_nothing(own_results, no_data):
    table = ledger()
    assert table["id"].tolist() == [c.id for c in CLAIMS]
    assert set(table["verdict"]) == {"not testable", "not measured"}
    assert (table["measured"] == "").all()
    why = table.loc[table["verdict"] == "not measured", "remark"]
    assert why.str.contains("not trained|not measured|not there").all()
    assert not own_results.exists()


def test_a_ledger_of_stored_scores_measures_nothing_more(store):
    folder = store("aetad", two_sets(31.0, 30.2))
    store("aetad_direct4", two_sets(30.0, 30.0))
    before = (folder / "scores.csv").read_bytes()
    row = ledger(notebook="02_sisr_architectures").set_index("id").loc["iterative"]
    assert (row["measured"], row["verdict"], row["low"], row["high"]) == ("0.20 dB", "partly", 0.2, 0.2)
    assert row["verdict"] in VERDICTS
    assert row["runs"].split()[0] == folder.name
    assert (folder / "scores.csv").read_bytes() == before


def test_a_ledger_of_one_notebook_has_its_claims_only(own_results, no_data):
    assert set(ledger(notebook="01_epsilon_study")["id"]) == {c.id for c in CLAIMS if c.notebook == "01_epsilon_study"}


def test_everything_that_claims_ask_for_is_scored_by_the_studies(store, own_results, monkeypatch):
    """With what `train` scores of each run, made up here, every claim that can be tested gets its verdict."""
    with monkeypatch.context() as here:
        here.setattr(sets, "is_here", lambda name: True)
        scorings = {name: studies.scoring(run) for name, run in studies.ALL.items()}
    for name, scoring in scorings.items():
        rows = [{"set": s, "channel": c, "scale": todo.scale or studies.ALL[name].scale, "kind": k, "psnr_rgb": 30}
                for todo in scoring for s in todo.sets for c in todo.channels for k in todo.kinds]
        store(name, rows, {"step": [1, 2], "held_out_shr": [20, 40], "task": [1, 1]})
    speeds = [{"model": m, "scale": 4, "down s/MP": 1, "up s/MP": 1} for m in ("aetad", "aetad_very_small")]
    pd.DataFrame(speeds).to_csv(own_results / "cpu" / "speed.csv", index=False)
    tables.save(flow_errors(1, 1), "flow", "cpu")
    tables.save(pd.DataFrame({"run": ["no_tad_color", "aetad_color_large"], "PSNR": [12, 12]}), "isoluminant", "cpu")
    table = ledger()
    lacking = table[table["verdict"] == "not measured"]
    assert lacking.empty, lacking[["id", "remark"]].to_string()
    assert (table["runs"].str.len() > 0).tolist() == [c.measure is not None for c in CLAIMS]
    assert (table.loc[table["measured"].str.endswith("dB"), "measured"] == "0.00 dB").all()


def test_the_written_ledger_is_the_ledger(store, own_results):
    store("aetad", two_sets(31.0, 30.2))
    store("aetad_direct4", two_sets(30.0, 30.0))
    path = write()
    assert path == own_results / "cpu" / "claims.csv"
    again = pd.read_csv(path, keep_default_na=False, na_values={"low": "", "high": ""})
    pd.testing.assert_frame_equal(again, ledger(), check_dtype=False)
    assert {p.name for p in path.parent.iterdir()} == {"claims.csv", "runs"}


def test_a_notebook_shows_what_is_measured_with_its_interval(store):
    store("aetad", two_sets(31.0, 30.5))
    store("aetad_direct4", two_sets(30.0, 30.0))
    table = claims.table("cpu", "02_sisr_architectures")
    row = table.loc["two steps of 2 are better than one step of 4"]
    assert row["measured"] == "0.50 dB (0.50 to 0.50)" and row["verdict"] == "holds"
    assert len(table) == sum(c.notebook == "02_sisr_architectures" for c in CLAIMS)


def test_the_committed_ledger_is_that_of_the_committed_results():
    """claims.csv is written by the command; a changed rule without it would leave old verdicts in git."""
    stored = pd.read_csv(results("cpu") / "claims.csv", keep_default_na=False, na_values={"low": "", "high": ""})
    pd.testing.assert_frame_equal(stored, ledger(), check_dtype=False)


def test_questions_of_ours_are_no_verdicts_about_the_report():
    whose = ledger().set_index("id")["whose"]
    assert whose["trap"] == "added here" and whose["task_aware"] == "the report"
