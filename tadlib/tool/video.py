"""Video clips as a stream of frames, arrays: out of a folder of pictures or a video file, into either, through a codec.

A clip is never in memory as a whole: frames come one after another, and a Writer takes them so. Sound is left out, and
frames that were shown for unequal times are written as equally long ones.
"""
from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from tadlib.errors import BadInput
from tadlib.files import SUFFIXES, Array, picture_files, read_picture, replacing, save_png
from tadlib.tool.codec import Codec
from tadlib.tool.pictures import CodecFor, How, Origin, chosen, received, result_size

if TYPE_CHECKING:
    import av

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}  # what is written
VIDEO_SUFFIXES = {*CONTAINERS, ".avi", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts", ".m2ts", ".3gp", ".ogv",
                  ".y4m", ".vob", ".mxf", ".f4v", ".m2v", ".asf", ".nut"}
# What is opened as a clip, as FFmpeg calls it; others may read further files or start devices
DEMUXERS = ("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpeg", "mpegts", "mpegvideo", "flv",
            "asf", "ogg", "yuv4mpegpipe", "mxf", "nut", "h264", "hevc", "m4v", "ivf")
TOGETHER = 4  # frames are refined for a decoder that sees several
FOLDER_RATE = Fraction(25)  # frames a second, where nothing says


def is_video(path: str | Path) -> bool:
    """Whether the path names a video file, there or not: by its suffix."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES and not Path(path).is_dir()


def frames(path: str | Path) -> Iterator[Array]:
    """The frames of a video file or of a folder of pictures, one after another: uint8 (H, W, 3), turned upright.

    Raises BadInput, when it comes to it: nothing there, no video, no frame, one of another size, a broken file.
    """
    if Path(path).is_file():
        yield from _decoded(Path(path))
    else:
        yield from (frame for _, _, frame in pictures(path))


def pictures(folder: str | Path) -> Iterator[tuple[Path, dict, Array]]:
    """A folder's frames with file and text chunks: (file, info, uint8 (H, W, 3)). Raises BadInput as frames does."""
    size = None
    for file in picture_files(folder):
        frame, info = read_picture(file)
        size = _same(size, frame, str(file))
        yield file, info, frame
    if size is None:
        raise BadInput(f"{folder}: holds no picture")


def count(path: str | Path) -> int | None:
    """How many frames there are; None where a video's container does not say. Raises BadInput."""
    if not Path(path).is_file():
        return len(picture_files(path))
    with _opened(Path(path)) as stream:
        return stream.frames or None


def rate(path: str | Path) -> Fraction:
    """Frames a second, on the average; a folder, or a video that does not say: 25. Raises BadInput."""
    if not Path(path).is_file():
        return FOLDER_RATE
    with _opened(Path(path)) as stream:
        # 1001 is the denominator of 29.97 and its kin; larger ones come of averages
        return Fraction(stream.average_rate or 0).limit_denominator(1001) or FOLDER_RATE


def windows(clip: Iterable[Array], n: int) -> Iterator[Array]:
    """Each frame in the middle of n (odd): (H, W, C) -> (n, H, W, C); the clip's ends are repeated."""
    held: deque[Array] = deque(maxlen=n)
    for frame in clip:
        held.extend([frame] * (1 if held else n // 2 + 1))
        if len(held) == n:
            yield np.stack(tuple(held))
    for _ in range(n // 2 if held else 0):
        held.append(held[-1])
        if len(held) == n:  # not yet, where the clip is shorter than the window
            yield np.stack(tuple(held))


class Writer:
    """`with Writer(path, rate) as writer: writer.write(frame)`: a clip, written whole or not at all.

    A path with a video's suffix becomes a video file: H.264 at CRF 12. That looks the same but is lossy: colours are
    halved in size where both sides are even, as every player wants it; with an odd side they are kept whole, which some
    players refuse. Any other path becomes a folder of exact PNG frames 000000.png, 000001.png, ... An old video file
    stays until the new one is complete; a folder that holds something is refused. Raises BadInput.
    """

    def __init__(self, path: str | Path, rate: Fraction = FOLDER_RATE):
        self.opened = _video_file(Path(path), rate) if is_video(path) else _folder(Path(path))
        self.count = 0
        self.size: tuple[int, int] | None = None
        self.put: Callable | None = None

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *error: Any) -> None:
        if self.put:
            self.opened.__exit__(*error)

    def write(self, image: Array, text: dict[str, str] | None = None) -> None:
        """The next frame, uint8 (H, W, 3) or (H, W); `text` goes into a PNG, and into no video. Raises BadInput."""
        self.size = _same(self.size, image, f"frame {self.count}")
        self.put = self.put or self.opened.__enter__()  # not before: a source that cannot be read leaves no trace
        self.put(self.count, image, text)
        self.count += 1


def _same(size: tuple[int, int] | None, frame: Array, name: str) -> tuple[int, int]:
    h, w = frame.shape[:2]
    if size and size != (h, w):
        raise BadInput(f"{name}: has {w} x {h} pixels, but the frames before it {size[1]} x {size[0]}")
    return h, w


def _av() -> Any:
    """The package av. Raises BadInput where it is not installed."""
    try:
        import av
    except ImportError:
        raise BadInput("video takes the package av: pip install 'tadlib[video]'") from None
    return av


@contextmanager
def _opened(path: Path) -> Iterator[av.VideoStream]:
    """A file's video stream; what goes wrong while it is open is BadInput too."""
    av = _av()
    try:
        # of these demuxers and from files alone, whatever the name says: others read what a file names (concat, HLS)
        options = {"protocol_whitelist": "file", "format_whitelist": ",".join(DEMUXERS)}
        # absolute: "a:b.mp4" would be of a protocol "a"
        with av.open(str(path.absolute()), container_options=options) as container:
            if not container.streams.video:
                raise BadInput(f"{path}: holds no moving picture")
            yield container.streams.video[0]
    except av.FFmpegError as error:
        raise BadInput(f"{path}: cannot be read as a video ({error.strerror})") from None


def _decoded(path: Path) -> Iterator[Array]:
    size, number = None, 0
    with _opened(path) as stream:
        for packet in stream.container.demux(stream):  # type: ignore[attr-defined]
            if packet.is_corrupt:  # else the decoder would make something up
                raise BadInput(f"{path}: breaks off, or is damaged, after {number} frames")
            for frame in packet.decode():
                image = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)  # (H, W, 3)
                image = np.ascontiguousarray(image)
                size = _same(size, image, f"{path}, frame {number}")
                number += 1
                yield image
    if size is None:
        raise BadInput(f"{path}: holds no frame")


@contextmanager
def _video_file(path: Path, rate: Fraction) -> Iterator[Callable]:
    if path.suffix.lower() not in CONTAINERS:
        raise BadInput(f"{path}: a video is written as one of {', '.join(CONTAINERS)}")
    av = _av()
    with replacing(path) as temporary:
        try:
            with av.open(str(temporary), "w", format=CONTAINERS[path.suffix.lower()]) as container:
                stream = container.add_stream("libx264", rate=rate, options={"crf": "12"})
                # BT.709 in the limited range, and said so: players guess by the size where nothing is said
                stream.color_primaries = stream.color_trc = stream.colorspace = 1
                stream.color_range = 1

                def put(number: int, image: Array, text: dict | None) -> None:
                    if number == 0:
                        stream.height, stream.width = image.shape[:2]
                        stream.pix_fmt = "yuv444p" if stream.height % 2 or stream.width % 2 else "yuv420p"
                    array = image if image.ndim == 3 else np.repeat(image[..., None], 3, 2)
                    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")
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


def downscale_clip(codec: Codec, source: Path, target: Path, how: How = How()) -> int:  # noqa: B008
    """A video file (or a folder of frames) -> a folder of small (or grey) PNG frames; how many. Raises BadInput.

    One frame at a time is in memory; to be refined for a decoder of several, TOGETHER and their neighbours. Each
    carries its text chunk, and in it the clip's frames a second.
    """
    if is_video(target):
        raise BadInput(f"{target}: the small frames must stay exact, in a video file they do not; give a folder")
    frames_a_second = str(rate(source))
    around = codec.frames // 2 if how.refine else 0
    with Writer(target) as writer:
        for clip, own in parts(_watched(frames(source), source), TOGETHER if around else 1, around):
            small = codec.downscale_clip(clip, how.refine, how.likeness, how.channel)[own]
            for image, codes in zip(clip[own], small, strict=True):
                writer.write(codes, Origin(codec.name, codec.scale, image.shape[:2], frames_a_second).chunk())
    return writer.count


def parts(clip: Iterable[Array], count: int, around: int) -> Iterator[tuple[Array, slice]]:
    """A clip in parts of so many frames, each with its neighbours: (frames, H, W, C) and which of them are its own."""
    held: list[Array] = []
    first = 0  # of held, that is not given yet
    for frame in clip:
        held.append(frame)
        if len(held) == first + count + around:
            yield np.stack(held), slice(first, first + count)
            held = held[count - around + first :] if around else []
            first = around
    if len(held) > first:
        yield np.stack(held), slice(first, len(held))


def upscale_clip(codec_for: CodecFor, source: Path, target: Path) -> int:
    """A folder of small (or grey) PNG frames -> a video file, or a folder of PNG frames; how many. Raises BadInput.

    The first frame's text chunk decides for all; one that says otherwise is refused. As many frames are in memory as
    the decoder looks at.
    """
    if source.is_file():
        raise BadInput(f"{source}: a clip comes back from its folder of small PNG frames, for a video file is lossy")
    origin = first_origin(source)
    codec = chosen(codec_for, origin, source)

    def arrived() -> Iterator[Array]:
        for file, info, codes in pictures(source):
            if Origin.of(info, codes) not in (None, origin):
                raise BadInput(f"{file}: is of another clip, or by another model, than the first frame")
            yield received(codec, codes, file)

    frames_a_second = Fraction(origin.rate) if origin and origin.rate else FOLDER_RATE
    with Writer(target, frames_a_second) as writer:
        for codes in _watched(windows(arrived(), codec.frames), source):
            size = result_size(codec, origin, codes[0], source)
            writer.write(codec.upscale(codes if codec.frames > 1 else codes[0], size))
    return writer.count


def first_origin(folder: Path) -> Origin | None:
    """What the text chunk of a folder's first frame says. Raises BadInput."""
    _, info, codes = next(pictures(folder))
    return Origin.of(info, codes)


def _watched(frames: Iterator[Array], source: Path) -> Iterator[Array]:
    return tqdm(frames, desc=source.name, total=count(source), unit="frame", disable=None)
