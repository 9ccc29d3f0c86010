"""Films as phones, screen recorders and cameras leave them: shape, time, colour and direction come back."""
from __future__ import annotations

import errno
import struct
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from film_ways import back, down

from tadlib.__main__ import main
from tadlib.errors import BadInput
from tadlib.files import picture_files, write_png
from tadlib.tool import claim, films
from tadlib.tool.video import Wish, Writer, frames, rate, shown


def scene(height: int = 64, width: int = 96, t: int = 0) -> np.ndarray:
    """Waves that move, and two flat patches: uint8 (H, W, 3)."""
    y, x = np.mgrid[:height, :width].astype(float)
    image = np.stack([120 + 80 * np.sin((x + 3 * t) / 9), 110 + 70 * np.cos((y + x + 2 * t) / 11),
                      100 + 90 * np.sin((y - x) / 13)], -1)
    image[height // 4 : height // 2, 10 + t : 40 + t] = (230, 40, 30)
    return image.clip(0, 255).astype(np.uint8)


CLIP = [scene(t=t) for t in range(8)]
MS = Fraction(1, 1000)
COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (230, 230, 230), (20, 20, 20), (200, 200, 40)]


def film(path: Path, images: Iterable[np.ndarray], codec: str = "libx264", form: str = "yuv420p", given: str = "rgb24",
         times: list[int] | None = None, aspect: Fraction | None = None, tags: tuple | None = (1, 1, 1, 1),
         options: dict | None = None, matrix: str = "ITU709", full: bool = False) -> Path:
    """A video file as others write it; `times` in ms, `tags`: primaries, transfer, matrix, range."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or ({"crf": "2"} if codec == "libx264" else {}))
        stream.pix_fmt = form
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if tags:
            stream.color_primaries, stream.color_trc, stream.colorspace, stream.color_range = tags
        if times:
            stream.codec_context.time_base = stream.time_base = MS
        images = list(images)
        stream.height, stream.width = images[0].shape[:2]
        for n, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format=given)
            if form != given:
                frame = frame.reformat(format=form, dst_colorspace=matrix, dst_color_range="JPEG" if full else "MPEG")
            if times:
                frame.pts, frame.time_base = times[n], MS
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


# ---- when, and in which shape

SCREEN = [0, 33, 66, 100, 1500, 1533, 1566, 3000]
UNEVEN = {"a screen recorder": SCREEN, "every other frame late": [0, 30, 80, 110, 160, 190, 240, 270],
          "begins late": [700, 740, 780, 1800, 1840, 1880, 1920, 5000], "slides": [n * 2500 for n in range(8)]}


@pytest.mark.parametrize("name", ["back.mp4", "back.mkv", "back.mov"])
@pytest.mark.parametrize("what", UNEVEN)
def test_every_frame_comes_back_at_its_time(tmp_path, what, name):
    times = UNEVEN[what]
    source = film(tmp_path / "clip.mkv", CLIP, times=times, options={"bf": "0"})
    came = [one.time for one in shown(back(down(source), name))]
    assert [round(time * 1000) for time in came] == [time - times[0] for time in times]
    with av.open(str(tmp_path / name)) as container:
        assert abs(container.duration / 1e6 - (times[-1] - times[0]) / 1000) < 0.1 + 2.5 * (what == "slides")


def test_frames_a_second_may_be_said_on_either_way(tmp_path, capsys):
    source = film(tmp_path / "clip.mkv", CLIP, times=SCREEN, options={"bf": "0"})
    small = down(source)
    assert rate(back(small, "a.mp4", "--fps", "30")) == 30
    assert [one.time for one in shown(tmp_path / "a.mp4")] == [Fraction(n, 30) for n in range(8)]
    (tmp_path / "other").mkdir()
    own = tmp_path / "other" / "frames"
    for n, image in enumerate(CLIP):
        write_png(own / f"{n}.png", image)
    capsys.readouterr()
    assert rate(back(own, "b.mp4", "--model", "bicubic")) == 25
    assert capsys.readouterr().err == "tadlib: 25 frames a second, for the frames do not say how many: see --fps\n"
    assert rate(back(own, "c.mp4", "--model", "bicubic", "--fps", "30000/1001")) == Fraction(30000, 1001)
    assert capsys.readouterr().err == ""
    assert rate(back(down(own, "--fps", "50"), "d.mp4")) == 50


@pytest.mark.parametrize("aspect", [Fraction(64, 45), Fraction(12, 11), Fraction(8, 9), Fraction(1)])
def test_pixels_that_are_no_squares_stay_so(tmp_path, aspect):
    source = film(tmp_path / "clip.mp4", CLIP[:2], aspect=aspect)
    with av.open(str(back(down(source)))) as container:
        assert (container.streams.video[0].sample_aspect_ratio or 1) == aspect


MATRICES = {  # a, b, c, d of x' = ax + cy, y' = bx + dy -> the picture as it is shown
    (1, 0, 0, 1): lambda p: p, (-1, 0, 0, 1): lambda p: p[:, ::-1], (1, 0, 0, -1): lambda p: p[::-1],
    (-1, 0, 0, -1): lambda p: p[::-1, ::-1], (0, 1, 1, 0): lambda p: p.swapaxes(0, 1),
    (0, 1, -1, 0): lambda p: np.rot90(p, -1), (0, -1, 1, 0): lambda p: np.rot90(p),
    (0, -1, -1, 0): lambda p: p.swapaxes(0, 1)[::-1, ::-1]}


@pytest.mark.parametrize("matrix", MATRICES)
def test_all_eight_ways_to_hold_a_camera_come_upright(tmp_path, matrix):
    source = film(tmp_path / "clip.mp4", CLIP[:1], aspect=Fraction(4, 3))
    plain = next(frames(source))
    data = bytearray(source.read_bytes())
    at = data.index(b"tkhd") + 44
    a, b, c, d = (n << 16 for n in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    source.write_bytes(data)
    one = next(shown(source))
    assert np.array_equal(one.image, MATRICES[matrix](plain))
    assert one.aspect == (Fraction(3, 4) if matrix[1] else Fraction(4, 3))


STREAMS = {"a picture first": ((32, 1), (64, 8)), "a picture last": ((64, 8), (32, 1)),
           "of one size": ((64, 1), (64, 8)), "three": ((32, 1), (64, 8), (48, 1)),
           "a large picture": ((128, 1), (64, 8))}


@pytest.mark.parametrize("what", STREAMS)
def test_of_several_streams_the_film_is_taken_and_not_a_picture(tmp_path, what):
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        streams = [container.add_stream("libx264", rate=25) for _ in STREAMS[what]]
        for stream, (side, _) in zip(streams, STREAMS[what], strict=True):
            stream.height, stream.width, stream.pix_fmt = side, side * 3 // 2, "yuv420p"
        for stream, (side, count) in zip(streams, STREAMS[what], strict=True):
            for t in range(count):
                image = scene(side, side * 3 // 2, t)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
    assert [image.shape for image in frames(tmp_path / "clip.mkv")] == [(64, 96, 3)] * 8


# ---- colours

@pytest.mark.parametrize(("lines", "tags", "matrix", "full", "form"), [
    (720, None, "ITU709", False, "yuv444p"), (720, (2, 2, 2, 1), "ITU709", False, "yuv444p10le"),
    (480, None, "ITU601", False, "yuv444p"), (480, (2, 2, 1, 1), "ITU709", False, "yuv444p"),
    (720, (2, 2, 5, 1), "ITU601", False, "yuv444p"), (480, (2, 2, 6, 2), "ITU601", True, "yuv444p"),
    (720, (2, 2, 1, 2), "ITU709", True, "yuv444p"), (720, (9, 14, 9, 1), "BT2020", False, "yuv444p10le")])
def test_colours_are_those_that_players_show(tmp_path, lines, tags, matrix, full, form):
    image = np.zeros((lines, 96, 3), np.uint8)
    for n, colour in enumerate(COLOURS):
        image[:, 16 * n : 16 * n + 16] = colour
    source = film(tmp_path / "clip.mkv", [image], form=form, tags=tags, matrix=matrix, full=full, options={"crf": "1"})
    got = next(frames(source))[lines // 2, 8::16].astype(int)
    assert np.abs(got - COLOURS).max() <= 4  # by another matrix or range it is 11 and more


@pytest.mark.parametrize(("kind", "codec", "form"), [("mov", "qtrle", "argb"), ("mov", "png", "rgba"),
                                                     ("mkv", "ffv1", "yuva444p")])
def test_what_is_transparent_lies_on_white(tmp_path, kind, codec, form):
    image = np.dstack([scene(), np.where(np.arange(96)[None] < 48, 255, 0).repeat(64, 0).astype(np.uint8)])
    image[:, 48:, :3] = (255, 0, 255)
    got = next(frames(film(tmp_path / f"clip.{kind}", [image], codec, form, "rgba", tags=None, matrix="ITU601")))
    assert (got[:, 50:] == 255).all() and np.abs(got[:, :46].astype(int) - image[:, :46, :3]).mean() < 3


def test_what_is_interlaced_or_hdr_is_told(tmp_path):
    notes: dict[str, None] = {}
    for name, tags, options in (("a.mkv", (1, 1, 1, 1), {"x264opts": "tff=1"}), ("b.mkv", (9, 16, 9, 1), {"crf": "9"})):
        list(shown(film(tmp_path / name, CLIP[:2], tags=tags, options=options), Wish(notes=notes)))
    assert [note.split(": ")[1].split(";")[0] for note in notes] == ["is interlaced", "is HDR (PQ)"]


# ---- what is broken, and what is claimed

BROKEN = {"cut.mkv": {}, "cut.avi": {"codec": "mjpeg", "form": "yuvj420p"}, "cut.ts": {},
          "ffv1.mkv": {"codec": "ffv1", "form": "yuv420p"},
          "cut.mov": {"codec": "png", "form": "rgb24"}}


@pytest.mark.parametrize("name", BROKEN)
def test_a_film_that_breaks_off_is_told_and_kept_only_if_asked(tmp_path, capsys, name):
    if name.endswith("mov"):
        with Writer(tmp_path / "whole.mov") as writer:  # its index comes last: not even to be opened
            for image in CLIP:
                writer.write(image)
        whole = tmp_path / "whole.mov"
    else:
        whole = film(tmp_path / f"whole_{name}", CLIP, **BROKEN[name])
    assert len(list(frames(whole))) == 8
    (tmp_path / name).write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3 + 1])
    before = sorted(tmp_path.iterdir())
    assert main(["downscale", str(tmp_path / name), str(tmp_path / "small"), "--model", "bicubic"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and ("breaks off" in error or "cannot be read" in error)
    assert sorted(tmp_path.iterdir()) == before
    if not name.endswith("mov"):
        small = down(tmp_path / name, "--keep-broken")
        assert 0 < len(picture_files(small)) < 8
        assert f"breaks off, or is damaged: {len(picture_files(small))} frames kept" in capsys.readouterr().err


@pytest.mark.parametrize("text", [b"Caf\xe9#", b"\xff\xfe\xff#\xe4", b"\x80\x81\x82##"])
def test_texts_that_are_no_utf8_keep_no_film_from_being_read(tmp_path, text):
    with av.open(str(tmp_path / "clip.avi"), "w") as container:
        container.metadata["title"] = "Cafe#"
        stream = container.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuvj420p"
        for image in CLIP:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    data = (tmp_path / "clip.avi").read_bytes()
    (tmp_path / "clip.avi").write_bytes(data.replace(b"Cafe#", text))
    assert len(list(frames(tmp_path / "clip.avi"))) == 8


def test_frames_are_held_to_the_budget_of_pictures(tmp_path, monkeypatch):
    source = film(tmp_path / "clip.mov", CLIP[:1], "png", "rgb24")
    monkeypatch.setattr(films, "MAX_PIXELS", 64 * 96 - 1)
    with pytest.raises(BadInput, match=r"clip\.mov: frames of more than 6,143 pixels"):
        next(frames(source))


# ---- two writers, and the rests of one that was killed

@pytest.mark.parametrize("there", [False, True])
def test_of_two_writers_to_one_folder_the_second_is_refused(tmp_path, there):
    if there:
        (tmp_path / "new").mkdir()
    with Writer(tmp_path / "new") as first:
        first.write(CLIP[0])
        with pytest.raises(BadInput, match="new: another process is writing"), Writer(tmp_path / "new") as second:
            second.write(CLIP[1])
        first.write(CLIP[2])
    assert np.array_equal(np.stack(list(frames(tmp_path / "new"))), np.stack([CLIP[0], CLIP[2]]))
    with pytest.raises(BadInput, match="new: holds something already"), Writer(tmp_path / "new") as third:
        third.write(CLIP[1])
    assert [file.name for file in tmp_path.iterdir()] == ["new"] and len(list((tmp_path / "new").iterdir())) == 2


def test_on_a_disk_without_locks_a_writer_goes_on(tmp_path, monkeypatch):
    def without(handle: int, how: int) -> None:  # NFS refuses the lock of a folder; some disks have none at all
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(claim.fcntl, "flock", without)
    with Writer(tmp_path / "new") as writer:
        writer.write(CLIP[0])
    assert [file.name for file in tmp_path.rglob("*")] == ["new", "000000.png"]


@pytest.mark.parametrize("there", [False, True])
def test_what_a_killed_writer_left_hidden_is_cleared(tmp_path, there):
    place = tmp_path / "new" if there else tmp_path
    write_png(place / ".new.tad-part" / "frames" / "000007.png", CLIP[7])
    with Writer(tmp_path / "new") as writer:
        writer.write(CLIP[0])
    assert [file.name for file in tmp_path.rglob("*")] == ["new", "000000.png"]


def test_a_folder_of_films_goes_down_and_up(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    film(tmp_path / "in" / "a.mp4", CLIP[:3])
    film(tmp_path / "in" / "b.mkv", CLIP[:2])
    (tmp_path / "in" / "c.mp4").write_text("no film")
    assert main(["downscale", str(tmp_path / "in"), str(tmp_path / "small"), "--model", "bicubic"]) == 2
    printed, error = capsys.readouterr()
    assert printed == f"2 of 3 clips written to {tmp_path / 'small'}\n" and error.count("\n") == 1 and "c.mp4" in error
    assert main(["upscale", str(tmp_path / "small"), str(tmp_path / "big")]) == 0
    assert {f.name: len(list(frames(f))) for f in (tmp_path / "big").iterdir()} == {"a.mp4": 3, "b.mp4": 2}


def test_folders_of_pictures_are_no_films(tmp_path, capsys):
    write_png(tmp_path / "in" / "holiday" / "a.png", CLIP[0])
    assert main(["downscale", str(tmp_path / "in"), str(tmp_path / "small"), "--model", "bicubic", "--recursive"]) == 0
    up = ["upscale", str(tmp_path / "small"), str(tmp_path / "big"), "--model", "bicubic"]
    assert main(up) == 2 and "holds no picture (1 folders (see --recursive))" in capsys.readouterr().err
    assert not (tmp_path / "big").exists()
    assert main([*up, "--fps", "10"]) == 0 and (tmp_path / "big" / "holiday.mp4").exists()


def test_beside_a_film_a_broken_folder_is_told(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    film(tmp_path / "in" / "a.mp4", CLIP[:2])
    assert main(["downscale", str(tmp_path / "in"), str(tmp_path / "small"), "--model", "bicubic"]) == 0
    (tmp_path / "small" / "b").mkdir()
    (tmp_path / "small" / "b" / "0.png").write_bytes(b"broken")
    assert main(["upscale", str(tmp_path / "small"), str(tmp_path / "big")]) == 2
    printed, told = capsys.readouterr()
    assert "1 of 2 clips written" in printed and "b/0.png: cannot be read" in told


def test_a_film_s_folder_is_not_named_as_a_film(tmp_path):
    (tmp_path / "in").mkdir()
    film(tmp_path / "in" / "a.mp4.mov", CLIP[:2])
    film(tmp_path / "in" / "b.png.mkv", CLIP[:2])
    assert main(["downscale", str(tmp_path / "in"), str(tmp_path / "small"), "--model", "bicubic"]) == 0
    assert {f.name for f in (tmp_path / "small").iterdir()} == {"a_mp4", "b_png"}
