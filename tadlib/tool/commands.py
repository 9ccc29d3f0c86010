"""What the commands of `tadlib` do. Nothing is loaded before it is needed: torch takes a second."""
from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from tadlib import __version__, settings
from tadlib.errors import BadInput, tell
from tadlib.tool import jobs

if TYPE_CHECKING:
    from tadlib.tool.codec import Codec
    from tadlib.tool.pictures import Origin


# Which extra of the package brings what the commands can do without
EXTRAS = {"torch": "torch", "safetensors": "torch", "onnx": "export", "pandas": "workbook", "skimage": "workbook"}


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
        sub.add_argument("--backend", choices=("torch", "onnx"), help="what computes (default: torch where it is "
                         "installed, else onnxruntime)")
        sub.add_argument("--device", metavar="WHERE", help="of torch: " + settings.VARIABLES["TAD_DEVICE"])
        sub.add_argument("--skip-existing", action="store_true", help="leave alone what OUT has already (pictures "
                         "only)")
        sub.add_argument("--recursive", action="store_true", help="folders in the folder count too")
        sub.add_argument("--fps", type=_fps, metavar="N", help="of a clip: frames a second, as 30 or 30000/1001, "
                         "whatever it says of itself")
        if act is _downscale:
            sub.add_argument("--refine", type=int, default=0, metavar="STEPS", help="move the small image by so "
                             "many gradient steps towards what its decoder needs (default: 0; 3 to 30, see README)")
            sub.add_argument("--likeness", type=float, metavar="WEIGHT", help="of the deviation from the ordinary "
                             "small image (default: no weight, but it stays as like as without refinement)")
            sub.add_argument("--keep-broken", action="store_true", help="of a film that breaks off, the frames before")
            sub.add_argument("--keep-location", action="store_true", help="where the picture was taken stays in it")
            sub.add_argument("--for", dest="channel", default="8bit", metavar="CHANNEL", help="what the small image "
                             "will meet: jpeg:90, webp:85, noise:0.02, jpeg:75+resize:0.9 ... (default: a PNG file)")

    sub = command("models", _models, "the stored models with their size and scores")
    sub.add_argument("--json", action="store_true", help="as JSON: a list of objects")

    sub = command("export", _export, "a model to carry away: ONNX files or weights, with a model card")
    sub.add_argument("name", metavar="NAME", help="see `models`")
    sub.add_argument("output", type=Path, metavar="OUT", help="a folder; it is made")
    sub.add_argument("--format", choices=("onnx", "safetensors"), default="onnx", help="(default: onnx)")

    sub = command("evaluate", _evaluate, "score a model on a set or on a folder of own images (SHRT: its large image; "
                  "SLR: how close the small one is to an ordinary one; SHRB, SLRB: one half with an ordinary other)")
    sub.add_argument("--model", metavar="NAME", required=True)
    sub.add_argument("--set", metavar="SET", help="a registered set or a folder (default: Sample, or SampleClip)")
    sub.add_argument("--json", action="store_true", help="as JSON: the images and their means")
    sub.add_argument("--channel", default="8bit", help='what happens to the small image: "jpeg:90", "noise:0.05", ...')
    return whole


def _fps(text: str) -> Fraction:
    number = Fraction(text).limit_denominator(1001)
    if not 0 < number <= 1000:
        raise ValueError
    return number


def _downscale(options: argparse.Namespace) -> int:
    from tadlib.tool.codec import Codec
    from tadlib.tool.pictures import How, check, downscale_file
    from tadlib.tool.video import Wish, clips, downscale_clip, is_video

    how = How(options.refine, options.likeness, options.channel, options.keep_location)
    check(how)
    codec = Codec.find(options.model, options.scale, task=options.task, backend=options.backend)
    wish = Wish(options.fps, options.keep_broken)
    films = clips(options.input, options.output, options.recursive)
    if films:
        code = jobs.each_clip(films, lambda i, o: downscale_clip(codec, i, o, how, wish), options)
    elif is_video(options.input) or is_video(options.output) or (
            options.input.is_dir() and (codec.frames > 1 or options.fps)):
        count = downscale_clip(codec, options.input, options.output, how, wish)
        print(f"{count} frames written to {options.output}")
        code = 0
    else:
        jpeg = how.channel.startswith("jpeg") and "+" not in how.channel
        code = jobs.each(options, lambda i, o: downscale_file(codec, i, o, how), wish.notes, jpeg)
    for note in wish.notes:
        tell(note)
    return code


def _upscale(options: argparse.Namespace) -> int:
    from functools import cache, partial

    from tadlib.tool.codec import Codec
    from tadlib.tool.pictures import upscale_file
    from tadlib.tool.video import Wish, clips_back, first_origin, is_video, upscale_clip

    find = cache(partial(Codec.find, task=options.task, backend=options.backend))
    chosen = find(options.model, options.scale) if options.model else None
    wish = Wish(options.fps)
    notes = wish.notes  # each is told once, and at the end: an error is one line

    def codec_for(origin: Origin | None) -> Codec:
        for option, said in (("model", origin and origin.model), ("scale", origin and origin.scale)):
            given = getattr(options, option)
            if given and said and given != said:
                raise BadInput(f"--{option} {given}, but the picture says that it was made by {option} {said}")
        if chosen:
            return chosen
        if origin is None:
            codec = find(None, options.scale)
            notes[f"the picture does not say (any more) what made it: taken as one by {codec.name}, see --model"] = None
            return codec
        return find(origin.model, origin.scale)

    def looks_around() -> bool:
        try:
            return options.input.is_dir() and codec_for(first_origin(options.input)).frames > 1
        except BadInput:  # in a folder of pictures one that is bad is told, and stops none of the others
            return False

    films = [] if is_video(options.output) or options.recursive else clips_back(options.input, options.output)
    if films:
        code = jobs.each_clip(films, lambda i, o: upscale_clip(codec_for, i, o, wish), options)
    elif is_video(options.input) or is_video(options.output) or looks_around():
        print(f"{upscale_clip(codec_for, options.input, options.output, wish)} frames written to {options.output}")
        code = 0
    else:
        code = jobs.each(options, lambda i, o: upscale_file(codec_for, i, o), notes)
    for note in notes:
        tell(note)
    return code


def _models(options: argparse.Namespace) -> None:
    from tadlib.tool import models

    sets = ("Set5", "Set14", "Sample")
    heads = ["model", "network", "scale", "params", "steps", *(f"{name} RGB dB" for name in sets)]
    found = [models.facts(name) for name in models.names()]
    if options.json:
        print(json.dumps(found, indent=1))
        return
    rows = []
    for said in found:
        means = said.get("psnr_rgb", {})
        rows.append([said["model"], said.get("network", ""), f"x{said['scale']}" if "scale" in said else "",
                     f"{said['params']:,}" if "params" in said else "", str(said.get("steps", "")),
                     *(f"{means[s]:.2f}" if s in means else "" for s in sets)])
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in [heads, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _evaluate(options: argparse.Namespace) -> None:
    from tadlib.channel import Channel
    from tadlib.data.sets import load
    from tadlib.evaluation.protocol import means, score
    from tadlib.tool import models

    channel = str(Channel.parse(options.channel))
    trained = models.find(options.model)
    network, scale = trained.network(), trained.run.scale
    name = options.set or ("SampleClip" if network.head.frames > 1 else "Sample")
    rows = score(network, load(name), scale, trained.run.guide, (channel,))
    shown = rows.drop(columns=["sigma", "channel"])
    facts = {"run": options.model, "model": options.model, "params": network.parameters_count, "scale": scale,
             "set": name}
    mean = means(rows.assign(**facts)).drop(columns=["run", "sigma"])
    if options.json:
        both = {"images": shown, "mean": mean}
        print(json.dumps({key: json.loads(table.to_json(orient="records")) for key, table in both.items()}, indent=1))
        return
    print(shown.round(3).to_string(index=False))
    print("\nmean")
    print(mean.round(3).to_string(index=False))


def _export(options: argparse.Namespace) -> None:
    from tadlib.tool.export import export

    for path in export(options.name, options.output, options.format):
        print(f"{path}: {path.stat().st_size:,} bytes")


def guarded(act: Callable[[], int | None], name: str, interrupted: str = "interrupted") -> int:
    """Do it, and say what went wrong in one line: the exit code of a command of this name."""
    try:
        return act() or 0
    except (BadInput, FloatingPointError) as error:  # the second: a training whose loss is no number any more
        tell(error, name)
        return getattr(error, "code", 2)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        tell(f"this takes the package {package}: pip install 'tadlib[{EXTRAS[package]}]'", name)
        return 2
    except (MemoryError, RuntimeError, ImportError) as error:
        if not jobs.lacks_memory(error):
            raise
        tell("there is not enough memory for it", name)
        return 2
    except BrokenPipeError:  # who reads what we print has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it ends
        return 0
    except OSError as error:  # what a place does not allow: a name too long, a folder that may not be listed
        tell(f"{error.filename}: {error.strerror}" if error.filename else error, name)
        return 2
    except KeyboardInterrupt:
        tell(interrupted, name)
        return 130


def _end(number: int, frame: FrameType | None) -> None:
    """What SIGINT, SIGTERM and SIGHUP do: an exception, but where a library is half loaded, which makes it anything."""
    at = frame
    while at:
        if at.f_code.co_filename.startswith("<frozen importlib"):  # nothing is written yet
            tell("interrupted")
            os._exit(128 + number)
        at = at.f_back
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def prepare(quiet: bool = True) -> None:
    """Once, for a process that is a command.

    SIGTERM and SIGHUP end it in order, so that what is half written is put away; `quiet`: Python's own words alone go
    to stderr, not what libtiff and its kin print by themselves.
    """
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _end)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell may want it ignored
        signal.signal(signal.SIGINT, _end)
    if not quiet:
        return
    own = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    sys.stderr = os.fdopen(own, "w", buffering=1, errors="backslashreplace")
