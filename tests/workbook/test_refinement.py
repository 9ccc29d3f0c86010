"""What is measured of refinement, and what is claimed of it."""
from __future__ import annotations

import pandas as pd
import pytest
import torch

from tadlib import stored
from tadlib.errors import BadInput
from tadlib.training.fit import fit
from workbook import claims, ours, peers, refined, refinement, studies
from workbook.__main__ import main
from workbook.claims import FOUR
from workbook.refinement import EQUAL, Plan


def rows(own_results, *found: dict) -> None:
    """refined.csv with these rows, each by what it differs in from one of tool_x4."""
    now = stored.folder(studies.named("tool_x4")).name
    plain = {"run": now, "scale": 4, "set": "Set14", "image": "a", "channel": "8bit", "met": "8bit", "steps": 0,
             "likeness": EQUAL, "settled": False, "psnr_rgb": 30.0, "psnr_y": 32.0, "psnr_y_crop": 32.0,
             "ssim_y": 0.9, "slr_rgb": 36.0, "slr_y": 40.0, "lr_bytes": 100, "model": "tool_x4", "pixels": 1600,
             "seconds": 0.0}
    path = refinement.path()
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame([plain | one for one in found]).to_csv(path, index=False)


def test_a_gain_is_over_none_through_the_same_channel_and_on_the_same_images(store, own_results):
    store("tool_x4", [{"set": "Set14", "image": "a"}, {"set": "Set14", "image": "b"}])
    noisy = {"met": "noise:0.02"}
    rows(own_results, {}, {"image": "b", "psnr_y": 30.0}, {"steps": 10, "psnr_y": 33.0},
         {"image": "b", "steps": 10, "psnr_y": 30.5}, noisy | {"psnr_y": 28.0}, noisy | {"steps": 10, "psnr_y": 27.0})
    assert ours.gain("tool_x4", 10, ("Set14",))("cpu").value == pytest.approx(0.75)
    with pytest.raises(BadInput, match="10 steps on Set14 are not measured"):  # one image of two
        ours.gain("tool_x4", 10, ("Set14",), met="noise:0.02")("cpu")
    table = refinement.means().set_index(["met", "steps"])
    assert table.gain_y["8bit", 10] == pytest.approx(0.75) and table.gain_y["noise:0.02", 10] == pytest.approx(-1)
    assert table.bits["8bit", 0] == pytest.approx(0.5)  # 100 bytes for 1,600 pixels


def test_what_an_earlier_training_gave_is_not_this_one_s(store, own_results):
    store("tool_x4")
    rows(own_results, {"run": "tool_x4-0"}, {"run": "tool_x4-0", "steps": 10, "psnr_y": 33.0}, {"psnr_y": 31.0})
    table = refinement.means()
    assert list(table["psnr_y"]) == [31.0] and len(refinement.read()) == 3


def test_a_code_that_settled_stands_for_the_one_rounded_at_once_and_beside_it(store, own_results):
    store("tool_x4")
    crops = {"set": refinement.HELD_OUT, "steps": 30}
    both = [crops | {"settled": settled, "psnr_rgb": psnr} for settled, psnr in ((True, 31.5), (False, 31.0))]
    rows(own_results, {"steps": 10}, *both)
    assert sorted(refinement.present()["psnr_rgb"]) == [30.0, 31.5]
    only = refinement.settling()
    assert len(only) == 1 and only[["steps", "RGB, at once", "RGB, settled"]].iloc[0].tolist() == [30, 31.0, 31.5]
    for one in both:  # one way alone is no comparison
        rows(own_results, {"steps": 10}, one)
        assert not len(refinement.settling()) and len(refinement.present()) == 2


def test_a_set_that_settled_in_part_is_that_of_before(store, own_results):
    store("tool_x4")
    before = [{"steps": 30, "image": image} for image in "ab"]
    rows(own_results, *before, before[0] | {"settled": True, "psnr_rgb": 31.0})
    assert refinement.means()["psnr_rgb"].tolist() == [30.0]
    rows(own_results, *before, *(one | {"settled": True, "psnr_rgb": 31.0} for one in before))
    assert refinement.means()["psnr_rgb"].tolist() == [31.0]


def test_which_codes_settle():
    assert [Plan("tool_x4", settle=settle).settles(steps) for settle, steps in ((True, 30), (True, 10), (False, 30))
            ] == [True, False, False]
    assert not Plan("robust", channel="jpeg:90").settles(30)


def test_what_would_be_measured_against_the_wrong_picture_is_refused():
    for channel in ("cycles:5", "gamma:1.3", "shift:1"):
        with pytest.raises(BadInput, match="is no channel that a small image is made for"):
            refinement.measure(Plan("tool_x4", steps=(0,), met=(channel,)))
    with pytest.raises(BadInput, match="joint_x4: its decoder looks at several frames"):
        refinement.measure(Plan("joint_x4", steps=(0,)))


def test_beside_what_others_print(store, own_results):
    found = [{"set": name, "image": "a"} for name in FOUR]
    store("tool_x4", found)
    printed = peers.irn()
    rows(own_results, *(one | {"steps": 30, "psnr_y_crop": printed[one["set"]] + gain, "slr_rgb": 35.0}
                        for one, gain in zip(found, (0.5, 0.25, 1.0, -0.125), strict=True)))
    measured = ours.over_irn("tool_x4", 30, FOUR)("cpu")
    assert measured.value == pytest.approx(-0.125) and measured.low is None
    assert measured.detail == "Set5 +0.50, Set14 +0.25, BSDS100 +1.00, Urban100 -0.12"
    table = peers.beside_irn("tool_x4")
    assert list(table[""]) == list(FOUR) and set(table["images"]) == {1} and set(table["likeness"]) == {35.0}
    assert (table["30 steps"] - table["IRN, quoted"]).tolist() == pytest.approx([0.5, 0.25, 1.0, -0.125])
    assert table["not refined"].isna().all()
    rows(own_results, *(one | {"steps": 30} for one in found[:3]))
    with pytest.raises(BadInput, match="30 steps on Urban100 are not measured"):
        ours.over_irn("tool_x4", 30, FOUR)("cpu")


def test_at_x2_ours_stands_beside_what_is_printed_for_x2(store, own_results):
    found = [{"set": name, "image": "a", "scale": 2} for name in FOUR[:2]]
    store("tool_x2", found)
    printed, now = peers.irn(2), stored.folder(studies.named("tool_x2")).name
    assert set(printed) == set(FOUR) and all(printed[name] > peers.irn()[name] + 6 for name in FOUR)
    rows(own_results, *(one | {"run": now, "model": "tool_x2", "steps": 30, "psnr_y_crop": printed[one["set"]] + gain}
                        for one, gain in zip(found, (1.0, 0.5), strict=True)))
    assert ours.over_irn("tool_x2", 30, FOUR[:2])("cpu").value == pytest.approx(0.5)
    assert list(peers.beside_irn("tool_x2")["IRN, quoted"]) == [printed["Set5"], printed["Set14"]]


def test_a_set_that_was_measured_in_part_does_not_stand_beside_others_means_and_is_named_so(store, own_results):
    images = [f"{n:03}" for n in range(30)]
    store("tool_x2", [{"set": "BSDS100", "image": i, "scale": 2} for i in images])
    now = stored.folder(studies.named("tool_x2")).name
    rows(own_results, *({"run": now, "model": "tool_x2", "scale": 2, "set": "BSDS100", "image": i, "steps": steps}
                        for i in images[:20] for steps in (0, 10)))
    assert not len(peers.beside_irn("tool_x2"))
    assert list(refined.by_steps(refinement.means())["set"]) == ["BSDS100, first 20"]
    rows(own_results, *({"run": now, "model": "tool_x2", "scale": 2, "set": "BSDS100", "image": i} for i in images))
    assert len(peers.beside_irn("tool_x2")) == 1
    assert list(refined.by_steps(refinement.means())["set"]) == ["BSDS100"]


def test_a_set_that_was_measured_in_part_speaks_for_no_claim(store, own_results):
    store("tool_x4", [{"set": "Set14", "image": i} for i in "abc"])
    rows(own_results, {}, {"steps": 10, "psnr_y": 35.0})
    verdicts = claims.ledger(of=ours.CLAIMS).set_index("id")["verdict"]
    assert set(verdicts) == {"not measured"}


def test_what_is_ours_is_marked_and_named_as_nothing_else():
    ids = [claim.id for claim in (*claims.CLAIMS, *ours.CLAIMS)]
    assert len(set(ids)) == len(ids)
    assert all(claim.ours and not claim.printed for claim in ours.CLAIMS)


def test_each_plan_is_of_runs_that_the_notebook_loads():
    assert {plan.run for plan in refinement.PLANS} <= set(studies.NEEDS["08_refinement"])


def test_what_is_measured_is_not_measured_again(own_results):
    fit(studies.named("tool_x4", "smoke"))
    plan = Plan("tool_x4", ("SampleCrop",), (0, 1), met=("noise:0.02",))
    assert refinement.missing("smoke") == list(refinement.QUICK)
    path = refinement.measure(plan, "smoke")
    first = path.read_bytes()
    found = refinement.read("smoke")
    images = found["image"].nunique()
    assert len(found) == 4 * images and not found[refinement.KEYS].duplicated().any()
    assert set(found["run"]) == {stored.folder(studies.named("tool_x4", "smoke")).name}
    assert refinement.measure(plan, "smoke").read_bytes() == first
    assert refinement.missing("smoke") == []


def test_a_set_that_was_measured_in_part_is_not_done(own_results, monkeypatch):
    fit(studies.named("tool_x4", "smoke"))
    pictures = [(name, torch.full((3, 16, 16), n, dtype=torch.uint8)) for n, name in enumerate("ab")]
    monkeypatch.setattr(refinement, "_images", lambda plan, run, name: pictures)
    path = refinement.measure(refinement.QUICK[0], "smoke")
    whole = refinement.read("smoke")
    whole[whole["image"] == "a"].to_csv(path, index=False)
    assert refinement.missing("smoke") == list(refinement.QUICK)
    real = refinement.refine

    def meanwhile(*arguments, **named):  # another process measures something else
        rows = refinement.read("smoke")
        pd.concat([rows, rows.assign(channel="jpeg:90")]).drop_duplicates(refinement.KEYS).to_csv(path, index=False)
        return real(*arguments, **named)

    monkeypatch.setattr(refinement, "refine", meanwhile)
    refinement.measure(refinement.QUICK[0], "smoke")
    again = refinement.read("smoke")
    assert (again["channel"] == "jpeg:90").any() and refinement.missing("smoke") == []
    plain = again[again["channel"] == "8bit"].reset_index(drop=True)
    assert len(whole) == 4 and plain[refinement.KEYS].equals(whole[refinement.KEYS])


@pytest.mark.parametrize(("arguments", "said"), [
    (["nonesuch"], "no run 'nonesuch'"), (["tool_x4", "--scale", "3"], "not by 3")])
def test_what_cannot_be_refined_is_one_line(own_results, no_data, capsys, arguments, said):
    fit(studies.named("tool_x4", "smoke"))
    assert main(["refine", *arguments, "--set", "SampleCrop", "--profile", "smoke"]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_a_damaged_record_is_one_line(own_results):
    refinement.path().parent.mkdir(parents=True)
    refinement.path().write_bytes(b'"')
    with pytest.raises(BadInput, match="damaged"):
        refinement.read()
