"""What people feed the tool and what strangers send, kind by kind: right, or one line (films: test_films.py)."""
from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from tadlib.__main__ import main
from tadlib.errors import BadInput, plain
from tadlib.files import LEFT, read_image, read_picture, write_png
from tadlib.run import Run
from tadlib.settings import ROOT
from tadlib.tool import commands, jobs, pictures, progress
from tadlib.tool.codec import Codec
from tadlib.tool.colours import to_srgb
from tadlib.tool.pictures import Origin
from tadlib.training.fit import fit

Y, X = np.mgrid[:96, :128]
SCENE = np.stack([(X * 2) % 256, (Y * 5 // 2) % 256, (X + Y) % 256], -1).astype(np.uint8)
SMALL = SCENE[:32, :40]

# ---- colours

P3 = np.array([(.51512, .2412, -.00105), (.29198, .69225, .04189), (.1571, .06657, .78407)]).T  # to XYZ under D50
ADOBE = np.array([(.60974, .31111, .01947), (.20528, .62567, .06087), (.14919, .06322, .74457)]).T
SRGB = np.array([(.43607, .22249, .01392), (.38515, .71687, .09708), (.14307, .06061, .71410)]).T


def profile(matrix: np.ndarray, gamma: float = 2.2) -> bytes:
    """An ICC profile of three primaries and one curve."""
    def number(v: float) -> bytes:
        return struct.pack(">i", round(v * 65536))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", 4) + b"own\0" + bytes(79)
    tags = [(b"desc", text + bytes(-len(text) % 4)), (b"cprt", b"text\0\0\0\0none\0\0\0\0"),
            (b"wtpt", b"XYZ \0\0\0\0" + b"".join(map(number, (.9642, 1, .8249))))]
    tags += [(k, b"XYZ \0\0\0\0" + b"".join(map(number, c)))
             for k, c in zip((b"rXYZ", b"gXYZ", b"bXYZ"), matrix.T, strict=True)]
    tags += [(k, curve) for k in (b"rTRC", b"gTRC", b"bTRC")]
    start, table, body = 132 + 12 * len(tags), b"", b""
    for key, content in tags:
        table += key + struct.pack(">II", start + len(body), len(content))
        body += content
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"none", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + b"".join(map(number, (.9642, 1, .8249)))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def in_srgb(image: np.ndarray, matrix: np.ndarray, gamma: float = 2.2) -> np.ndarray:
    """By hand what a profile's colours are in sRGB."""
    linear = ((image / 255) ** gamma @ matrix.T @ np.linalg.inv(SRGB).T).clip(0, 1)
    return 255 * np.where(linear <= .0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - .055)


@pytest.mark.parametrize(("matrix", "gamma"), [(P3, 2.2), (P3, 1.8), (ADOBE, 2.2), (SRGB, 1.0)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_picture_with_a_profile_comes_as_srgb(tmp_path, matrix, gamma, mode):
    picture = Image.fromarray(SCENE).convert("RGB" if mode == "RGBA" else mode)
    plain_colours = np.array(picture.convert("RGB"))
    if mode == "RGBA":
        picture.putalpha(255)
    picture.save(tmp_path / "p.png", icc_profile=profile(matrix, gamma))
    got = read_picture(tmp_path / "p.png", prepare=to_srgb)[0]
    assert np.abs(got - in_srgb(plain_colours, matrix, gamma)).max() <= 3
    assert np.abs(got.astype(int) - plain_colours).mean() > 2  # it was something to do
    assert main(["downscale", str(tmp_path / "p.png"), str(tmp_path / "s.png"), "--model", "bicubic"]) == 0
    assert np.array_equal(read_image(tmp_path / "s.png"), Codec.find("bicubic").downscale(got))


def test_srgbs_own_profile_and_none_that_fits_move_nothing(tmp_path):
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for n, content in enumerate((own, b"no profile", own[:200])):
        Image.fromarray(SCENE).save(tmp_path / f"{n}.png", icc_profile=content)
        assert np.array_equal(read_picture(tmp_path / f"{n}.png", prepare=to_srgb)[0], SCENE)


def grey_profile(gamma: float) -> bytes:
    """Of one curve: what scanners leave."""
    whole = profile(SRGB, gamma)
    content = bytearray(whole[:128] + struct.pack(">I", 9) + whole[132:])
    content[16:20] = b"GRAY"
    return bytes(content).replace(b"rTRC", b"kTRC")


@pytest.mark.parametrize("gamma", [1.5, 1.8, 2.6])
@pytest.mark.parametrize("name", ["a.png", "deep.png", "deep.tif", "alpha.png", "a.jpg", "deep.jp2"])
def test_a_grey_picture_with_a_profile_comes_as_srgb_also_of_16_bits(tmp_path, gamma, name):
    grey = SCENE[..., 0] if "jpg" not in name else np.full((32, 40), 90, np.uint8)
    picture = Image.fromarray(grey.astype(np.uint16) * 257 if "deep" in name else grey)
    if name == "deep.jp2":  # has none that Pillow writes: nothing is moved
        picture.save(tmp_path / name)
    else:
        (picture.convert("LA") if "alpha" in name else picture).save(tmp_path / name, icc_profile=grey_profile(gamma))
    got = read_picture(tmp_path / name, prepare=to_srgb)[0]
    right = grey if name == "deep.jp2" else in_srgb(grey[..., None].repeat(3, 2), SRGB, gamma)[..., 0]
    assert np.abs(got - right[..., None]).max() <= 3


REFUSED = {
    "signed.tif": (SCENE[..., 0] / 127.5 - 1, "floats far below 0"),
    "log.tif": (SCENE[..., 1] / -10 - 1, "floats far below 0"),
    "float.tif": (SCENE.mean(-1).astype(np.float32), "floats far above 1"),
    "float16.tif": (SCENE.mean(-1).astype(np.float32) * 257, "floats far above 1"),
    "night.tif": (np.where(X[:, :] < 120, 0, 200).astype(np.float32), "floats far above 1"),
    "int32.tif": (SCENE[..., 0].astype(np.int32), "nobody says what is white"),
    "large.tif": (SCENE[..., 0].astype(np.int32) << 20, "nobody says what is white")}


@pytest.mark.parametrize("name", REFUSED)
def test_numbers_of_which_nobody_says_what_is_white_are_refused(tmp_path, name):
    image = REFUSED[name][0]
    Image.fromarray(image.astype(np.float32) if image.dtype == np.float64 else image).save(tmp_path / name)
    with pytest.raises(BadInput, match=f"{name}: cannot be read .*{REFUSED[name][1]}"):
        read_image(tmp_path / name)


def test_sixteen_bit_jpeg_2000_is_read_right_in_grey_and_refused_in_colour(tmp_path):
    cv2 = pytest.importorskip("cv2")
    grey = (SCENE[..., 0].astype(np.uint16) * 257) | 3
    for name, image in {"grey.jp2": grey, "white.jp2": np.full((64, 64), 65535, np.uint16)}.items():
        cv2.imwrite(str(tmp_path / name), image, [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000])
        assert np.abs(read_image(tmp_path / name)[..., 0] - image / 257).max() <= 1
    cv2.imwrite(str(tmp_path / "colour.jp2"), np.full((64, 64, 3), 65535, np.uint16))
    with pytest.raises(BadInput, match="16 bits; save it as PNG or TIFF"):
        read_image(tmp_path / "colour.jp2")
    Image.fromarray(SCENE).save(tmp_path / "eight.jp2")
    assert np.array_equal(read_image(tmp_path / "eight.jp2"), SCENE)


KINDS = {"16 bit": (16, 0, 2), "16 bit in colour": (16, 2, 6), "alpha": (8, 6, 4), "grey and alpha": (8, 4, 2),
         "one bit": (1, 0, .125), "grey": (8, 0, 1)}  # depth, PNG's colour type, bytes a pixel


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_reading_fourteen_thousand_squared_stays_below_three_gigabytes(tmp_path, kind):
    depth, colour, size = KINDS[kind]
    packer, line = zlib.compressobj(1), bytes(1 + int(14_000 * size))
    content = b"".join(packer.compress(line) for _ in range(14_000)) + packer.flush()
    head = struct.pack(">IIBBBBB", 14_000, 14_000, depth, colour, 0, 0, 0)
    (tmp_path / "large.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d))
        for k, d in ((b"IHDR", head), (b"IDAT", content), (b"IEND", b""))))
    code = ("import resource, sys; from tadlib.files import read_image; print(read_image(sys.argv[1]).shape, "
            "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "large.png")], capture_output=True, text=True,
                          cwd=ROOT, timeout=600)
    assert done.stdout.startswith("(14000, 14000, 3) "), done.stderr
    assert int(done.stdout.split()[-1]) < 3_000_000_000 / 1024


def test_what_would_take_more_memory_than_reading_may_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr("tadlib.files.MEMORY", 32 * 40 * 16)
    for name, fits in {"a.png": True, "a.webp": False, "a.jp2": False, "a.tif": True}.items():
        Image.fromarray(SMALL).save(tmp_path / name)
        if fits:
            assert read_image(tmp_path / name).shape == (32, 40, 3)
        else:
            with pytest.raises(BadInput, match="40 x 32 pixels take more than"):
                read_image(tmp_path / name)


# ---- texts of strangers, and the chunk

@pytest.mark.parametrize("model", ["\x1b]0;owned\x07\x1b[31mred", "a" * 900_000, "\u202egnp.evil", "x\r\ny\x85z",
                                   "\ud83d\udca9\x9b31m"])
def test_what_a_strangers_file_says_is_escaped_and_shortened(tmp_path, capfd, model):
    write_png(tmp_path / "s.png", SMALL, {"tad": json.dumps({"model": model, "scale": 4, "size": [160, 128]})})
    assert main(["upscale", str(tmp_path / "s.png"), str(tmp_path / "b.png")]) == 2
    assert main(["upscale", str(tmp_path / "s.png"), str(tmp_path / "b.png"), "--model", "bicubic"]) == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2 and all(len(line) < 450 and line.isprintable() and "s.png" in line for line in lines)


def test_a_text_is_escaped_where_it_would_steer_a_terminal():
    assert plain("a\x1bb\nc\u202ed é 日本") == "a\\x1bb c\\u202ed é 日本"
    assert plain("x" * 1000).startswith("xxx") and " ... " in plain("x" * 1000)


def test_a_cropped_small_picture_still_says_what_made_it(tmp_path, capsys):
    write_png(tmp_path / "photo.png", SCENE)
    codec = Codec.find("bicubic_x2")
    assert main(["downscale", str(tmp_path / "photo.png"), str(tmp_path / "s.png"), "--model", "bicubic_x2"]) == 0
    codes, info = read_picture(tmp_path / "s.png")
    for n, changed in enumerate((codes[3:20, 5:30], codes[::2], np.pad(codes, ((1, 1), (0, 0), (0, 0))))):
        write_png(tmp_path / f"c{n}.png", changed, {"tad": info["tad"]})
        assert main(["upscale", str(tmp_path / f"c{n}.png"), str(tmp_path / "b.png")]) == 0
        assert np.array_equal(read_image(tmp_path / "b.png"), codec.upscale(np.ascontiguousarray(changed)))
    assert capsys.readouterr().err == ""
    Image.fromarray(codes[3:20]).save(tmp_path / "c.jpg", comment=info["tad"])
    with Image.open(tmp_path / "c.jpg") as opened:
        assert Origin.of(opened.info, codes[3:20]) == Origin("bicubic_x2", 2, None)
    for said in (["--scale", "4"], ["--model", "bicubic"], ["--model", "tool_x4"]):
        assert main(["upscale", str(tmp_path / "c.jpg"), str(tmp_path / "n.png"), *said]) == 2
        error = capsys.readouterr().err
        assert f"{said[0]} {said[1]}" in error and ("bicubic_x2" in error or "scale 2" in error)
    assert not (tmp_path / "n.png").exists()


# ---- beside the pixels

def test_date_camera_and_resolution_go_down_and_up_and_the_place_only_if_asked(tmp_path):
    exif = Image.Exif()
    exif.update({271: "Maker", 272: "Camera 7", 306: "2026:11:25 12:00:00", 274: 1, 305: "Editor",
                 0x8769: {36867: "2026:11:24 10:00:00", 37500: b"secret" * 9}, 0x8825: {1: "N", 2: (47.0, 22.0, 7.0)}})
    Image.fromarray(SCENE).save(tmp_path / "p.jpg", exif=exif, dpi=(300, 300))
    Image.fromarray(SCENE).save(tmp_path / "p.tif", exif=exif.tobytes(), dpi=(300, 300))
    for name, more in (("p.jpg", []), ("p.jpg", ["--keep-location"]), ("p.tif", [])):
        assert main(["downscale", str(tmp_path / name), str(tmp_path / "s.png"), "--model", "bicubic", *more]) == 0
        assert main(["upscale", str(tmp_path / "s.png"), str(tmp_path / "b.png")]) == 0
        for result in ("s.png", "b.png"):
            with Image.open(tmp_path / result) as opened:
                found = opened.getexif()
                assert (found[271], found[272], found[306]) == ("Maker", "Camera 7", "2026:11:25 12:00:00")
                assert dict(found.get_ifd(0x8769)) == {36867: "2026:11:24 10:00:00"}
                assert bool(found.get_ifd(0x8825)) == bool(more) and 305 not in found
                assert [round(n) for n in opened.info["dpi"]] == [300, 300]
    to_jpeg = ["downscale", str(tmp_path / "p.jpg"), str(tmp_path / "s.jpg"), "--model", "bicubic", "--for", "jpeg:90"]
    assert main([*to_jpeg, "--keep-location"]) == 0
    with Image.open(tmp_path / "s.jpg") as opened:
        found = opened.getexif()
        assert found[272] == "Camera 7" and found.get_ifd(0x8825)
        assert [round(n) for n in opened.info["dpi"]] == [300, 300]


# ---- folders

@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("a.png", "sub/b.png", "sub/a.jpg", ".hidden/c.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(SMALL).save(tmp_path / "in" / name)
    for name in ("x.heic", "y.HEIC", "z.cr2", "sub/readme"):
        (tmp_path / "in" / name).write_bytes(b"no picture of ours")
    return tmp_path / "in"


def test_a_folder_is_flat_unless_asked_and_what_is_left_out_is_named(folder, tmp_path, capsys):
    run = ["downscale", str(folder), str(folder / "out"), "--model", "bicubic"]
    assert main(run) == 0
    assert "1 of 1 images" in (said := capsys.readouterr().out)
    assert said.endswith("; left out: 1 .cr2, 2 .heic, 1 folders (see --recursive)\n")
    for _ in range(2):  # the second time results are there already: they are no input
        assert main([*run, "--recursive"]) == 0
        assert capsys.readouterr().out.startswith("3 of 3 images written")
    found = {p.relative_to(folder / "out").as_posix() for p in (folder / "out").rglob("*.png")}
    assert found == {"a.png", "sub/b.png", "sub/a.png"}
    (folder / "a.png").unlink()
    assert main([*run[:2], str(tmp_path / "none"), *run[3:]]) == 2
    assert "holds no picture (1 .cr2, 2 .heic, 2 folders" in capsys.readouterr().err


def test_links_in_a_circle_are_a_line(folder, tmp_path, capsys):
    (folder / "b.png").symlink_to(folder / "b.png")
    assert main(["downscale", str(folder), str(tmp_path / "out"), "--model", "bicubic", "--recursive"]) == 2
    printed, told = capsys.readouterr()
    assert printed.startswith("3 of 4 images written") and told.startswith(f"tadlib: {folder}/b.png: ")


def test_results_are_no_input_where_a_path_goes_round(folder, tmp_path, capsys):
    (tmp_path / "link").symlink_to(folder)
    for source, target in ((tmp_path / "link", folder / "out"), (folder, folder / "sub" / ".." / "out")):
        for _ in range(2):
            assert main(["downscale", str(source), str(target), "--model", "bicubic", "--recursive"]) == 0
            assert capsys.readouterr().out.startswith("3 of 3 images written")


@pytest.mark.parametrize("name", ["pictures", "icc_profile", "transparency", "exif"])
def test_a_text_chunk_is_not_what_its_name_says(folder, tmp_path, capsys, name):
    text = name.encode() + b"\0a word"
    chunk = struct.pack(">I", len(text)) + b"tEXt" + text + struct.pack(">I", zlib.crc32(b"tEXt" + text))
    data = (folder / "a.png").read_bytes()
    for at in (33, len(data) - 12):  # behind the header, and behind the pixels
        (folder / "a.png").write_bytes(data[:at] + chunk + data[at:])
        assert main(["downscale", str(folder), str(tmp_path / "out"), "--model", "bicubic"]) == 0
        assert capsys.readouterr().out.startswith("1 of 1 images written")


def test_a_number_of_jobs_is_a_number(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["downscale", "in", "out", "--jobs", "0"])
    assert "--jobs: a whole number from 1 on" in capsys.readouterr().err


# ---- no memory, signals, signs of life, rests

@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate "
                                   "memory: you tried to allocate 9 bytes"), RuntimeError("CUDA out of memory. Tried"),
                                   RuntimeError("could not create a primitive")])
def test_without_memory_it_is_one_line_and_the_others_are_done(folder, tmp_path, capsys, monkeypatch, error):
    whole = pictures.downscale_file

    def fail(codec, source, target, how):
        if source.name == "b.png":
            raise error
        return whole(codec, source, target, how)

    monkeypatch.setattr(pictures, "downscale_file", fail)
    run = ["downscale", str(folder), str(tmp_path / "out"), "--model", "bicubic", "--recursive"]
    assert main(run) == 2
    printed, told = capsys.readouterr()
    assert printed.startswith("2 of 3") and told == f"tadlib: {folder}/sub/b.png: there is not enough memory for it\n"
    assert main(["downscale", str(folder / "sub" / "b.png"), str(tmp_path / "b.png"), "--model", "bicubic"]) == 2

    def nothing() -> int:
        raise error

    assert commands.guarded(nothing, "tadlib") == 2
    assert capsys.readouterr().err.count("\n") == 2
    assert not jobs.lacks_memory(RuntimeError("a fault of ours"))


@pytest.mark.parametrize(("signal", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
@pytest.mark.parametrize("loading", [True, False])
def test_a_signal_ends_it_in_order_also_while_libraries_load(tmp_path, signal, code, loading):
    (tmp_path / "slow.py").write_text(
        f"import os, signal, time\ntry:\n    os.kill(os.getpid(), signal.{signal})\n    time.sleep(9)\n"
        "except BaseException as error:\n    raise ImportError('half loaded') from error\n")
    own = f"import os, signal, time; os.kill(os.getpid(), signal.{signal}); time.sleep(9)"
    act = "import slow" if loading else own
    script = ("import sys\nfrom tadlib.tool import commands\ncommands.prepare()\ndef act():\n    "
              f"{act}\nsys.exit(commands.guarded(act, 'tadlib'))")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60,
                          env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"})
    assert done.returncode == code
    assert done.stderr == ("tadlib: interrupted\n" if loading or signal == "SIGINT" else "")


@pytest.mark.parametrize("total", [1, 3, None])
def test_a_long_job_shows_signs_of_life_where_nobody_looks_also_while_one_thing_takes_long(monkeypatch, capsys, total):
    monkeypatch.setattr(progress, "FIRST", 0.01)
    monkeypatch.setattr(progress, "EVERY", 0.01)
    told, end = "", time.monotonic() + 60
    for n in progress.watched(range(total or 2), "holiday\x1b", total, "image"):
        begins = f"tadlib: holiday\\x1b: {n}{f' of {total}' if total else ''} images in "
        while begins not in told and time.monotonic() < end:
            time.sleep(0.01)
            told += capsys.readouterr().err
        assert begins in told
    monkeypatch.setattr(progress, "FIRST", 1e6)
    assert list(progress.watched(iter("ab"), "short", None, "frame")) == ["a", "b"]
    assert "short" not in capsys.readouterr().err


@pytest.mark.parametrize(("done", "total", "passed", "line"), [
    (0, 8, 5, "a: 0 of 8 images in 5 s"), (3, 8, 40, "a: 3 of 8 images in 40 s, 67 s left"),
    (2, 100, 300, "a: 2 of 100 images in 5 min, 245 min left"), (9, None, 95, "a: 9 images in 2 min")])
def test_a_sign_of_life_says_what_is_done_and_how_long_the_rest_takes(done, total, passed, line):
    assert progress.said("a", done, total, "image", passed) == line


def test_what_a_killed_process_left_half_written_is_cleared_and_nothing_else(tmp_path):
    for name in (f".a.png.x7{LEFT}", ".a.png.part", f"a{LEFT}", ".other"):
        (tmp_path / name).write_bytes(b"half")
    os.mkfifo(tmp_path / f".pipe{LEFT}")
    write_png(tmp_path / "a.png", SMALL)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        ["a.png", ".a.png.part", f"a{LEFT}", ".other", f".pipe{LEFT}"])


@pytest.mark.parametrize(("sizes", "kept"), [((40,) * 5 + (20,) * 8, 5), ((32, 31), 1), ((32, 32, 64), 3)])
def test_training_pictures_too_small_are_told_and_not_in_the_record(own_results, tmp_path, capsys, sizes, kept):
    for n, size in enumerate(sizes):
        write_png(tmp_path / "own" / f"{n}.png", SCENE[:size, :64])
    run = Run("tiny", "aetad_very_small", scale=2, steps=1, batch=1, patch=32, train=(str(tmp_path / "own"),),
              profile="smoke")
    (tmp_path / "own" / "broken.png").write_text("no picture")  # stops none of the others
    write_png(tmp_path / "own" / "below" / "0.png", SCENE)  # a folder is flat
    assert fit(run, quiet=True).record["data"][run.train[0]]["images"] == kept
    broken, *told = capsys.readouterr().out.splitlines()
    assert broken.startswith(f"tiny: {run.train[0]}/broken.png: cannot be read (")
    small = f"tiny: {len(sizes) - kept} images of {run.train[0]} are too small for patches of 32 pixels"
    assert told == ([small] if kept < len(sizes) else [])


@pytest.mark.parametrize(("package", "how"), [("PIL", "pip install ."), ("torch.nn", "'tadlib[torch]'")])
def test_a_package_that_lacks_is_one_line(capsys, package, how):
    def act() -> None:
        raise ModuleNotFoundError(f"No module named '{package}'", name=package)

    assert commands.guarded(act, "tadlib") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"the package {package.split('.')[0]}: " in error and how in error


def test_a_package_of_nobody_s_is_a_fault_of_ours():
    def act() -> None:
        raise ModuleNotFoundError("No module named 'nonesuch'", name="nonesuch")

    with pytest.raises(ModuleNotFoundError):
        commands.guarded(act, "tadlib")
