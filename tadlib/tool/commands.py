"""What the commands of `tadlib` do. Nothing is loaded before it is needed: torch takes a second."""
from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tadlib import __version__, settings
from tadlib.errors import BadInput, tell

if TYPE_CHECKING:
    from tadlib.tool.codec import Codec
    from tadlib.tool.pictures import Origin


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(prog="tadlib", description="Task-aware downscaling of images.",
                                    epilog=settings.HELP, formatter_class=argparse.RawDescriptionHelpFormatter)
    whole.add_argument("--version", action="version", version=__version__)
    commands = whole.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, act: Callable, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(act=act)
        return sub

    for name, act, task, text, default in (
            ("downscale", _downscale, "sr", "a picture, a folder of pictures or a video file to small PNGs",
             "the tool net of the scale"),
            ("upscale", _upscale, "sr", "small PNGs back to the original size, or to a video file",
             "what the file says"),
            ("decolorize", _downscale, "colour", "a picture, a folder or a video file to grey PNGs that hide colours",
             "tool_color"),
            ("colorize", _upscale, "colour", "grey PNGs made by decolorize back to colour, or to a video file",
             "what the file says")):
        sub = command(name, act, text)
        sub.set_defaults(task=task, scale=None)
        sub.add_argument("input", type=Path, metavar="IN")
        sub.add_argument("output", type=Path, metavar="OUT")
        if task == "sr":
            sub.add_argument("--scale", type=int, choices=(2, 4), help="by how much (default: as model or file say; 4)")
        sub.add_argument("--model", metavar="NAME", help=f"see `models` (default: {default})")
        if act is _downscale:
            sub.add_argument("--refine", type=int, default=0, metavar="STEPS", help="move the small image by so "
                             "many gradient steps towards what its decoder needs (default: 0; 3 to 30, see README)")
            sub.add_argument("--likeness", type=float, metavar="WEIGHT", help="of the deviation from the ordinary "
                             "small image (default: no weight, but it stays as like as without refinement)")
            sub.add_argument("--for", dest="channel", default="8bit", metavar="CHANNEL", help="what the small image "
                             "will meet: jpeg:90, webp:85, noise:0.02, jpeg:75+resize:0.9 ... (default: a PNG file)")

    command("models", _models, "the stored models with their size and scores")

    sub = command("evaluate", _evaluate, "score a model on a set or on a folder of own images (SHRT: its large image; "
                  "SLR: how close the small one is to an ordinary one; SHRB, SLRB: one half with an ordinary other)")
    sub.add_argument("--model", metavar="NAME", required=True)
    sub.add_argument("--set", metavar="SET", help="a registered set or a folder (default: Sample, or SampleClip)")
    sub.add_argument("--channel", default="8bit", help='what happens to the small image: "jpeg:90", "noise:0.05", ...')
    return whole


def _each(source: Path, target: Path, work: Callable[[Path, Path], None], jpeg: bool = False) -> int:
    """work(in, out) for each pair of files; in a folder a bad one is told at the end and stops none of the others."""
    from tqdm import tqdm

    from tadlib.tool.pictures import inputs, pairs, refuse_inputs

    todo = pairs(source, target, jpeg)
    known = inputs(todo)
    if len(todo) == 1 and not source.is_dir():
        work(*todo[0])
        return 0
    bad: list[BadInput] = []
    for one, other in tqdm(todo, desc=source.name, unit="image", disable=None):
        try:
            refuse_inputs(other, known)
            work(one, other)
        except BadInput as error:
            bad.append(error)
    for trouble in bad:
        tell(trouble)
    print(f"{len(todo) - len(bad)} of {len(todo)} images written to {target}")
    return 2 if bad else 0


def _downscale(options: argparse.Namespace) -> int | None:
    from tadlib.tool.codec import Codec
    from tadlib.tool.pictures import How, check, downscale_file
    from tadlib.tool.video import downscale_clip, is_video

    how = How(options.refine, options.likeness, options.channel)
    check(how)
    codec = Codec.find(options.model, options.scale, task=options.task)
    if is_video(options.input) or is_video(options.output) or (options.input.is_dir() and codec.frames > 1):
        print(f"{downscale_clip(codec, options.input, options.output, how)} frames written to {options.output}")
        return None
    jpeg = how.channel.startswith("jpeg") and "+" not in how.channel
    return _each(options.input, options.output, lambda i, o: downscale_file(codec, i, o, how), jpeg)


def _upscale(options: argparse.Namespace) -> int | None:
    from functools import cache, partial

    from tadlib.tool.codec import Codec
    from tadlib.tool.pictures import upscale_file
    from tadlib.tool.video import first_origin, is_video, upscale_clip

    find = cache(partial(Codec.find, task=options.task))
    chosen = find(options.model, options.scale) if options.model else None
    notes: dict[str, None] = {}  # each is told once, and at the end: an error is one line

    def codec_for(origin: Origin | None) -> Codec:
        if chosen:
            if origin and origin.model != chosen.name:
                notes[f"--model {chosen.name}, but the picture says that it was made by {origin.model}"] = None
            return chosen
        if origin is None or (options.scale and options.scale != origin.scale):
            codec = find(None, options.scale)
            notes[f"the picture does not say (any more) what made it: taken as one by {codec.name}, see --model"] = None
            return codec
        return find(origin.model, origin.scale)

    def looks_around() -> bool:
        try:
            return options.input.is_dir() and codec_for(first_origin(options.input)).frames > 1
        except BadInput:  # in a folder of pictures one that is bad is told, and stops none of the others
            return False

    if is_video(options.input) or is_video(options.output) or looks_around():
        print(f"{upscale_clip(codec_for, options.input, options.output)} frames written to {options.output}")
        code = 0
    else:
        code = _each(options.input, options.output, lambda i, o: upscale_file(codec_for, i, o))
    for note in notes:
        tell(note)
    return code


def _models(options: argparse.Namespace) -> None:
    from tadlib.tool import models

    sets = ("Set5", "Set14", "Sample")
    heads = ["model", "network", "scale", "params", "steps", *(f"{name} RGB dB" for name in sets)]
    rows = []
    for name in models.names():
        trained = models.find(name)
        means = models.mean_scores(trained.folder, trained.run.scale)
        rows.append([name, trained.run.model, f"x{trained.run.scale}", f"{trained.record['params']:,}",
                     str(trained.run.steps), *(f"{means[s]:.2f}" if s in means else "" for s in sets)])
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in [heads, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _evaluate(options: argparse.Namespace) -> None:
    from tadlib.channel import Channel
    from tadlib.data.sets import load
    from tadlib.tool import models

    try:
        from tadlib.evaluation.protocol import score
        from tadlib.evaluation.scores import means
    except ModuleNotFoundError as error:
        raise BadInput(f"evaluate takes the package {error.name}: pip install 'tadlib[workbook]'") from None
    channel = str(Channel.parse(options.channel))
    trained = models.find(options.model)
    network, scale = trained.network(), trained.run.scale
    name = options.set or ("SampleClip" if network.head.frames > 1 else "Sample")
    rows = score(network, load(name), scale, trained.run.guide, (channel,))
    shown = rows.drop(columns=["sigma", "channel"])
    print(shown.round(3).to_string(index=False))
    facts = {"run": options.model, "model": options.model, "params": network.parameters_count, "scale": scale,
             "set": name}
    print("\nmean")
    print(means(rows.assign(**facts)).drop(columns=["run", "sigma"]).round(3).to_string(index=False))


def guarded(act: Callable[[], int | None], name: str, interrupted: str = "interrupted") -> int:
    """Do it, and say what went wrong in one line: the exit code of a command of this name."""
    try:
        return act() or 0
    except (BadInput, FloatingPointError) as error:  # the second: a training whose loss is no number any more
        tell(error, name)
        return getattr(error, "code", 2)
    except BrokenPipeError:  # who reads what we print has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it ends
        return 0
    except OSError as error:  # what a place does not allow: a name too long, a folder that may not be listed
        tell(f"{error.filename}: {error.strerror}" if error.filename else error, name)
        return 2
    except KeyboardInterrupt:
        tell(interrupted, name)
        return 130


def prepare(quiet: bool = True) -> None:
    """Once, for a process that is a command.

    SIGTERM and SIGHUP end it in order, so that what is half written is put away; `quiet`: Python's own words alone go
    to stderr, not what libtiff and its kin print by themselves.
    """
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, frame: sys.exit(128 + number))
    if not quiet:
        return
    own = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    sys.stderr = os.fdopen(own, "w", buffering=1, errors="backslashreplace")
