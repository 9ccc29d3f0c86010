"""Video clips as a stream of frames: out of a folder of pictures or a video file, into either.

A clip is never in memory as a whole: frames come one after another, and a Writer takes them so. Sound is left out, and
frames that were shown for unequal times are written as equally long ones.
"""
from __future__ import annotations

import re
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor

from tadlib.images import SUFFIXES, BadInput, read_picture, replacing, save_png

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}  # what is written
VIDEO_SUFFIXES = {*CONTAINERS, ".avi", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts", ".m2ts", ".3gp", ".ogv",
                  ".y4m", ".vob", ".mxf", ".f4v", ".m2v", ".asf", ".nut"}
FOLDER_RATE = Fraction(25)  # frames a second, where nothing says


def is_video(path: str | Path) -> bool:
    """Whether the path names a video file, there or not: by its suffix."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES and not Path(path).is_dir()


def frame_files(folder: str | Path) -> list[Path]:
    """The picture files of a folder in natural order, hr2 before hr10. Raises BadInput where there is no folder."""
    if not Path(folder).is_dir():
        raise BadInput(f"{folder}: {'is no folder' if Path(folder).exists() else 'no such file or folder'}")
    found = (f for f in Path(folder).iterdir() if f.suffix.lower() in SUFFIXES and not f.name.startswith("."))
    return sorted(found, key=natural)


def natural(file: Path) -> list:
    """The key of natural order: hr2 before hr10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", str(file))]


def frames(path: str | Path) -> Iterator[Tensor]:
    """The frames of a video file or of a folder of pictures, one after another: uint8 (3, H, W), turned upright.

    Raises BadInput, when it comes to it: nothing there, no video, no frame, one of another size, a broken file.
    """
    if Path(path).is_file():
        yield from _decoded(Path(path))
    else:
        yield from (frame for _, _, frame in pictures(path))


def pictures(folder: str | Path) -> Iterator[tuple[Path, dict, Tensor]]:
    """A folder's frames with file and text chunks: (file, info, uint8 (3, H, W)). Raises BadInput as frames does."""
    size = None
    for file in frame_files(folder):
        frame, info = read_picture(file)
        size = _same(size, frame, str(file))
        yield file, info, frame
    if size is None:
        raise BadInput(f"{folder}: holds no picture")


def count(path: str | Path) -> int | None:
    """How many frames there are; None where a video's container does not say. Raises BadInput."""
    if not Path(path).is_file():
        return len(frame_files(path))
    with _opened(Path(path)) as stream:
        return stream.frames or None


def rate(path: str | Path) -> Fraction:
    """Frames a second, on the average; a folder, or a video that does not say: 25. Raises BadInput."""
    if not Path(path).is_file():
        return FOLDER_RATE
    with _opened(Path(path)) as stream:
        # 1001 is the denominator of 29.97 and its kin; larger ones come of averages
        return Fraction(stream.average_rate or 0).limit_denominator(1001) or FOLDER_RATE


def windows(clip: Iterable[Tensor], n: int) -> Iterator[Tensor]:
    """Each frame (C, H, W) in the middle of n (odd), along channels: (n * C, H, W); the clip's ends are repeated."""
    held: deque[Tensor] = deque(maxlen=n)
    for frame in clip:
        held.extend([frame] * (1 if held else n // 2 + 1))
        if len(held) == n:
            yield torch.cat(tuple(held))
    for _ in range(n // 2 if held else 0):
        held.append(held[-1])
        if len(held) == n:  # not yet, where the clip is shorter than the window
            yield torch.cat(tuple(held))


def pan(image: Tensor, count: int, size: tuple[int, int], step: tuple[int, int], start: tuple[float, float] = (0.5, 0.5)
        ) -> Tensor:
    """A clip out of a photograph (3, H, W): a window of `size` that moves by `step` (down, right) pixels a frame.

    uint8 (count, 3, *size); `start` in [0, 1) says where of all places that it can have. Raises ValueError if it has
    none.
    """
    corners = []
    for length, window, by, where in zip(image.shape[-2:], size, step, start, strict=True):
        room = length - window - abs(by) * (count - 1)
        if room < 0:
            raise ValueError(f"a window of {window} that moves by {by} in {count} frames does not fit into {length}")
        corners.append(int(where * (room + 1)) + max(0, -by) * (count - 1))
    (top, left), (h, w) = corners, size
    return torch.stack([image[:, top + n * step[0] :, left + n * step[1] :][:, :h, :w] for n in range(count)])


class Writer:
    """`with Writer(path, rate) as writer: writer.write(frame)`: a clip, written whole or not at all.

    A path with a video's suffix becomes a video file: H.264 at CRF 12. That looks the same but is lossy: colours are
    halved in size where both sides are even, as every player wants it; with an odd side they are kept whole, which some
    players refuse. Any other path becomes a folder of exact PNG frames 000000.png, 000001.png, ... An old video file
    stays until the new one is complete; a folder that holds something is refused. Raises BadInput.
    """

    def __init__(self, path: str | Path, rate: Fraction = FOLDER_RATE):
        self.opened = _video_file(Path(path), rate) if is_video(path) else _folder(Path(path))
        self.count, self.size, self.put = 0, None, None

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *error) -> None:
        if self.put:
            self.opened.__exit__(*error)

    def write(self, image: Tensor, text: dict[str, str] | None = None) -> None:
        """The next frame, uint8 (3 or 1, H, W); `text` goes into a PNG, and into no video. Raises BadInput."""
        self.size = _same(self.size, image, f"frame {self.count}")
        self.put = self.put or self.opened.__enter__()  # not before: a source that cannot be read leaves no trace
        self.put(self.count, image, text)
        self.count += 1


def _same(size: tuple[int, int] | None, frame: Tensor, name: str) -> tuple[int, int]:
    h, w = frame.shape[-2:]
    if size not in (None, (h, w)):
        raise BadInput(f"{name}: has {w} x {h} pixels, but the frames before it {size[1]} x {size[0]}")
    return h, w


@contextmanager
def _opened(path: Path) -> Iterator[av.VideoStream]:
    """A file's video stream; what goes wrong while it is open is BadInput too."""
    try:
        with av.open(str(path.absolute())) as container:  # absolute: "a:b.mp4" would be of a protocol "a"
            if not container.streams.video:
                raise BadInput(f"{path}: holds no moving picture")
            yield container.streams.video[0]
    except av.FFmpegError as error:
        raise BadInput(f"{path}: cannot be read as a video ({error.strerror})") from None


def _decoded(path: Path) -> Iterator[Tensor]:
    size, number = None, 0
    with _opened(path) as stream:
        for packet in stream.container.demux(stream):
            if packet.is_corrupt:  # else the decoder would make something up
                raise BadInput(f"{path}: breaks off, or is damaged, after {number} frames")
            for frame in packet.decode():
                array = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)  # (H, W, 3)
                image = torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))
                size = _same(size, image, f"{path}, frame {number}")
                number += 1
                yield image
    if size is None:
        raise BadInput(f"{path}: holds no frame")


@contextmanager
def _video_file(path: Path, rate: Fraction) -> Iterator[Callable]:
    if path.suffix.lower() not in CONTAINERS:
        raise BadInput(f"{path}: a video is written as one of {', '.join(CONTAINERS)}")
    with replacing(path) as temporary:
        try:
            with av.open(str(temporary), "w", format=CONTAINERS[path.suffix.lower()]) as container:
                stream = container.add_stream("libx264", rate=rate, options={"crf": "12"})
                # BT.709 in the limited range, and said so: players guess by the size where nothing is said
                stream.color_primaries = stream.color_trc = stream.colorspace = 1
                stream.color_range = 1

                def put(number: int, image: Tensor, text: dict | None) -> None:
                    if number == 0:
                        stream.height, stream.width = image.shape[-2:]
                        stream.pix_fmt = "yuv444p" if stream.height % 2 or stream.width % 2 else "yuv420p"
                    array = image.expand(3, -1, -1).permute(1, 2, 0).contiguous().cpu().numpy()
                    frame = av.VideoFrame.from_ndarray(array, format="rgb24")
                    frame = frame.reformat(format=stream.pix_fmt, dst_colorspace="ITU709", dst_color_range="MPEG")
                    container.mux(stream.encode(frame))

                yield put
                container.mux(stream.encode())  # what the encoder still holds
        except av.FFmpegError as error:
            raise BadInput(f"{path}: cannot be written ({error.strerror})") from None


@contextmanager
def _folder(path: Path) -> Iterator[Callable]:
    if path.is_file() or path.suffix.lower() in SUFFIXES:
        raise BadInput(f"{path}: frames go into a folder; give the name of one")
    if path.is_dir() and any(path.iterdir()):
        raise BadInput(f"{path}: holds something already; frames go into a new or an empty folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # inside where there is a folder: it may be the current one, or another disk, and stays what it is
        place = path if path.is_dir() else path.parent
        with tempfile.TemporaryDirectory(prefix=f".{path.name[:50]}.", dir=place, ignore_cleanup_errors=True) as outer:
            inner = Path(outer) / "frames"  # with the permissions of any folder, which a temporary one has not
            inner.mkdir()
            yield lambda number, image, text: save_png(inner / f"{number:06}.png", image, text)
            if path.is_dir():
                for file in sorted(inner.iterdir()):
                    file.rename(path / file.name)
            else:
                inner.rename(path)
    except OSError as error:
        raise BadInput(f"{path}: cannot be written ({error.strerror or error})") from None
