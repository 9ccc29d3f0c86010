"""The sound of a film: beside the small frames, and in step with those that come back, unless it is not wanted."""
from __future__ import annotations

import json
import os
import resource
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from film_ways import back, down
from PIL import Image

from tadlib.__main__ import main
from tadlib.files import picture_files, read_picture, write_png
from tadlib.tool.pictures import Origin

FLASH, COUNT = 12, 24  # the frame that is white while a click is heard, of so many
EVEN = [40 * n for n in range(COUNT)]
UNEVEN = [40 * n + 13 * (n % 3) + 600 * (n > 9) for n in range(COUNT)]  # a screen recorder's, ms


def film(path: Path, codec: str = "aac", first: int = 0, heard: int = 0, times: list[int] = EVEN,
         video: str = "libx264", rate: int = 48000, streams: int = 1) -> Path:
    """A film of which the flash and the click are at one time; pictures begin at `first`, sound at `heard` (ms)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(video, rate=25, options={"bf": "0"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        tick = Fraction(1, 25 if video != "libx264" else 1000)
        stream.codec_context.time_base = stream.time_base = tick
        sounds = [container.add_stream(codec, rate=rate, layout="stereo", bit_rate=128_000) for _ in range(streams)]
        for n, time in enumerate(times):
            image = np.full((48, 64, 3), 250 if n == FLASH else 10, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round((time + first) / 1000 / tick), tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        wave = np.zeros((times[-1] + 40 + first - heard) * rate // 1000, np.int16)
        at = (times[FLASH] + first - heard) * rate // 1000
        wave[at : at + 300] = 20_000 * np.sign(np.sin(np.arange(300) * 0.4))
        for sound in sounds:
            for k in range(0, len(wave), 1024):
                part = av.AudioFrame.from_ndarray(wave[k : k + 1024].repeat(2)[None], format="s16", layout="stereo")
                part.rate, part.pts, part.time_base = rate, k + heard * rate // 1000, Fraction(1, rate)
                container.mux(sound.encode(part))
            container.mux(sound.encode())
    return path


def apart(path: Path) -> float:
    """Milliseconds from the flash to the click."""
    with av.open(str(path)) as container:
        flash = next(f.time for f in container.decode(video=0) if f.to_ndarray(format="gray").mean() > 128)
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            wave = np.abs(frame.to_ndarray().astype(float)) / (32768 if frame.format.name.startswith("s16") else 1)
            loud = np.flatnonzero(wave[0] > 0.2) // (1 if frame.format.is_planar else 2)
            if len(loud):
                return 1000 * (frame.time + loud[0] / frame.rate - flash)
    raise AssertionError("no click")


def heard(path: Path) -> list[bytes]:
    """The packets of sound as they are stored."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size]


def shown(path: Path) -> list[int]:
    """When each frame is shown, in milliseconds after the first."""
    with av.open(str(path)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    return [round(1000 * (time - times[0])) for time in times]


MP4, ALL = ("back.mp4",), ("back.mp4", "back.mkv", "back.mov")
KINDS = {"AAC in mp4": ("clip.mp4", {}, ALL), "AAC in mkv": ("clip.mkv", {}, MP4),
         "sound begins late": ("clip.mp4", {"heard": 300}, MP4),
         "pictures begin late": ("clip.mkv", {"first": 400}, MP4),
         "pictures late in mp4": ("clip.mp4", {"first": 400}, ("back.mkv",)),
         "uneven": ("clip.mkv", {"times": UNEVEN}, MP4),
         "uneven and late": ("clip.mp4", {"times": UNEVEN, "heard": 250}, ALL),
         "PCM": ("clip.mov", {"codec": "pcm_s16le"}, ALL), "ALAC": ("clip.mov", {"codec": "alac"}, MP4),
         "Opus": ("clip.webm", {"codec": "libopus", "video": "libvpx"}, ALL),
         "FLAC": ("clip.mkv", {"codec": "flac"}, MP4),
         "AVI": ("clip.avi", {"codec": "libmp3lame", "video": "mpeg4"}, MP4),
         "a stream": ("clip.ts", {"first": 500}, MP4)}


@pytest.mark.parametrize("kind", KINDS)
def test_sound_comes_back_as_it_was_and_in_step(tmp_path, kind, capsys):
    name, how, targets = KINDS[kind]
    source = film(tmp_path / name, **how)
    small = down(source)
    assert sorted(p.name for p in small.iterdir())[-2:] == [f"{COUNT - 1:06}.png", "sound.mka"]
    for target in targets:
        if (kind, target) == ("Opus", "back.mov"):
            capsys.readouterr()
            assert main(["upscale", str(small), str(tmp_path / target)]) == 2
            error = capsys.readouterr().err
            assert f"{target}: a .mov takes no sound of the kind opus; give a name" in error
            assert not (tmp_path / target).exists() and error.count("\n") == 1
            continue
        made = back(small, target)
        header = 7 if name.endswith(".ts") else 0  # of each packet there, and in no file
        assert heard(made) == [packet[header:] for packet in heard(source)]
        assert abs(apart(made) - apart(source)) < 1.5
        assert shown(made) == shown(source)


def test_no_sound_leaves_it_out_on_either_way(tmp_path):
    source = film(tmp_path / "clip.mp4")
    whole = down(source)
    with av.open(str(back(whole, "a.mp4", "--no-sound"))) as container:
        assert not container.streams.audio
    for file in whole.iterdir():
        file.unlink()
    assert len(picture_files(down(source, "--no-sound"))) == len(list(whole.iterdir())) == COUNT
    assert "sound" not in Image.open(whole / "000000.png").info["tad"]
    with av.open(str(back(whole, "b.mp4"))) as container:
        assert not container.streams.audio


def test_at_another_rate_sound_would_not_be_in_step_and_is_left_out_and_told(tmp_path, capsys):
    source = film(tmp_path / "clip.mp4")
    small = down(source)
    for name, fps, kept in (("a.mp4", "25", True), ("b.mp4", "30", False)):
        with av.open(str(back(small, name, "--fps", fps))) as container:
            assert bool(container.streams.audio) == kept
        told = f"tadlib: {small}: without its sound, which would not be in step at --fps 30\n"
        assert capsys.readouterr().err == ("" if kept else told)
    for file in small.iterdir():
        file.unlink()
    assert not (down(source, "--fps", "12") / "sound.mka").exists()
    assert "clip.mp4: without its sound, which would not" in capsys.readouterr().err


def test_of_several_streams_of_sound_there_is_one_and_a_film_without_has_none(tmp_path):
    for name, streams in (("clip.mkv", 2), ("mute.mp4", 0)):
        (tmp_path / name[:-4]).mkdir()
        small = down(film(tmp_path / name[:-4] / name, streams=streams))
        assert (small / "sound.mka").exists() == bool(streams)
        with av.open(str(back(small))) as container:
            assert len(container.streams.audio) == min(1, streams)


def test_a_folder_of_films_keeps_every_sound(tmp_path):
    (tmp_path / "in").mkdir()
    film(tmp_path / "in" / "a.mp4")
    film(tmp_path / "in" / "b.mkv", codec="flac", heard=200)
    assert main(["downscale", str(tmp_path / "in"), str(tmp_path / "small"), "--model", "bicubic"]) == 0
    assert main(["upscale", str(tmp_path / "small"), str(tmp_path / "big")]) == 0
    for name, source in (("a.mp4", "a.mp4"), ("b.mp4", "b.mkv")):
        assert heard(tmp_path / "big" / name) == heard(tmp_path / "in" / source)
        assert abs(apart(tmp_path / "big" / name) - apart(tmp_path / "in" / source)) < 1.5


# ---- what cannot be copied, and what strangers send

@pytest.fixture
def small(tmp_path) -> Path:
    """A folder of two small frames that name a sound, which is not there."""
    origin = Origin("bicubic", 4, (48, 64), rate="25", sound="sound.mka")
    for n in range(2):
        write_png(tmp_path / "small" / f"{n}.png", np.full((12, 16, 3), 50, np.uint8), origin.chunk())
    return tmp_path / "small"


def put(place: Path, what: str) -> None:
    source = film(place.parent.parent / "other.mkv")
    if what == "a link":
        place.symlink_to(source)
    elif what == "a pipe":
        os.mkfifo(place)
    elif what == "a folder":
        place.mkdir()
    elif what == "cut":
        place.write_bytes(source.read_bytes()[:-500])
    elif what == "mute":
        film(place.with_suffix(".mkv"), streams=0).rename(place)
    elif what == "a list":
        place.write_text(f"ffconcat version 1.0\nfile {source}\n")
    elif what == "a picture":
        place.write_bytes((place.parent / "0.png").read_bytes())
    elif what != "nothing":
        place.write_bytes({"empty": b"", "text": b"no sound", "zeros": bytes(4000)}[what])


@pytest.mark.parametrize("what", ["nothing", "a link", "a pipe", "a folder", "cut", "mute", "a list", "a picture",
                                  "empty", "text", "zeros"])
def test_a_sound_that_is_none_is_one_line_before_the_film_is_made_and_can_be_done_without(small, capsys, what):
    put(small / "sound.mka", what)
    before = sorted(small.parent.iterdir())
    assert main(["upscale", str(small), str(small.parent / "back.mp4")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith(f"tadlib: {small}/sound.mka: "), error
    assert sorted(small.parent.iterdir()) == before
    assert main(["upscale", str(small), str(small.parent / "back.mp4"), "--no-sound"]) == 0


@pytest.mark.parametrize("name", ["../other.mkv", "/etc/passwd", "a/b.mka", "..", ".hidden.mka", "-x.mka",
                                  "http://a/b.mka", "a\nb.mka", "a\x1bb.mka", "x" * 200, "", "tést.mka", "a\\b.mka"])
def test_a_name_that_leads_elsewhere_is_no_sound(small, name):
    codes, info = read_picture(small / "0.png")
    facts = json.loads(info["tad"]) | {"sound": name}
    for n in range(2):
        write_png(small / f"{n}.png", codes, {"tad": json.dumps(facts)})
    assert Origin.of({"tad": json.dumps(facts)}, codes).sound is None
    with av.open(str(back(small))) as container:
        assert not container.streams.audio


def test_sound_that_cannot_be_copied_is_one_line_and_no_frame_is_made(tmp_path, capsys):
    film(tmp_path / "clip.asf", codec="wmav2", video="mpeg4")
    run = ["downscale", str(tmp_path / "clip.asf"), str(tmp_path / "small"), "--model", "bicubic"]
    assert main(run) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "clip.asf: its sound cannot be copied" in error and "--no-sound" in error
    assert [p.name for p in tmp_path.iterdir()] == ["clip.asf"]
    assert main([*run, "--no-sound"]) == 0


def test_where_the_disk_is_full_the_folder_is_blamed_and_not_the_sound(tmp_path, capsys):
    source = film(tmp_path / "clip.mov", codec="pcm_s16le")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # a file ends there as it does on a full disk
    try:
        assert main(["downscale", str(source), str(tmp_path / "small"), "--model", "bicubic"]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert capsys.readouterr().err == f"tadlib: {tmp_path}/small: cannot be written (File too large)\n"
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mov"]


@pytest.mark.parametrize("lead", ["-1", "1e9", "99999999999", "1/0", "0.5", None])
def test_a_lead_that_cannot_be_is_as_none(lead):
    chunk = {"tad": json.dumps({"model": "bicubic", "scale": 4, "size": [64, 48], "sound": "sound.mka", "lead": lead})}
    assert Origin.of(chunk, np.empty((12, 16, 3))) == Origin("bicubic", 4, (48, 64), sound="sound.mka")


def test_of_a_film_that_breaks_off_the_sound_until_there_is_kept_if_asked(tmp_path, capsys):
    whole = film(tmp_path / "whole.mkv", codec="pcm_s16le")
    (tmp_path / "clip.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    small = down(tmp_path / "clip.mkv", "--keep-broken")
    kept, all_of_it = heard(back(small, "back.mkv")), heard(whole)
    assert 0 < len(kept) < len(all_of_it) and kept == all_of_it[: len(kept)]
