"""One video file: its frames as they are meant to be seen, when, and a new one of frames (and of sound: sound.py).

What a container says is believed where it can be: sizes within the budget, times that rise.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from PIL import Image

from tadlib.errors import BadInput
from tadlib.files import MAX_PIXELS, Array, replacing

if TYPE_CHECKING:
    import av

    from tadlib.tool.sound import Sound

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}  # what is written
# What is opened as a clip, as FFmpeg calls it; others may read further files or start devices
DEMUXERS = ("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpeg", "mpegts", "mpegvideo", "flv",
            "asf", "ogg", "yuv4mpegpipe", "mxf", "nut", "h264", "hevc", "m4v", "ivf")
FOLDER_RATE = Fraction(25)  # frames a second, where nothing says
MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}  # of H.273 -> of swscale: BT.709, FCC, BT.601, 240M, BT.2020
HD = 720  # lines from which on a film that does not say is BT.709
HDR = {16: "PQ", 18: "HLG"}


class Shown(NamedTuple):
    """A frame as it is shown."""

    image: Array  # uint8 (H, W, 3)
    time: Fraction | None = None  # seconds after the first; None: nobody says
    aspect: Fraction | None = None  # width of a pixel by its height, where it is no square
    at: Fraction | None = None  # seconds on the container's clock


def load_av() -> Any:
    """The package av. Raises BadInput where it is not installed."""
    try:
        import av
    except ImportError:
        raise BadInput("video takes the package av: pip install 'tadlib[video]'") from None
    return av


def container_of(path: Path) -> av.container.InputContainer:
    """Raises av.FFmpegError."""
    # of these demuxers and from files alone, whatever the name says: others read what a file names (concat, HLS)
    options = {"protocol_whitelist": "file", "format_whitelist": ",".join(DEMUXERS)}
    # absolute: "a:b.mp4" would be of a protocol "a"
    return load_av().open(str(path.absolute()), container_options=options, metadata_errors="replace")


@contextmanager
def opened_file(path: Path, kind: str = "a video") -> Iterator[av.container.InputContainer]:
    """A file of pictures or sound; what goes wrong while it is open is BadInput."""
    try:
        with container_of(path) as container:
            yield container
    except load_av().FFmpegError as error:
        raise BadInput(f"{path}: cannot be read as {kind} ({error.strerror})") from None


@contextmanager
def opened(path: Path) -> Iterator[av.VideoStream]:
    """A file's video stream, FFmpeg's best where there are several; what goes wrong while it is open is BadInput."""
    with opened_file(path) as container:
        stream = cast("av.VideoStream | None", container.streams.best("video"))
        if stream is None:
            raise BadInput(f"{path}: holds no moving picture")
        if stream.codec_context is None:
            raise BadInput(f"{path}: cannot be read as a video (its pictures are of an unknown kind)")
        if stream.width * stream.height > MAX_PIXELS:
            raise BadInput(f"{path}: frames of more than {MAX_PIXELS:,} pixels")
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}  # where they grow later
        yield stream


def rate_of(stream: av.VideoStream) -> Fraction:
    """Frames a second, on the average; 25 where nobody says."""
    # 1001 is the denominator of 29.97 and its kin; larger ones come of averages
    return Fraction(stream.average_rate or 0).limit_denominator(1001) or FOLDER_RATE


def decoded(path: Path, keep_broken: bool = False, notes: dict[str, None] | None = None) -> Iterator[Shown]:
    """A video file's frames, turned upright. Raises BadInput: no video, no frame, one of another size, a film that
    breaks off; with `keep_broken` the frames before that are given, and `notes` says so.
    """
    number, notes, cut = 0, {} if notes is None else notes, path.is_file() and is_cut(path)
    if cut and not keep_broken:
        raise BadInput(f"{path}: breaks off: it is shorter than its container says (see --keep-broken)")
    with opened(path) as stream:
        try:
            for shown in _shown(path, stream, notes):
                yield shown
                number += 1
        except (BadInput, load_av().FFmpegError):
            if not (keep_broken and number):
                raise
            cut = True
    if cut:
        notes[f"{path}: breaks off, or is damaged: {number} frames kept"] = None


def _shown(path: Path, stream: av.VideoStream, notes: dict[str, None]) -> Iterator[Shown]:
    number = packets = 0
    size: tuple[int, ...] | None = None
    reached = first = last = pause = Fraction(0)
    rate, container = rate_of(stream), cast(Any, stream.container)
    for packet in container.demux():
        if packet.pts is not None and packet.time_base:
            reached = max(reached, (packet.pts + (packet.duration or 0)) * packet.time_base)
        if packet.stream.index != stream.index:  # stream_index is 0 where a decoder is emptied
            continue
        packets += packet.size > 0
        if packet.is_corrupt:  # else the decoder would make something up
            raise BadInput(f"{path}: breaks off, or is damaged, after {number} frames")
        for frame in packet.decode():
            if frame.is_corrupt:
                raise BadInput(f"{path}: breaks off, or is damaged, after {number} frames")
            image, turned = _upright(_rgb(frame), frame)
            image = np.ascontiguousarray(image)
            if size and size != image.shape:
                raise BadInput(f"{path}, frame {number}: has {image.shape[1]} x {image.shape[0]} pixels, but the "
                               f"frames before it {size[1]} x {size[0]}")
            size = image.shape
            if number == 0:
                _note(frame, path, notes)
            time = at = None
            if frame.pts is not None and frame.time_base:
                at = frame.pts * frame.time_base
                first = at if number == 0 else first
                time = at - first if number == 0 or at - first > last else None
            now = last + bool(number) / rate if time is None else time
            pause, last = max(pause, now - last), now
            aspect = Fraction(stream.sample_aspect_ratio or 1)
            aspect = 1 / aspect if turned and aspect else aspect
            number += 1
            yield Shown(image, time, aspect if aspect not in (0, 1) else None, at)
    if size is None:
        raise BadInput(f"{path}: holds no frame")
    start, duration = (Fraction(n or 0, 10**6) for n in (container.start_time, container.duration))
    lacking = duration - (reached - start)
    counted = stream.frames or packets  # with an edit list fewer come, and yet all of the duration
    if lacking > Fraction(3, 2) / rate and (counted > packets or (not stream.frames and lacking > pause * 3 / 2)):
        raise BadInput(f"{path}: breaks off, or is damaged, after {number} frames: {float(lacking):.2f} seconds are "
                       "not there (see --keep-broken)")


def _note(frame: av.VideoFrame, path: Path, notes: dict[str, None]) -> None:
    if frame.interlaced_frame:
        notes[f"{path}: is interlaced; both fields are taken as one picture"] = None
    if frame.color_trc in HDR:
        notes[f"{path}: is HDR ({HDR[frame.color_trc]}); its codes are taken as ordinary ones"] = None


def _rgb(frame: av.VideoFrame) -> Array:
    """As players show it: uint8 (H, W, 3), on white where it is transparent."""
    alpha = frame.format.name == "pal8" or any(part.is_alpha for part in frame.format.components)
    options: dict[str, Any] = {"format": "rgba" if alpha else "rgb24"}
    if not frame.format.is_rgb and frame.format.name != "pal8":
        matrix = MATRICES.get(frame.colorspace, 1 if frame.height >= HD else 5)
        full = frame.color_range == 2 or frame.format.name.startswith("yuvj")
        options |= {"src_colorspace": matrix, "dst_colorspace": matrix, "src_color_range": 2 if full else 1,
                    "dst_color_range": 2}
    array = frame.to_ndarray(**options)
    if not alpha:
        return array
    picture = Image.fromarray(np.ascontiguousarray(array))
    return np.asarray(Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB"))


def _upright(image: Array, frame: av.VideoFrame) -> tuple[Array, bool]:
    """The image (H, W, 3) as the display matrix says, one of eight; and whether rows have become columns."""
    side: Any = frame.side_data.get("DISPLAYMATRIX")
    if side is None:
        return image, False
    a, b, _, c, d = np.frombuffer(bytes(side), np.int32)[:5].tolist()  # x' = ax + cy, y' = bx + dy
    turned = abs(b) > abs(a)
    image = image.transpose(1, 0, 2) if turned else image
    across, down = (c, b) if turned else (a, d)
    return image[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1], turned


def is_cut(path: Path) -> bool:
    """Whether a file ends before its own frame (Matroska, RIFF, transport stream) says."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4096)
    if head[:4] == b"RIFF":
        return 8 + int.from_bytes(head[4:8], "little") > size and head[4:8] != b"\xff" * 4
    if head[:4] == b"\x1a\x45\xdf\xa3":
        length, at = _number(head, 4)
        length, at = _number(head, at + (length or 0) + 4)  # behind the header: the segment's name, its length
        return length is not None and at + length > size
    for step, sync in ((188, 0), (192, 4)):
        if len(head) > 2 * step + sync and all(head[sync + n * step] == 0x47 for n in range(3)):
            return size % step != 0
    return False


def _number(data: bytes, at: int) -> tuple[int | None, int]:
    """A number of Matroska and where it ends; None where it is not known."""
    if at >= len(data) or not data[at]:
        return None, at
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1)
    return None if value == (1 << 7 * length) - 1 else value, at + length


@contextmanager
def video_file(path: Path, rate: Fraction, aspect: Fraction | None, sound: Sound | None) -> Iterator[Callable]:
    """put(number, image, text, time) for a new video file, whole or not at all. Raises BadInput."""
    if path.suffix.lower() not in CONTAINERS:
        raise BadInput(f"{path}: a video is written as one of {', '.join(CONTAINERS)}")
    av = load_av()
    # a clock in which equally long frames fall on ticks, and others miss their time by some microseconds
    tick = Fraction(1, rate.numerator * max(1, round(90_000 / rate.numerator)))
    last = -1
    with replacing(path) as temporary:
        try:
            with (av.open(str(temporary), "w", format=CONTAINERS[path.suffix.lower()]) as container,
                  sound.follow(container) if sound else nullcontext(lambda until: None) as hear):
                stream = container.add_stream("libx264", rate=rate, options={"crf": "12", "bf": "0"})
                # no B-frames: with frames of unequal length MP4 would get their sum wrong
                stream.codec_context.time_base = stream.time_base = tick
                # BT.709 in the limited range, and said so: players guess by the size where nothing is said
                stream.color_primaries = stream.color_trc = stream.colorspace = 1
                stream.color_range = 1

                def put(number: int, image: Array, text: dict | None, time: Fraction | None) -> None:
                    nonlocal last
                    if number == 0:
                        stream.height, stream.width = image.shape[:2]
                        stream.pix_fmt = "yuv444p" if stream.height % 2 or stream.width % 2 else "yuv420p"
                        if aspect:
                            stream.codec_context.sample_aspect_ratio = aspect
                    array = image if image.ndim == 3 else np.repeat(image[..., None], 3, 2)
                    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")
                    frame = frame.reformat(format=stream.pix_fmt, dst_colorspace="ITU709", dst_color_range="MPEG")
                    now = (number / rate if time is None else time) + (sound.shift if sound else 0)
                    last = max(last + 1, round(now / tick))
                    frame.pts, frame.time_base, frame.duration = last, tick, round(1 / rate / tick)
                    container.mux(stream.encode(frame))
                    hear(now)

                yield put
                container.mux(stream.encode())  # what the encoder still holds
                hear(None)
        except av.FFmpegError as error:
            raise BadInput(f"{path}: cannot be written ({error.strerror})") from None
