"""--download: from a server of the test's own, honest, broken and hostile ones; nothing of a wrong set is kept."""
from __future__ import annotations

import errno
import hashlib
import io
import re
import shutil
import socket
import stat
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from tadlib import settings
from tadlib.data import sets
from tadlib.errors import BadInput, MissingData
from tadlib.files import read_image
from tadlib.pixels import to_array
from workbook import downloads
from workbook.__main__ import main
from workbook.downloads import download


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        web = self.server.web
        asked = self.headers.get("Range")
        web.asked.append((self.path, asked))
        data = web.files.get(self.path)
        if data is None:
            return self.send_error(404)
        first = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and web.ranges else 0
        if first and first >= len(data):
            return self.send_error(416)
        self.send_response(206 if asked and web.ranges else 200)
        self.send_header("Content-Length", str(len(data) - first))
        if web.encoding:
            self.send_header("Content-Encoding", web.encoding)
        self.end_headers()
        self.wfile.write(data[first : web.cut])
        web.cut = None  # the connection breaks only once
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def web(monkeypatch):
    """A server on this machine: `files` by path, `asked` for (path, range), `cut`: after so many bytes it breaks."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.web = SimpleNamespace(files={}, asked=[], cut=None, ranges=True, encoding=None, close=server.server_close,
                                 address=f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server.web
    server.shutdown()
    thread.join()
    server.server_close()


def png(seed: int, size: int = 160) -> bytes:
    """A picture of noise: 77 kB, so that an archive is several chunks of a download."""
    noise = torch.randint(256, (3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    file = io.BytesIO()
    Image.fromarray(to_array(noise)).save(file, format="PNG")
    return file.getvalue()


PICTURES = {f"Toy-1.0/images/{stem}.png": png(n) for n, stem in enumerate("abc")}
OTHERS = {"Toy-1.0/README.txt": b"read me", "Toy-1.0/images/run.py": b"print()", "Toy-1.0/more/d.png": png(9)}


def a_zip(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.mkdir("Toy-1.0/")
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def a_tar(files: dict[str, bytes], kind: str = "gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{kind}") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


@pytest.fixture
def toy(web, no_data, monkeypatch, tmp_path):
    """toy(archive, name) registers the set Toy, to be had there as `name`; returns its entry. Two others have none."""
    right = tmp_path / "right"
    right.mkdir()
    for name, data in PICTURES.items():
        (right / Path(name).name).write_bytes(data)
    entry = {"use": "test", "images": 3, "about": "", "licence": "", "address": "https://toy.example",
             "fingerprint": sets.fingerprint(str(right)), "members": r"Toy-1\.0/images/(\w+\.\w+)"}
    homeless = {k: v for k, v in entry.items() if k != "members"}
    known = {"Toy": entry, "Homeless": homeless, "Sample": sets.registry()["Sample"]}
    monkeypatch.setattr(sets, "registry", lambda: known)

    def register(archive: bytes | None, name: str = "toy.zip") -> dict:
        if archive is not None:
            web.files[f"/{name}"] = archive
        entry["archives"] = [f"{web.address}/{name}"]
        return entry

    return register


def files(folder: Path) -> dict[str, bytes]:
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


TOY = {f"Toy/{Path(name).name}": data for name, data in PICTURES.items()}  # what belongs into the data folder


def told(capsys) -> str:
    line, = capsys.readouterr().err.splitlines()
    return line


# ------------------------------------------------------------------------------------------------------- good

@pytest.mark.parametrize(("archive", "name"), [
    (a_zip(OTHERS | PICTURES), "toy.zip"), (a_tar(OTHERS | PICTURES), "toy.tgz"), (a_tar(PICTURES, ""), "toy.tar"),
    (a_tar(PICTURES, "bz2"), "toy.tar.bz2"),
], ids=["zip", "tgz", "tar", "bz2"])
def test_a_set_is_downloaded_once_and_only_its_pictures_are_kept(toy, web, no_data, capsys, archive, name):
    toy(archive, name)
    assert main(["data", "--download", "Toy"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [f"{web.address}/{name}", "Toy: downloaded"]
    assert err == ""  # a bar is for those who sit before it
    assert files(no_data) == TOY and [f.name for f in no_data.iterdir()] == ["Toy"]
    assert sets.is_here("Toy")
    assert main(["data", "--download", "Toy"]) == 0
    assert capsys.readouterr().out == "Toy: is here already\n"
    assert len(web.asked) == 1


def test_pictures_of_several_archives_and_bare_ones_make_one_set(toy, web, no_data):
    entry = toy(a_zip(dict(list(PICTURES.items())[:2])))
    web.files["/c.png"] = PICTURES["Toy-1.0/images/c.png"]
    entry["archives"].append(f"{web.address}/c.png")
    entry["members"] = r"(?:Toy-1\.0/images/)?(\w+\.png)"
    assert download("Toy")
    assert files(no_data) == TOY


def test_of_large_pictures_the_middle_is_kept_where_the_set_is_one_of_crops(toy, no_data, photo):
    file = io.BytesIO()
    Image.fromarray(to_array(photo)).save(file, format="PNG")
    entry = toy(a_zip({"Toy-1.0/images/a.png": file.getvalue()}))
    entry |= {"crop": 64, "images": 1}
    del entry["fingerprint"]
    assert download("Toy")
    assert np.array_equal(read_image(no_data / "Toy" / "a.png"), to_array(photo[:, 16:80, 32:96]))


def test_no_connection_is_opened_unless_asked_for(toy, no_data, monkeypatch, capsys):
    toy(None)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a connection"))
    assert main(["data"]) == main(["data", "--fingerprint"]) == 0
    assert "Toy          absent (0 of 3)" in capsys.readouterr().out
    with pytest.raises(MissingData):
        sets.load("Toy")
    assert main(["data", "--download", "Sample", "Homeless"]) == 2  # the first is here, the second is nowhere


# ------------------------------------------------------------------------------------------------------- interrupted

@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on_where_it_was(toy, web, no_data, capsys, ranges):
    archive = a_tar(PICTURES)
    toy(archive, "toy.tgz")
    web.cut, web.ranges = 150_000, ranges
    assert main(["data", "--download", "Toy"]) == 2
    assert told(capsys).endswith("/toy.tgz: cannot be fetched (ChunkedEncodingError); 131,072 bytes of it are kept, "
                                 "and the same command goes on from there")
    assert files(no_data) == {"Toy.part/toy.tgz.part": archive[:131_072]} and not sets.is_here("Toy")
    assert download("Toy")
    assert web.asked == [("/toy.tgz", "bytes=0-"), ("/toy.tgz", "bytes=131072-")]
    assert files(no_data) == TOY


def test_a_tgz_that_is_sent_as_a_packed_tar_goes_on_too(toy, web, no_data):
    toy(a_tar(PICTURES), "toy.tgz")
    web.cut, web.encoding = 150_000, "x-gzip"
    with pytest.raises(BadInput, match="131,072 bytes of it are kept"):
        download("Toy")
    assert download("Toy") and files(no_data) == TOY


def test_a_rest_that_does_not_fit_is_dropped(toy, web, no_data):
    archive = a_zip(PICTURES)
    toy(archive)
    part = no_data / "Toy.part" / "toy.zip.part"
    for left in (b"x" * len(archive), b"x" * 50):  # too long to go on from; and of another file
        part.parent.mkdir(exist_ok=True)
        part.write_bytes(left)
        with pytest.raises(BadInput, match=r"416|toy\.zip cannot be unpacked \(.*\); nothing of it is kept"):
            download("Toy")
        assert files(no_data) == {}
    assert download("Toy") and files(no_data) == TOY


def test_of_two_archives_the_one_that_is_here_is_not_fetched_again(toy, web, no_data):
    entry = toy(a_zip(PICTURES))
    entry["archives"].append(f"{web.address}/more.zip")
    with pytest.raises(BadInput, match=r"more\.zip: cannot be fetched"):
        download("Toy")
    web.files["/more.zip"] = a_zip({})
    assert download("Toy")
    assert [path for path, _ in web.asked] == ["/toy.zip", "/more.zip", "/more.zip"]


def test_a_full_disk_is_told_and_what_has_come_is_kept(toy, web, no_data, monkeypatch, capsys):
    archive = a_zip(PICTURES)
    toy(archive)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        assert main(["data", "--download", "Toy"]) == 2
    assert told(capsys) == f"workbook: {no_data / 'Toy.part'}: cannot be written (No space left on device)"
    assert files(no_data) == {"Toy.part/toy.zip": archive}
    assert download("Toy") and len(web.asked) == 1


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full on this machine")
def test_a_disk_that_is_full_while_downloading_is_told(toy, no_data, capsys):
    toy(a_zip(PICTURES))
    part = no_data / "Toy.part" / "toy.zip.part"
    part.parent.mkdir()
    part.symlink_to("/dev/full")
    assert main(["data", "--download", "Toy"]) == 2
    assert told(capsys).endswith("cannot be written (No space left on device)")


# ------------------------------------------------------------------------------------------------------- refused

def refused(no_data, capsys, reason: str) -> None:
    """One line, exit code 2, and nothing is left, neither in the data folder nor beside it."""
    around = files(no_data.parent)
    assert main(["data", "--download", "Toy"]) == 2
    assert re.search(reason, told(capsys))
    assert files(no_data.parent) == around
    assert list(no_data.iterdir()) == []


def test_a_set_of_other_pixels_is_not_taken_for_the_real_one(toy, no_data, capsys):
    last = "Toy-1.0/images/c.png"
    entry = toy(a_zip(PICTURES | {last: png(3)}))
    refused(no_data, capsys, "^workbook: Toy: other pixels than those of the stored runs; nothing of it is kept$")
    toy(a_zip(PICTURES | {"Toy-1.0/images/d.png": png(3)}))  # one more
    refused(no_data, capsys, "other pixels")
    toy(a_zip({n: d for n, d in PICTURES.items() if n != last}))
    refused(no_data, capsys, "other pixels")
    toy(a_zip(OTHERS))
    refused(no_data, capsys, "^workbook: Toy: none of its pictures is in what was fetched; nothing of it is kept$")
    toy(a_zip(PICTURES | {last: b"no picture"}))
    refused(no_data, capsys, r"Toy/c\.png: cannot be read \(.*\); nothing of it is kept$")
    toy(a_zip(PICTURES | {last: png(3)}))
    del entry["fingerprint"]
    assert download("Toy")  # the registry does not know which pixels are right


def test_of_a_file_larger_than_any_picture_only_the_beginning_is_unpacked(toy, no_data, monkeypatch):
    monkeypatch.setattr(downloads, "LARGEST", 1_000_000)
    entry = toy(a_zip({"Toy-1.0/images/a.png": png(1) + bytes(10_000_000)}))
    del entry["fingerprint"]
    assert download("Toy")
    assert (no_data / "Toy" / "a.png").stat().st_size == 1_000_000


def test_flow_files_are_checked_too(toy, no_data, capsys):
    flow = {"Toy-1.0/images/b.flo": b"flow b", "Toy-1.0/images/a.flo": b"flow a"}
    entry = toy(a_zip(PICTURES | flow))
    entry["flow"] = hashlib.sha256(b"flow aflow b").hexdigest()[:16]
    toy(a_zip(PICTURES | flow | {"Toy-1.0/images/a.flo": b"flow c"}))
    refused(no_data, capsys, "other pixels")
    toy(a_zip(PICTURES | flow))
    assert download("Toy")
    assert files(no_data) == TOY | {"Toy/a.flo": b"flow a", "Toy/b.flo": b"flow b"}


@pytest.mark.parametrize("make", [a_zip, a_tar])
@pytest.mark.parametrize("path", ["../evil.png", "Toy-1.0/images/../../../evil.png", "/evil.png",
                                  "Toy-1.0\\..\\evil.png", "..\\evil.png"])
def test_an_archive_with_a_path_out_of_it_is_refused(toy, no_data, capsys, make, path):
    entry = toy(make(PICTURES | {path: png(1)}))
    refused(no_data, capsys, r"^workbook: Toy: toy\.zip has a path that leads out of it")
    entry["members"] = "(.*)"
    refused(no_data, capsys, r"^workbook: Toy: toy\.zip has a path that leads out of it")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, "zip"])
def test_links_are_not_followed(toy, no_data, tmp_path, capsys, kind):
    secret = tmp_path / "secret.png"
    secret.write_bytes(PICTURES["Toy-1.0/images/c.png"])
    two = dict(list(PICTURES.items())[:2])
    out = io.BytesIO(a_zip(two) if kind == "zip" else a_tar(two, ""))
    if kind == "zip":
        with zipfile.ZipFile(out, "a") as archive:
            link = zipfile.ZipInfo("Toy-1.0/images/c.png")
            link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
            archive.writestr(link, str(secret))
    else:
        with tarfile.open(fileobj=out, mode="a") as archive:
            link = tarfile.TarInfo("Toy-1.0/images/c.png")
            link.type, link.linkname = kind, str(secret)
            archive.addfile(link)
    entry = toy(out.getvalue())
    refused(no_data, capsys, "other pixels")
    del entry["fingerprint"]
    assert download("Toy")
    assert set(files(no_data)) == {"Toy/a.png", "Toy/b.png"}


@pytest.mark.parametrize("broken", [
    b"<html>Moved</html>", b"", a_zip(PICTURES)[:-30], a_tar(PICTURES)[:150_000], a_tar(PICTURES, "bz2")[:150_000],
    a_tar(PICTURES, "")[:150_000], a_zip(PICTURES).replace(PICTURES["Toy-1.0/images/a.png"], png(7)),
    b"\x1f\x8b" + a_tar(PICTURES)[2:80_000] + bytes(80_000),
], ids=["page", "empty", "zip", "tgz", "bz2", "tar", "zip's checksum", "gzip's inside"])
def test_what_is_no_whole_archive_is_refused_and_can_be_fetched_anew(toy, no_data, capsys, broken):
    toy(broken)
    refused(no_data, capsys, r"^workbook: Toy: .*(cannot be unpacked|cannot be read) \(.*\); nothing of it is kept$")
    toy(a_zip(PICTURES))
    assert download("Toy")


def test_a_page_that_is_gone_and_a_server_that_is_gone_are_told(toy, web, no_data, capsys):
    toy(None)
    refused(no_data, capsys, r"/toy\.zip: cannot be fetched \(404 Not Found\)$")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/toy.zip"
    toy(None)["archives"] = [address]
    refused(no_data, capsys, rf"^workbook: {address}: cannot be fetched \(ConnectionError\)$")


# ------------------------------------------------------------------------------------------------------- the user's

def test_files_of_the_users_own_are_left_alone(toy, web, no_data, capsys):
    toy(a_zip(PICTURES))
    own = no_data / "Toy" / "a.png"
    own.parent.mkdir()
    own.write_bytes(b"mine")
    assert main(["data", "--download", "Toy"]) == 2
    assert told(capsys) == f"workbook: {own.parent}: has something in it, but not the whole set; move that away first"
    assert files(no_data) == {"Toy/a.png": b"mine"} and web.asked == []
    own.unlink()
    assert download("Toy")  # an empty folder is no one's
    shutil.rmtree(own.parent)
    own.parent.write_text("a file")
    with pytest.raises(BadInput, match="move that away first"):
        download("Toy")


def test_what_cannot_be_fetched_stops_none_of_the_others(toy, no_data, capsys):
    toy(a_zip(PICTURES))
    assert main(["data", "--download", "Nowhere", "Homeless", "Toy"]) == 2
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == "Toy: downloaded" and files(no_data) == TOY
    assert err.splitlines() == [
        "workbook: Nowhere: no such set; there are Toy, Homeless, Sample",
        "workbook: Homeless: no archive is known that could be fetched from here; get its 3 pictures from "
        f"https://toy.example and put them in {no_data / 'Homeless'}"]


# ------------------------------------------------------------------------------------------------------- registered

OFFICIAL = {  # where the archives have the pictures, as far as is known without a connection
    "BSDS100": lambda f: f"BSR/BSDS500/data/images/val/{f.name}",
    "BSDS_train": lambda f: f"BSR/BSDS500/data/images/{'train' if f.stem[-1] in '02468' else 'test'}/{f.name}",
    "Urban100": lambda f: f"SelfExSR-master/data/Urban100/image_SRF_4/{f.stem}_SRF_4_HR.png",
    "DIV2K": lambda f: f"DIV2K_train_HR/{f.name}",
    "VDIV2K": lambda f: f"DIV2K_valid_HR/{f.name}",
    "DIV2K_crops": lambda f: f"DIV2K_train_HR/{f.name}",
    "Middlebury": lambda f: f"other-{'data' if f.suffix == '.png' else 'gt-flow'}/{f.parent.name}/{f.name}",
    "ColorDemo": lambda f: f.name,
}
BESIDE = ("BSR/BSDS500/data/images/train/302003.jpg", "BSR/BSDS500/data/images/test/Thumbs.db", "BSR/README.png",
          "SelfExSR-master/data/Urban100/image_SRF_4/img_001_SRF_4_LR.png", "other-data/Urban2/a.png",
          "SelfExSR-master/data/Urban100/image_SRF_2/img_001_SRF_2_HR.png", "other-data/Venus/frame09.png")


def test_a_set_that_nobody_has_yet_is_listed_as_absent_and_taken_as_it_comes(web, no_data, monkeypatch, capsys):
    assert main(["data"]) == 0
    out = capsys.readouterr().out
    assert "\nDIV2K        absent (0 of 800) " in out and "\nVDIV2K       absent (0 of 100) " in out
    entry = sets.registry()["VDIV2K"] | {"images": 2, "archives": [f"{web.address}/DIV2K_valid_HR.zip"]}
    monkeypatch.setattr(sets, "registry", lambda: {"VDIV2K": entry})
    web.files["/DIV2K_valid_HR.zip"] = a_zip({f"DIV2K_valid_HR/{n:04}.png": png(n) for n in (801, 802)} |
                                             {"__MACOSX/DIV2K_valid_HR/._0801.png": b"what a Mac leaves"})
    assert main(["data", "--download", "VDIV2K"]) == main(["data", "--fingerprint"]) == 0
    assert "not in tadlib/data/sets.toml yet" in capsys.readouterr().out
    assert files(no_data).keys() == {"VDIV2K/0801.png", "VDIV2K/0802.png"}


def test_every_registered_archive_is_known_to_these_tests():
    assert {name for name, entry in sets.registry().items() if "archives" in entry} == set(OFFICIAL)


@pytest.mark.slow
@pytest.mark.parametrize("name", OFFICIAL)
def test_a_registered_set_comes_out_of_its_official_archives_as_it_is_in_the_stored_runs(web, tmp_path, monkeypatch,
                                                                                         name):
    if not sets.is_here(name):
        pytest.skip(f"{name} is not on this machine (TAD_DATA)")
    here = settings.data_folder() / name
    members = {OFFICIAL[name](f): f.read_bytes() for f in sorted(here.rglob("*")) if f.is_file()}
    whole = members | dict.fromkeys(BESIDE, b"something else")
    entry = dict(sets.registry()[name])
    for address in entry["archives"]:
        path = "/" + address.rsplit("/", 1)[1]
        wanted = members.get(path[1:]) or (a_tar if path.endswith("tgz") else a_zip)(
            {n: d for n, d in whole.items() if name != "Middlebury" or ("gt" in path) == n.startswith("other-gt")})
        web.files[path] = wanted
    entry["archives"] = [f"{web.address}/{address.rsplit('/', 1)[1]}" for address in entry["archives"]]
    monkeypatch.setattr(sets, "registry", lambda: {name: entry})
    monkeypatch.setenv("TAD_DATA", str(tmp_path))
    assert download(name)
    assert sets.is_here(name)
    assert {f.relative_to(here).with_suffix("") for f in here.rglob("*") if f.is_file()} == {
        f.relative_to(tmp_path / name).with_suffix("") for f in (tmp_path / name).rglob("*") if f.is_file()}
