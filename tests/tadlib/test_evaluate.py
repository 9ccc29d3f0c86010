"""The command evaluate: scores of a model on own images, and their mean."""
from __future__ import annotations

import json
from pathlib import Path

import pytest

from tadlib.__main__ import main


def test_evaluate_prints_images_and_their_mean(write_set, photo, capsys):
    own = write_set("own", {"one": photo, "two": 255 - photo})
    assert main(["evaluate", "--model", "bicubic", "--set", own, "--channel", "jpeg:90"]) == 0
    images, _, mean = capsys.readouterr().out.partition("\nmean\n")
    assert " one " in images and " two " in images
    assert [line.split()[4:6] for line in mean.splitlines()[1:]] == [["SHRT", "jpeg:90"], ["SLR", "jpeg:90"]]


def test_what_cannot_be_evaluated_is_one_line(write_set, photo, capsys):
    own = write_set("own", {"one": photo})
    for options, reason in ((["--model", "nonesuch"], "no model 'nonesuch'; there are: "),
                            (["--model", "bicubic", "--set", "nowhere"], "nowhere: not here ("),
                            (["--model", "bicubic", "--set", own, "--channel", "jpeg:nan"], "channel stage "),
                            (["--model", "bicubic", "--set", own, "--channel", "smoke:1"], "channel stage 'smoke:1'")):
        assert main(["evaluate", *options]) == 2
        line, = capsys.readouterr().err.splitlines()
        assert line.startswith(f"tadlib: {reason}")


@pytest.fixture
def folder(write_set, photo) -> Path:
    """Two good pictures, one of them in a folder below; a broken one, one too small, and what is none."""
    own = Path(write_set("own", {"good": photo, "below/deep": photo, ".hidden/no": photo, "small": photo[:, :3]}))
    (own / "broken.png").write_text("no picture")
    for name in ("a.heic", "b.HEIC", "below/c.txt", "notes"):
        (own / name).write_text("no picture of ours")
    return own


@pytest.mark.parametrize("command", ["evaluate", "evaluate --json", "evaluate --recursive", "downscale",
                                     "downscale --recursive"])
def test_one_rule_for_folders_whatever_is_done_with_them(folder, capsys, command):
    name, *options = command.split()
    deep = "--recursive" in options
    given = (["--set", str(folder)] if name == "evaluate" else [str(folder), str(folder.parent / "out")])
    assert main([name, *given, "--model", "bicubic", *options]) == 2
    printed, told = capsys.readouterr()
    others = f"2 .heic, {'1 .txt' if deep else '1 folders (see --recursive)'}, 1 without a suffix"
    broken = f"tadlib: {folder}/broken.png: cannot be read (not an image"
    if name == "downscale":  # what is too small for a score can be made small all the same
        good = {"good.png", "small.png", "below/deep.png"} if deep else {"good.png", "small.png"}
        out = folder.parent / "out"
        assert {f.relative_to(out).as_posix() for f in out.rglob("*.png")} == good
        assert printed == f"{len(good)} of {len(good) + 1} images written to {out}; left out: {others}\n"
        assert told.startswith(broken) and told.count("\n") == 1
        return
    first, second, third = told.splitlines()
    assert first == f"tadlib: {folder}: left out: {others}" and second.startswith(broken)
    assert third == "tadlib: small: smaller than the scale of 4, it cannot be scored"
    if "--json" in options:
        assert {row["image"] for row in json.loads(printed)["images"]} == {"good"}
    else:
        assert ("below/deep" in printed) == deep and "good" in printed and "small" not in printed


def test_a_folder_without_a_picture_that_can_be_scored_is_one_line(write_set, photo, capsys):
    small = write_set("small", {"a": photo[:, :3], "b": photo[:, :2]})
    Path(write_set("void", {})).mkdir()
    Path(write_set("void", {}), "a.heic").write_text("no picture of ours")
    for name, line in ((small, "a: smaller than the scale of 4"), (small[:-5] + "void", "holds no picture (1 .heic)"),
                       (small + "/none", "none: not here (no such set or folder)")):
        assert main(["evaluate", "--model", "bicubic", "--set", name]) == 2
        printed, told = capsys.readouterr()
        assert line in told and told.count("\n") == 1 and printed == ""


def test_a_picture_that_leaves_through_the_channel_stops_none_of_the_others(write_set, photo, capsys):
    own = write_set("own", {"good": photo, "narrow": photo[:, :, :24]})
    assert main(["evaluate", "--model", "bicubic", "--set", own, "--channel", "shift:6", "--json"]) == 2
    printed, told = capsys.readouterr()
    assert {row["image"] for row in json.loads(printed)["images"]} == {"good"}
    assert told == "tadlib: narrow: its small image is only 6 pixels wide, nothing of it is left by shift:6\n"


def test_a_picture_without_an_error_is_a_number_in_json(write_set, photo, capsys):
    assert main(["evaluate", "--model", "bicubic", "--set", write_set("own", {"one": photo}), "--json"]) == 0
    rows = [row for row in json.loads(capsys.readouterr().out)["images"] if row["kind"] == "SLR"]
    assert [row["psnr_rgb"] for row in rows] == [100]


def test_it_computes_where_the_others_do(monkeypatch, capsys):
    monkeypatch.setenv("TAD_DEVICE", "meta:9nonsense")
    assert main(["evaluate", "--model", "bicubic", "--set", "SampleCrop"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_of_a_clip_no_frame_may_be_missing(write_set, photo, capsys):
    clip = write_set("clip", {f"{n}": photo for n in range(3)})
    Path(clip, "1.png").write_text("no picture")
    assert main(["evaluate", "--model", "joint_x4", "--set", clip]) == 2
    printed, told = capsys.readouterr()
    assert told.startswith(f"tadlib: {clip}/1.png: cannot be read") and told.count("\n") == 1 and printed == ""
