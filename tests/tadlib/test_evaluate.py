"""The command evaluate: scores of a model on own images, and their mean."""
from __future__ import annotations

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
