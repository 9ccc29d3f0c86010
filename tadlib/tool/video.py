"""Video clips as a stream of frames, arrays: out of a folder of pictures or a video file, into either, through a codec.

A clip is never in memory as a whole: frames come one after another, and a Writer takes them so. What a video file says
of its frames (how many a second, when each is shown, how wide its pixels are) travels in the text chunks of the small
frames, its sound as a file beside them.
"""
from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from tadlib.errors import BadInput
from tadlib.files import Array, natural, picture_files, read_picture
from tadlib.tool.claim import new_folder
from tadlib.tool.codec import Codec
from tadlib.tool.colours import to_srgb
from tadlib.tool.films import CONTAINERS, FOLDER_RATE, Shown, decoded, opened, rate_of, video_file
from tadlib.tool.pictures import PICTURES, CodecFor, How, Origin, check_folder, chosen, inside, received, result_size
from tadlib.tool.progress import watched
from tadlib.tool.sound import NAME, Sound, believed, put_beside

VIDEO_SUFFIXES = {*CONTAINERS, ".avi", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts", ".m2ts", ".3gp", ".ogv",
                  ".y4m", ".vob", ".mxf", ".f4v", ".m2v", ".asf", ".nut"}
TOGETHER = 4  # frames are refined for a decoder that sees several
TOLERANCE = Fraction(1, 1000)  # seconds: a frame that is shown so near to its turn is shown in its turn


@dataclass(frozen=True)
class Wish:
    """What is asked of a clip beside its pixels, and what is to be told when it is done."""

    fps: Fraction | None = None  # instead of what the source says
    keep_broken: bool = False  # the frames before a film breaks off
    sound: bool = True
    notes: dict[str, None] = field(default_factory=dict)


def is_video(path: str | Path) -> bool:
    """Whether the path names a video file, there or not: by its suffix."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES and not Path(path).is_dir()


def frames(path: str | Path) -> Iterator[Array]:
    """The frames of a video file or of a folder of pictures, one after another: uint8 (H, W, 3), turned upright.

    Raises BadInput, when it comes to it: nothing there, no video, no frame, one of another size, a broken file.
    """
    yield from (one.image for one in shown(path))


def shown(path: str | Path, wish: Wish = Wish()) -> Iterator[Shown]:
    """The same with what a video file says of each. Raises BadInput."""
    if Path(path).is_file():
        yield from decoded(Path(path), wish.keep_broken, wish.notes)
    else:
        yield from (Shown(frame) for _, _, frame in pictures(path))


def pictures(folder: str | Path) -> Iterator[tuple[Path, dict, Array]]:
    """A folder's frames with file and text chunks: (file, info, uint8 (H, W, 3)). Raises BadInput as frames does."""
    size = None
    for file in picture_files(folder):
        frame, info = read_picture(file, prepare=to_srgb)
        size = _same(size, frame, str(file))
        yield file, info, frame
    if size is None:
        raise BadInput(f"{folder}: holds no picture")


def count(path: str | Path) -> int | None:
    """How many frames there are; None where a video's container does not say. Raises BadInput."""
    if not Path(path).is_file():
        return len(picture_files(path))
    with opened(Path(path)) as stream:
        return stream.frames or None


def rate(path: str | Path) -> Fraction:
    """Frames a second, on the average; a folder, or a video that does not say: 25. Raises BadInput."""
    if not Path(path).is_file():
        return FOLDER_RATE
    with opened(Path(path)) as stream:
        return rate_of(stream)


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
    stays until the new one is complete; a folder that holds something, or in which another process is writing, is
    refused. Raises BadInput.
    """

    def __init__(self, path: str | Path, rate: Fraction = FOLDER_RATE, aspect: Fraction | None = None,
                 sound: Sound | None = None):
        self.opened = video_file(Path(path), rate, aspect, sound) if is_video(path) else new_folder(Path(path))
        self.count = 0
        self.size: tuple[int, int] | None = None
        self.put: Any = None

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *error: Any) -> None:
        if self.put:
            self.opened.__exit__(*error)

    def write(self, image: Array, text: dict[str, str] | None = None, time: Fraction | None = None) -> None:
        """The next frame, uint8 (H, W, 3) or (H, W). Raises BadInput.

        `text` goes into a PNG, and into no video; `time`, in seconds after the first frame, into a video alone.
        """
        self.size = _same(self.size, image, f"frame {self.count}")
        self.begin()(self.count, image, text, time)
        self.count += 1

    def begin(self) -> Any:
        """Claim the path. What puts a frame there: put(number, image, text, time), and for a folder put.place."""
        self.put = self.put or self.opened.__enter__()  # not before: a source that cannot be read leaves no trace
        return self.put


def _same(size: tuple[int, int] | None, frame: Array, name: str) -> tuple[int, int]:
    h, w = frame.shape[:2]
    if size and size != (h, w):
        raise BadInput(f"{name}: has {w} x {h} pixels, but the frames before it {size[1]} x {size[0]}")
    return h, w


def downscale_clip(codec: Codec, source: Path, target: Path, how: How = How(), wish: Wish = Wish()  # noqa: B008
                   ) -> int:
    """A video file (or a folder of frames) -> a folder of small (or grey) PNG frames; how many. Raises BadInput.

    One frame at a time is in memory; to be refined for a decoder of several, TOGETHER and their neighbours. Each
    carries its text chunk, and in it the clip's frames a second, and when it is shown where that is not its turn. A
    video file's sound lies beside them.
    """
    if is_video(target):
        raise BadInput(f"{target}: the small frames must stay exact, in a video file they do not; give a folder")
    second = wish.fps or (rate(source) if source.is_file() else None)  # frames in it
    around = codec.frames // 2 if how.refine else 0
    beside: deque[Shown] = deque()  # what is said of the frames that are not written yet, without their pixels
    sound: Sound | None = None

    def images() -> Iterator[Array]:
        nonlocal sound
        for number, one in enumerate(shown(source, wish)):
            if number == 0 and source.is_file() and _fits(source, str(rate(source)), wish):
                sound = put_beside(source, writer.begin().place / NAME, one.at or Fraction(0), wish.keep_broken)
            beside.append(one._replace(image=np.empty(0)))
            yield one.image

    with Writer(target) as writer:
        for clip, own in parts(_watched(images(), source), TOGETHER if around else 1, around):
            small = codec.downscale_clip(clip, how.refine, how.likeness, how.channel)[own]
            for image, codes in zip(clip[own], small, strict=True):
                _, time, aspect, _ = beside.popleft()
                late = second and time is not None and abs(time - writer.count / second) > TOLERANCE
                origin = Origin(codec.name, codec.scale, image.shape[:2], str(second) if second else None,
                                str(time) if late and not wish.fps else None, str(aspect) if aspect else None,
                                NAME if sound else None, str(sound.lead) if sound and sound.lead else None,
                                weights=codec.weights)
                writer.write(codes, origin.chunk())
    return writer.count


def parts(clip: Iterable[Array], count: int, around: int) -> Iterator[tuple[Array, slice]]:
    """A clip in parts of so many frames, each with its neighbours: (frames, H, W, C) and which of them are its own."""
    held: list[Array] = []
    first = 0  # of held, that is not given yet
    for frame in clip:
        held.append(frame)
        if len(held) == first + count + around:
            yield held[0][None] if len(held) == 1 else np.stack(held), slice(first, first + count)
            held = held[count - around + first :] if around else []
            first = around
    if len(held) > first:
        yield np.stack(held), slice(first, len(held))


def upscale_clip(codec_for: CodecFor, source: Path, target: Path, wish: Wish = Wish()) -> int:
    """A folder of small (or grey) PNG frames -> a video file, or a folder of PNG frames; how many. Raises BadInput.

    The first frame's text chunk decides for all; one that says otherwise is refused. As many frames are in memory as
    the decoder looks at. A video file shows each when its chunk says, with the sound that it names.
    """
    if source.is_file():
        raise BadInput(f"{source}: a clip comes back from its folder of small PNG frames, for a video file is lossy")
    origin = first_origin(source)
    codec = chosen(codec_for, origin, source)
    times: deque[str | None] = deque()
    apart: dict[str, Any] = {"time": None, "weights": None}  # in which frames of a clip may differ

    def arrived() -> Iterator[Array]:
        for file, info, codes in pictures(source):
            own = Origin.of(info, codes)
            if own and (origin is None or replace(own, **apart) != replace(origin, **apart)):
                raise BadInput(f"{file}: is of another clip, or by another model, than the first frame")
            if own and origin and own.weights != origin.weights:
                codec_for(own)  # which tells it
            times.append(own.time if own and not wish.fps else None)
            yield received(codec, codes, file)

    said = wish.fps or (Fraction(origin.rate) if origin and origin.rate else None)
    if is_video(target) and not said:
        wish.notes[f"{FOLDER_RATE} frames a second, for the frames do not say how many: see --fps"] = None
    aspect = Fraction(origin.aspect) if origin and origin.aspect else None
    sound = None
    if is_video(target) and origin and origin.sound and _fits(source, origin.rate, wish):
        sound = believed(source, origin.sound, Fraction(origin.lead or 0), target)
    with Writer(target, said or FOLDER_RATE, aspect, sound) as writer:
        for codes in _watched(windows(arrived(), codec.frames), source):
            size = result_size(codec, origin, codes[0], source)
            big = codec.upscale(codes if codec.frames > 1 else codes[0], size)
            writer.write(big, time=Fraction(time) if (time := times.popleft()) else None)
    return writer.count


def _fits(source: Path, rate: str | None, wish: Wish) -> bool:
    """Whether a clip's sound is wanted, and in step with frames at the rate that is asked for; else that is noted."""
    if wish.sound and wish.fps and str(wish.fps) != rate:
        wish.notes[f"{source}: without its sound, which would not be in step at --fps {wish.fps}"] = None
        return False
    return wish.sound


def first_origin(folder: Path) -> Origin | None:
    """What the text chunk of a folder's first frame says. Raises BadInput."""
    _, info, codes = next(pictures(folder))
    return Origin.of(info, codes)


def clips(source: Path, target: Path, recursive: bool = False) -> list[tuple[Path, Path]]:
    """A folder's video files, if it holds no picture, each with the folder of its small frames. Raises BadInput."""
    if not source.is_dir() or (inside(source, target) if recursive else picture_files(source)):
        return []
    check_folder(source, target)
    found = [file for file in inside(source, target, VIDEO_SUFFIXES) if recursive or file.parent == source]
    folders = [target / file.relative_to(source).parent / _as_folder(file.stem) for file in found]
    count = Counter(folders)
    if twice := [file.name for file, folder in zip(found, folders, strict=True) if count[folder] > 1]:
        raise BadInput(f"{source}: {' and '.join(twice)} would become one folder; rename one")
    return list(zip(found, folders, strict=True))


def _as_folder(stem: str) -> str:
    """The name of a film's folder of frames: not one that a film or a picture has ("x.mp4.mov" -> "x_mp4")."""
    name = Path(stem)
    return f"{name.stem}_{name.suffix[1:]}" if name.suffix.lower() in {*VIDEO_SUFFIXES, *PICTURES} else stem


def clips_back(source: Path, target: Path, fps: Fraction | None = None) -> list[tuple[Path, Path]]:
    """A folder's folders of frames, if it holds no picture itself, each with its video file: where frames of one say
    their rate, or it is given. Other folders of pictures are no films. Raises BadInput.
    """
    if not source.is_dir() or picture_files(source):
        return []
    check_folder(source, target)
    found = (folder for folder in source.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    films = [(f, target / f"{f.name}.mp4") for f in sorted(found, key=natural) if picture_files(f)]
    return films if fps or any(_rate(f) for f, _ in films) else []


def _rate(folder: Path) -> str | None:
    """The frames a second that a folder's first picture says; None where it says none, or is broken."""
    try:
        origin = first_origin(folder)
    except BadInput:
        return None
    return origin.rate if origin else None


def _watched(frames: Iterator[Array], source: Path) -> Iterator[Array]:
    return watched(frames, source.name, count(source), "frame")
