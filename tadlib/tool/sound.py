"""The sound of a film, copied and never decoded: to one file beside its small frames, and from there into a new film.

That file's clock is the film's, moved so that no sound lies before 0: the first frame is due `lead` seconds after it.
"""
from __future__ import annotations

import errno
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tadlib.errors import BadInput
from tadlib.tool.films import CONTAINERS, container_of, is_cut, load_av, opened_file
from tadlib.tool.pictures import LATEST

if TYPE_CHECKING:
    import av

NAME = "sound.mka"  # Matroska takes the sound of nearly every film
PRIMING = Fraction(1, 10)  # seconds of sound before the first frame that may stay unheard: decoders begin with them
LONGEST = Fraction(60)  # seconds of a packet
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}  # by channels, where Matroska has dropped their names
WITHOUT = "--no-sound does without"


@dataclass(frozen=True)
class Sound:
    """A file of sound beside the frames of a clip."""

    path: Path
    lead: Fraction = Fraction(0)  # seconds from its beginning to the first frame

    @property
    def shift(self) -> Fraction:
        """Seconds by which a new film's first frame is late, so that what is heard before it is not lost."""
        return self.lead if self.lead > PRIMING else Fraction(0)

    @contextmanager
    def follow(self, film: av.container.OutputContainer) -> Iterator[Callable]:
        """hear(until) for a film that is being written: its sound up to then, in seconds; None: all that is left."""
        with container_of(self.path) as container:
            stream: Any = container.streams.best("audio")
            packets = _heard(container, stream)
            write, waiting = _copier(film, stream), next(packets, None)
            by = self.shift - self.lead

            def hear(until: Fraction | None) -> None:
                nonlocal waiting
                while waiting and (until is None or waiting.time + by <= until):
                    write(waiting, by)
                    waiting = next(packets, None)

            yield hear


def put_beside(film: Path, target: Path, start: Fraction, keep_broken: bool = False) -> Sound | None:
    """A film's sound (FFmpeg's best stream) -> a Matroska file, None where it has none.

    `start`: when the first frame is due on the film's clock. With `keep_broken` what comes before the damage is enough.
    Raises BadInput.
    """
    av = load_av()
    with opened_file(film) as container:
        stream: Any = container.streams.best("audio")
        packets = _heard(container, stream) if stream else iter(())
        if not (heard := next(packets, None)):
            return None
        start = start if abs(start) < LATEST else heard.time
        lead = max(Fraction(0), start - heard.time)
        try:
            with av.open(str(target), "w", format="matroska") as out:
                write = _copier(out, stream)
                while heard:
                    write(heard, lead - start)
                    heard = _next(film, packets, keep_broken)
        except (ValueError, av.FFmpegError) as error:
            if isinstance(error, av.FFmpegError) and error.errno in FULL:
                raise OSError(error.errno, error.strerror) from None  # the folder's trouble, not the sound's
            reason = getattr(error, "strerror", None) or error
            raise BadInput(f"{film}: its sound cannot be copied to {target.name} ({reason}; {WITHOUT})") from None
    return Sound(target, lead)


def _next(film: Path, packets: Iterator[Heard], keep_broken: bool) -> Heard | None:
    try:
        return next(packets, None)
    except load_av().FFmpegError:
        if keep_broken:
            return None
        raise BadInput(f"{film}: its sound breaks off, or is damaged ({WITHOUT})") from None


def believed(folder: Path, name: str, lead: Fraction, target: Path) -> Sound:
    """The sound that frames in a folder name, for a film that is to be made: all of it can be read, and written there.

    The name is a bare one (pictures.SOUND). Raises BadInput.
    """
    av = load_av()
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise BadInput(f"{path}: the frames name this sound, and it is no file there ({WITHOUT})")
    if is_cut(path):
        raise BadInput(f"{path}: breaks off ({WITHOUT})")
    with opened_file(path, "sound") as container:
        stream: Any = container.streams.best("audio")
        packets = _heard(container, stream) if stream else iter(())
        if not (first := next(packets, None)):
            raise BadInput(f"{path}: holds no sound ({WITHOUT})")
        try:
            with av.open(io.BytesIO(), "w", format=CONTAINERS[target.suffix.lower()]) as trial:
                _copier(trial, stream)(first, -first.time)
        except (ValueError, av.FFmpegError):
            kind = stream.codec_context.name if stream.codec_context else "unknown"
            raise BadInput(f"{target}: a {target.suffix} takes no sound of the kind {kind}; give a name that ends in "
                           f".mkv ({WITHOUT})") from None
        for _ in packets:  # to its end: what is damaged is told here
            pass
    return Sound(path, lead)


class Heard(NamedTuple):
    """A packet of sound."""

    packet: Any
    time: Fraction  # seconds
    length: Fraction


def _heard(container: Any, stream: Any) -> Iterator[Heard]:
    """What a stream holds and when it is heard; where nobody says, or time goes back, one packet follows the other."""
    last = length = Fraction(0)
    known = False
    for packet in container.demux(stream):
        if not packet.size or packet.is_corrupt:
            continue
        stamp = packet.dts if packet.pts is None else packet.pts
        time = last + length if stamp is None else stamp * packet.time_base
        if abs(time) > LATEST or (known and time < last):
            time = last + length
        if packet.duration:
            length = min(packet.duration * packet.time_base, LONGEST)
        elif known:  # Matroska says of most kinds only when they begin
            length = time - last
        last, known = time, True
        yield Heard(packet, time, length)


def _copier(out: av.container.OutputContainer, template: Any) -> Callable[[Heard, Fraction], None]:
    """write(heard, by) for a new stream of a file: moved by so many seconds."""
    stream: Any = out.add_stream_from_template(template)
    context = template.codec_context
    if context.layout.name.endswith(" channels") and context.layout.nb_channels in LAYOUTS:
        stream.codec_context.layout = LAYOUTS[context.layout.nb_channels]
    tick, last = Fraction(1, context.sample_rate or 90_000), -(1 << 62)

    def write(heard: Heard, by: Fraction) -> None:
        nonlocal last
        packet = heard.packet
        last = max(last + 1, round((heard.time + by) / tick))  # they have to rise
        packet.stream, packet.time_base = stream, tick
        packet.pts = packet.dts = last
        packet.duration = round(heard.length / tick)
        out.mux(packet)

    return write
