"""Clips: frames out of a folder or a video file and into either, one after another, and the tool on them."""
from __future__ import annotations

import struct
import wave
import weakref
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from PIL import Image

from tadlib.__main__ import main
from tadlib.errors import BadInput
from tadlib.evaluation import metrics
from tadlib.files import picture_files, read_picture, write_png
from tadlib.pixels import from_array, pan, to_array, to_codes
from tadlib.tasks import SR
from tadlib.tool import video
from tadlib.tool.codec import Codec
from tadlib.tool.pictures import Origin
from tadlib.tool.video import Writer, count, downscale_clip, frames, is_video, rate, upscale_clip, windows


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return metrics.psnr(from_array(a), from_array(b))


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    """A soft picture that moves: uint8 (12, 61, 83, 3), odd on purpose."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 100), torch.linspace(0, 1, 120), indexing="ij")
    soft = to_codes(torch.stack([x, y, 0.5 + 0.4 * torch.sin(6 * x + 4 * y)]))
    return np.stack([to_array(frame) for frame in pan(soft, 12, (61, 83), (2, -3))])


def written(path: Path, clip: Iterable[np.ndarray], rate: Fraction = Fraction(25)) -> Path:
    with Writer(path, rate) as writer:
        for frame in clip:
            writer.write(frame)
    return path


def everything(folder: Path) -> dict[Path, bytes | None]:
    return {p: p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


# ---- reading and writing


@pytest.mark.parametrize("suffix", video.CONTAINERS)
@pytest.mark.parametrize("crop", [(61, 83), (60, 82), (60, 83), (1, 1)])
def test_a_video_file_gives_back_size_count_rate_and_almost_the_pixels(tmp_path, clip, suffix, crop):
    clip = clip[:, : crop[0], : crop[1]]
    path = written(tmp_path / f"clip{suffix}", clip, Fraction(30000, 1001))
    back = np.stack(list(frames(path)))
    assert back.shape == clip.shape and back.dtype == np.uint8
    assert count(path) == (None if suffix == ".mkv" else 12)  # Matroska does not say
    assert rate(path) == Fraction(30000, 1001)
    assert min(psnr(a, b) for a, b in zip(back, clip, strict=True)) > 35
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_video_file_says_which_colours_it_means(tmp_path):
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [90, 90, 90]], np.uint8)
    picture = colours[:, None].repeat(16, 0).repeat(32, 1)  # (64, 32, 3)
    path = written(tmp_path / "clip.mp4", [picture])
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_range) == (1, 1)  # BT.709, limited
    error = np.abs(next(frames(path)).astype(int) - picture)
    assert error[8::16].max() <= 4  # with the other matrix it is some 50


def test_grey_frames_make_a_grey_video(tmp_path, clip):
    back = next(frames(written(tmp_path / "clip.mp4", clip[:1, ..., 0])))
    assert psnr(back, clip[0, ..., :1].repeat(3, 2)) > 35


def test_a_folder_gives_back_exactly_what_was_written(tmp_path, clip):
    path = written(tmp_path / "deep" / "frames", clip)
    assert np.array_equal(np.stack(list(frames(path))), clip)
    assert [f.name for f in picture_files(path)][::11] == ["000000.png", "000011.png"]
    assert (count(path), rate(path)) == (12, 25)
    assert [p.name for p in path.parent.iterdir()] == ["frames"]
    (tmp_path / "plain").mkdir()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_empty_folder_is_filled(tmp_path, clip, monkeypatch):
    (tmp_path / "out").mkdir()
    before = (tmp_path / "out").stat().st_ino
    monkeypatch.chdir(tmp_path / "out")
    written(Path("."), clip[:2])
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["000000.png", "000001.png"]
    assert (tmp_path / "out").stat().st_ino == before  # the folder itself, in which a shell may stand


def test_a_video_filmed_with_the_camera_turned_comes_upright(tmp_path, photo):
    picture = to_array(photo)
    path = written(tmp_path / "clip.mp4", [picture])
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44  # the matrix of the track header: x' = -y, y' = x, a quarter turn clockwise
    data[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, picture.shape[0] << 16, 0, 1 << 30)
    path.write_bytes(data)
    assert psnr(next(frames(path)), np.rot90(picture, -1).copy()) > 30


@pytest.mark.parametrize(("name", "moves"), [("a.mp4", True), ("A.MKV", True), ("a.webm", True), ("a.png", False),
                                             ("a.gif", False), ("a", False)])
def test_what_a_video_file_is_named(name, moves):
    assert is_video(name) == moves


def test_a_folder_named_as_a_video_is_a_folder(tmp_path):
    (tmp_path / "take.mp4").mkdir()
    assert not is_video(tmp_path / "take.mp4")


# ---- what cannot be read or written


def sources(folder: Path, clip: np.ndarray) -> dict[str, tuple[Path, str]]:
    """What is wrong with it -> (a source, what the one line must say)."""
    good = written(folder / "good.mp4", clip)
    (folder / "text.mp4").write_text("no video")
    (folder / "void.mp4").write_bytes(b"")
    (folder / "none").mkdir()
    uneven, cut = written(folder / "uneven", clip[:2]), written(folder / "cut", clip[:3])
    write_png(uneven / "000002.png", clip[0, :60])
    (cut / "000002.png").write_bytes((cut / "000001.png").read_bytes()[:-400])
    with wave.open(str(folder / "wave.mp4"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(4000))
    with av.open(str(folder / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.rate = 8000
        container.mux(stream.encode(silence))
        container.mux(stream.encode())
    late = bytearray(good.read_bytes())
    with av.open(str(good)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    late[packets[6].pos : packets[6].pos + packets[6].size] = bytes(packets[6].size)
    (folder / "late.mp4").write_bytes(late)
    # a file that was not copied to its end; its index comes first, so that it opens
    with av.open(str(folder / "short.mp4"), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width = clip.shape[1:3]
        for frame in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    (folder / "short.mp4").write_bytes((folder / "short.mp4").read_bytes()[:-600])
    joined = []
    for side in (32, 48):  # bare H.264 streams can be put behind one another
        with av.open(str(folder / "bare"), "w", format="h264") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.height = stream.width = side
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((side, side, 3), np.uint8), "rgb24")))
            container.mux(stream.encode())
        joined.append((folder / "bare").read_bytes())
    (folder / "joined.mp4").write_bytes(b"".join(joined))
    return {
        "missing": (folder / "missing", "missing: no such file or folder"),
        "missing video": (folder / "missing.mp4", "missing.mp4: no such file or folder"),
        "text": (folder / "text.mp4", "text.mp4: cannot be read as a video (Invalid data"),
        "void": (folder / "void.mp4", "void.mp4: cannot be read as a video"),
        "wave": (folder / "wave.mp4", "wave.mp4: cannot be read as a video"),
        "sound": (folder / "sound.mp4", "sound.mp4: holds no moving picture"),
        "no picture": (folder / "none", "none: holds no picture"),
        "another size": (uneven, "000002.png: has 83 x 60 pixels, but the frames before it 83 x 61"),
        "another size in a video": (folder / "joined.mp4", "joined.mp4, frame 1: has 48 x 48 pixels"),
        "cut picture": (cut, "000002.png: cannot be read"),
        "broken late": (folder / "late.mp4", "late.mp4: cannot be read as a video"),
        "short": (folder / "short.mp4", "short.mp4: breaks off, or is damaged, after"),
    }


def test_a_bad_source_is_one_line_and_leaves_nothing_behind(tmp_path, clip, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    bicubic = Codec.find("bicubic")
    for what, (source, line) in sources(tmp_path / "in", clip).items():
        with pytest.raises(BadInput) as error:
            list(frames(source))
        assert line in str(error.value) and len(str(error.value).splitlines()) == 1, what
        with pytest.raises(BadInput, match=source.name):
            downscale_clip(bicubic, source, tmp_path / "out" / "small")
        if not source.is_file():
            for target in ("big.mp4", "big"):
                with pytest.raises(BadInput, match=source.name):
                    upscale_clip(lambda origin: bicubic, source, tmp_path / "out" / target)
        assert not list((tmp_path / "out").iterdir()), what
    assert capsys.readouterr().err == ""  # nor does FFmpeg say anything of its own


@pytest.mark.parametrize("error", [KeyboardInterrupt, BadInput("bad"), RuntimeError])
@pytest.mark.parametrize("name", ["out", "out.mp4", "empty"])
def test_what_fails_midway_leaves_what_was_there(tmp_path, clip, name, error):
    (tmp_path / "empty").mkdir()
    (tmp_path / "out.mp4").write_bytes(b"old")
    before = everything(tmp_path)
    with pytest.raises(error if isinstance(error, type) else BadInput), Writer(tmp_path / name) as writer:
        for frame in clip:
            writer.write(frame)
        raise error
    assert everything(tmp_path) == before


def test_where_nothing_can_be_written(tmp_path, clip):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    before = everything(tmp_path)
    for name, line in {
        "full": "holds something already", "file": "frames go into a folder", "out.png": "frames go into a folder",
        "file/out": "cannot be written", "file/out.mp4": "cannot be written", "out.webm": "a video is written as",
    }.items():
        with pytest.raises(BadInput, match=f"{name}: .*{line}"):
            written(tmp_path / name, clip[:1])
        assert everything(tmp_path) == before, name


def test_a_frame_of_another_size_is_refused(tmp_path, clip):
    with pytest.raises(BadInput, match="frame 1: has 82 x 61"), Writer(tmp_path / "out.mp4") as writer:
        writer.write(clip[0])
        writer.write(clip[1, :, :82])
    assert not list(tmp_path.iterdir())


# ---- windows


@pytest.mark.parametrize(("length", "n", "expected"), [
    (4, 1, [[0], [1], [2], [3]]),
    (4, 3, [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3]]),
    (1, 3, [[0, 0, 0]]),
    (2, 5, [[0, 0, 0, 1, 1], [0, 0, 1, 1, 1]]),
    (0, 3, []),
])
def test_every_frame_is_seen_between_its_neighbours(length, n, expected):
    seen = list(windows((np.full((2, 5, 3), i, np.uint8) for i in range(length)), n))
    assert all(w.shape == (n, 2, 5, 3) for w in seen)
    assert [w[:, 0, 0, 0].tolist() for w in seen] == expected


# ---- the tool


@pytest.fixture
def neighbours() -> Codec:
    """A codec whose decoder is shown three frames: it returns the first channel of each, enlarged; keeps centres."""
    made = Codec.find("bicubic")
    made.frames, made.centres = 3, []

    def upscale(codes, size=None):
        made.centres.append(codes[1])
        big = np.moveaxis(codes[..., 0], 0, -1).repeat(4, 0).repeat(4, 1)
        return big if size is None else big[: size[0], : size[1]]

    made.upscale = upscale
    return made


def test_a_decoder_of_three_frames_gets_the_right_ones(tmp_path, monkeypatch, neighbours):
    flat = [np.full((9, 7, 3), 10 * n, np.uint8) for n in range(4)]
    downscale_clip(neighbours, written(tmp_path / "in", flat), tmp_path / "small")
    monkeypatch.setattr(Codec, "find", lambda *_, **__: neighbours)
    assert main(["upscale", str(tmp_path / "small"), str(tmp_path / "big")]) == 0  # from folder to folder, yet a clip
    seen = [frame[0, 0].tolist() for frame in frames(tmp_path / "big")]
    assert seen == [[0, 0, 10], [0, 10, 20], [10, 20, 30], [20, 30, 30]]
    for centre, small in zip(neighbours.centres, frames(tmp_path / "small"), strict=True):
        assert np.array_equal(centre, small)


def test_a_clip_goes_down_and_up(tmp_path, clip, capsys):
    written(tmp_path / "clip.mp4", clip, Fraction(24000, 1001))
    path = {name: str(tmp_path / name) for name in ("clip.mp4", "small", "big.mp4", "big")}
    assert main(["downscale", path["clip.mp4"], path["small"], "--model", "bicubic"]) == 0
    assert capsys.readouterr() == (f"12 frames written to {path['small']}\n", "")
    origin = Origin("bicubic", 4, (61, 83), "24000/1001")
    for file in picture_files(path["small"]):
        assert Origin.of(Image.open(file).info, np.empty((16, 21, 3))) == origin
    assert main(["upscale", path["small"], path["big.mp4"]]) == 0
    assert main(["upscale", path["small"], path["big"]]) == 0  # as any folder of pictures
    assert rate(path["big.mp4"]) == Fraction(24000, 1001)
    for from_video, exact, original in zip(frames(path["big.mp4"]), frames(path["big"]), clip, strict=True):
        assert from_video.shape == exact.shape == original.shape
        assert psnr(from_video, exact) > 35
    bicubic, original = Codec.find("bicubic"), next(frames(path["clip.mp4"]))
    expected = bicubic.upscale(bicubic.downscale(original), (61, 83))
    assert np.array_equal(next(frames(path["big"])), expected)


def test_small_frames_without_their_chunks_make_a_video_all_the_same(tmp_path, clip):
    written(tmp_path / "small", clip)
    assert main(["upscale", str(tmp_path / "small"), str(tmp_path / "big.mp4"), "--model", "bicubic"]) == 0
    assert (rate(tmp_path / "big.mp4"), next(frames(tmp_path / "big.mp4")).shape) == (25, (244, 332, 3))


def test_colours_of_a_clip_hide_in_grey_frames(tmp_path, clip):
    written(tmp_path / "clip.mp4", clip[:2])
    grey = Codec.find("grey", task="colour")
    downscale_clip(grey, tmp_path / "clip.mp4", tmp_path / "grey")
    assert {Image.open(f).mode for f in picture_files(tmp_path / "grey")} == {"L"}
    upscale_clip(lambda origin: grey, tmp_path / "grey", tmp_path / "back.mp4")
    assert next(frames(tmp_path / "back.mp4")).shape == (61, 83, 3)
    write_png(tmp_path / "grey" / "000001.png", clip[0])
    with pytest.raises(BadInput, match=r"000001\.png: has colours already"):
        upscale_clip(lambda origin: grey, tmp_path / "grey", tmp_path / "never.mp4")
    assert not list(tmp_path.glob("*never*"))


def test_what_no_clip_can_be_made_of_is_one_line_and_exit_code_2(tmp_path, clip, capsys):
    written(tmp_path / "clip.mp4", clip[:2])
    small, mixed = tmp_path / "small", tmp_path / "mixed"
    downscale_clip(Codec.find("bicubic"), tmp_path / "clip.mp4", small)
    for n, model in enumerate(["bicubic", "lanczos"]):
        write_png(mixed / f"{n}.png", clip[0], Origin(model, 4, (244, 332)).chunk())
    write_png(tmp_path / "one.png", clip[0])
    out, full = tmp_path / "out", tmp_path / "full"
    write_png(full / "0.png", clip[0])
    bicubic = ["--model", "bicubic"]
    for what, (arguments, line) in {
        "small frames as a video": (["downscale", tmp_path / "clip.mp4", tmp_path / "out.mp4"], "must stay exact"),
        "of pictures too": (["downscale", small, tmp_path / "out.mkv"], "must stay exact"),
        "a video back": (["upscale", tmp_path / "clip.mp4", out], "for a video file is lossy"),
        "a single picture": (["upscale", tmp_path / "one.png", tmp_path / "out.mp4"], "from its folder"),
        "no such video": (["downscale", tmp_path / "none.mp4", out], "none.mp4: no such file"),
        "no such folder": (["upscale", tmp_path / "none", tmp_path / "out.mp4"], "none: no such file"),
        "a folder that holds something": (["downscale", tmp_path / "clip.mp4", full], "full: holds something already"),
        "a picture's name": (["downscale", tmp_path / "clip.mp4", tmp_path / "out.png"], "out.png: frames go into a"),
        "an unknown container": (["upscale", small, tmp_path / "out.webm"], "out.webm: a video is written as one of"),
        "two models": (["upscale", mixed, tmp_path / "out.mp4"], "1.png: is of another clip, or by another model"),
        "another task": (["colorize", small, tmp_path / "out.mp4", "--model", "bicubic"], "is one for downscale"),
    }.items():
        before = everything(tmp_path)
        assert main([str(a) for a in arguments] + (bicubic if arguments[0] == "downscale" else [])) == 2, what
        printed, error = capsys.readouterr()
        assert line in error and len(error.splitlines()) == 1 and not printed, (what, error)
        assert everything(tmp_path) == before, what


def test_frames_say_which_weights_made_them_and_others_are_told_once(tmp_path, clip, capsys):
    small = tmp_path / "small"
    downscale_clip(Codec.find("tool_x4"), written(tmp_path / "clip.mp4", clip[:3]), small)
    for number, file in enumerate(picture_files(small)):
        codes, info = read_picture(file)
        origin = Origin.of(info, codes)
        assert origin and origin.weights == Codec.find("tool_x4").weights
        if number:  # made before the model was trained on
            write_png(file, codes, replace(origin, weights="0123abcd").chunk())
    assert main(["upscale", str(small), str(tmp_path / "big.mp4")]) == 0
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1 and "other weights of tool_x4 (0123abcd)" in said


@pytest.mark.parametrize("text", ["0", "-25", "25/0", "1e9", "fast", "", "25.0", "12345678", "٢٥"])
def test_a_bad_rate_in_a_chunk_is_as_none(text):
    chunk = Origin("bicubic", 4, (8, 8), text or "x").chunk()
    assert Origin.of(chunk, np.empty((2, 2, 3))) == Origin("bicubic", 4, (8, 8))


def test_a_rate_is_written_only_where_there_is_one():
    plain = Origin("bicubic", 4, (8, 8))
    assert "rate" not in plain.chunk()["tad"]
    assert Origin.of(replace(plain, rate="30000/1001").chunk(), np.empty((2, 2, 3))).rate == "30000/1001"


# ---- memory


class Watch:
    """Counts which of the arrays that it handed out are still held by somebody, views of them included."""

    def __init__(self):
        self.alive, self.most = weakref.WeakSet(), 0

    def frame(self, *shape: int) -> np.ndarray:
        array = np.zeros(shape, np.uint8).view(Watched)
        self.alive.add(array)
        self.most = max(self.most, len(self.alive))
        return array


class Watched(np.ndarray):
    """An array that can be in a set: by what it is, not by what it holds."""

    __hash__ = object.__hash__
    __eq__ = object.__eq__


@pytest.mark.parametrize("to", ["big.mp4", "big"])
@pytest.mark.parametrize("seen", [1, 3])
def test_memory_does_not_grow_with_the_clip(tmp_path, monkeypatch, seen, to):
    small, large = Watch(), Watch()
    made = SimpleNamespace(name="fake", weights=None, scale=4, task=SR, frames=seen,
                           upscale=lambda codes, size: large.frame(16, 16, 3),
                           downscale_clip=lambda images, *how: [small.frame(4, 4, 3) for _ in images])
    monkeypatch.setattr(video, "shown", lambda *_: (video.Shown(large.frame(16, 16, 3)) for _ in range(40)))
    downscale_clip(made, tmp_path, tmp_path / "small")
    monkeypatch.setattr(video, "read_picture", lambda file, **_: (small.frame(4, 4, 3), {}))
    upscale_clip(lambda origin: made, tmp_path / "small", tmp_path / to)
    assert count(tmp_path / "small") == 40 and len(list(tmp_path.iterdir())) == 2
    assert large.most <= 3 and small.most <= seen + 2


@pytest.mark.parametrize("name", ["in", "in.mp4"])
def test_frames_forgets_what_it_has_given(tmp_path, monkeypatch, clip, name):
    path, watch, real = written(tmp_path / name, clip.repeat(3, 0)), Watch(), np.ascontiguousarray

    def kept(array):
        watch.alive.add(array := real(array).view(Watched))
        watch.most = max(watch.most, len(watch.alive))
        return array

    monkeypatch.setattr(np, "ascontiguousarray", kept)
    monkeypatch.setattr(video, "read_picture", lambda file, **_: (watch.frame(4, 4, 3), {}))
    assert sum(1 for _ in frames(path)) == 36
    assert 1 <= watch.most <= 3
