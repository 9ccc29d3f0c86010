"""What the commands of `tadlib` do. Nothing is loaded before it is needed: torch takes a second."""
from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import FrameType

from tadlib import __version__, settings
from tadlib.errors import BadInput, tell
from tadlib.tool import jobs

# Which extra of the package brings what the commands can do without
EXTRAS = {"torch": "torch", "safetensors": "torch", "onnx": "export", "pandas": "workbook", "skimage": "workbook"}
NEEDED = ("numpy", "PIL", "onnxruntime", "tqdm")  # always; missing in a clone that was not installed


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
        sub.add_argument("--jobs", type=_count, default=1, metavar="N", help="so many pictures of a folder at once, a "
                         "process of one thread each (pictures only; default: 1, with every core)")
        sub.add_argument("--recursive", action="store_true", help="folders in the folder count too")
        sub.add_argument("--fps", type=_fps, metavar="N", help="of a clip: frames a second, as 30 or 30000/1001, "
                         "whatever it says of itself")
        sub.add_argument("--no-sound", action="store_true", help="of a clip: without its sound")
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
    sub.add_argument("--recursive", action="store_true", help="folders in the folder count too")
    sub.add_argument("--json", action="store_true", help="as JSON: the images and their means")
    sub.add_argument("--channel", default="8bit", help='what happens to the small image: "jpeg:90", "noise:0.05", ...')
    return whole


def _count(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,8}", text):
        raise argparse.ArgumentTypeError("a whole number from 1 on")
    return int(text)


def _fps(text: str) -> Fraction:
    if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6}|/[1-9][0-9]{0,3})?", text):
        number = Fraction(text).limit_denominator(1001)
        if 0 < number <= 1000:
            return number
    raise argparse.ArgumentTypeError("frames a second, up to 1000, as 30 or 23.976 or 30000/1001")


def _downscale(options: argparse.Namespace) -> int:
    from tadlib.tool.video import Wish, clips, downscale_clip, is_video
    from tadlib.tool.work import Down

    work = Down(options)
    codec, how = work.codec, work.how
    wish = Wish(options.fps, options.keep_broken, not options.no_sound, work.notes)
    films = clips(options.input, options.output, options.recursive)
    if films:
        code = jobs.each_clip(films, lambda i, o: downscale_clip(codec, i, o, how, wish), options)
    elif is_video(options.input) or is_video(options.output) or (
            options.input.is_dir() and (codec.frames > 1 or options.fps)):
        count = downscale_clip(codec, options.input, options.output, how, wish)
        print(f"{count} frames written to {options.output}")
        code = 0
    else:
        code = jobs.each(options, work, jpeg=how.is_jpeg)
    for note in work.notes:
        tell(note)
    return code


def _upscale(options: argparse.Namespace) -> int:
    from tadlib.tool.video import Wish, clips_back, first_origin, is_video, upscale_clip
    from tadlib.tool.work import Up

    work = Up(options)
    wish = Wish(options.fps, sound=not options.no_sound, notes=work.notes)

    def looks_around() -> bool:
        try:
            return options.input.is_dir() and work.codec_for(first_origin(options.input)).frames > 1
        except BadInput:  # in a folder of pictures one that is bad is told, and stops none of the others
            return False

    one = is_video(options.output) or options.recursive
    films = [] if one else clips_back(options.input, options.output, options.fps)
    if films:
        code = jobs.each_clip(films, lambda i, o: upscale_clip(work.codec_for, i, o, wish), options)
    elif is_video(options.input) or is_video(options.output) or looks_around():
        print(f"{upscale_clip(work.codec_for, options.input, options.output, wish)} frames written to {options.output}")
        code = 0
    else:
        code = jobs.each(options, work)
    for note in work.notes:  # each is told once, and at the end: an error is one line
        tell(note)
    return code


def _models(options: argparse.Namespace) -> None:
    from tadlib.tool import models

    sets = ("Set5", "Set14", "Sample")
    heads = ["model", "scale", "params", "MAC/px down", "up", "steps", *(f"{name} RGB dB" for name in sets), "what for"]
    found = [models.facts(name) for name in models.names()]
    if options.json:
        print(json.dumps(found, indent=1))
        return
    rows = []
    for said in found:
        means = said.get("psnr_rgb", {})
        rows.append([said["model"], f"x{said['scale']}" if "scale" in said else "",
                     f"{said['params']:,}" if "params" in said else "",
                     *(f"{count:,.0f}" for count in said.get("multiply_adds", ())),
                     *[""] * (2 - len(said.get("multiply_adds", ()))), str(said.get("steps", "")),
                     *(f"{means[s]:.2f}" if s in means else "" for s in sets), said.get("for", "")])
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in [heads, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _evaluate(options: argparse.Namespace) -> int:
    from tadlib.channel import Channel
    from tadlib.data import sets
    from tadlib.evaluation.protocol import means, score
    from tadlib.machine import best_device
    from tadlib.tool import models
    from tadlib.tool.pictures import left_out

    channel = Channel.parse(options.channel)
    trained = models.find(options.model)
    network, scale = trained.network(), trained.run.scale
    name = options.set or ("SampleClip" if network.head.frames > 1 else "Sample")
    own = Path(name).is_dir() and not sets.is_registered(name)
    others = left_out(Path(name), None, options.recursive) if own else ""
    wanted = f"{Path(name)}{sets.DEEP}" if own and options.recursive else name
    if own and not sets.files(wanted):
        raise BadInput(f"{name}: holds no picture{others and f' ({others})'}")
    images = sets.load(wanted, mapped=False)  # writes nothing
    bad, usable = list(images.broken), {}
    for stem, image in images.items():
        width = image.shape[-1] // scale
        if min(image.shape[-2:]) < scale:
            bad.append(f"{stem}: smaller than the scale of {scale}, it cannot be scored")
        elif channel.wanted(image[:, :1], 1)[1] >= width:
            bad.append(f"{stem}: its small image is only {width} pixels wide, nothing of it is left by {channel}")
        else:
            usable[stem] = image
    if bad and (network.head.frames > 1 or not usable):  # of a clip no frame may be missing
        raise BadInput(bad[0])
    rows = score(network.to(best_device()), usable, scale, trained.run.guide, (str(channel),))
    values = [column for column in rows if column.startswith("psnr")]
    rows[values] = rows[values].clip(upper=100)  # as in the means: there are pictures without an error
    shown = rows.drop(columns=["sigma", "channel"])
    facts = {"run": options.model, "model": options.model, "params": network.parameters_count, "scale": scale,
             "set": name}
    mean = means(rows.assign(**facts)).drop(columns=["run", "sigma"])
    if options.json:
        both = {"images": shown, "mean": mean}
        print(json.dumps({key: json.loads(table.to_json(orient="records")) for key, table in both.items()}, indent=1))
    else:
        print(f"{shown.round(3).to_string(index=False)}\n\nmean\n{mean.round(3).to_string(index=False)}")
    if others:
        tell(f"{name}: left out: {others}")
    for line in bad:
        tell(line)
    return 2 if bad else 0


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
        if package not in EXTRAS and package not in NEEDED:
            raise
        how = f"pip install 'tadlib[{EXTRAS[package]}]'" if package in EXTRAS else ".venv/bin/python, or pip install ."
        tell(f"this takes the package {package}: {how}", name)
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
    at, heard = frame, False
    while at:
        if at.f_code.co_filename.startswith("<frozen importlib"):  # nothing is written yet
            tell("interrupted")
            os._exit(128 + number)
        heard = heard or at.f_code is guarded.__code__
        at = at.f_back
    if number == signal.SIGINT and heard:
        raise KeyboardInterrupt
    if number == signal.SIGINT:  # before the command begins or after it has ended
        tell("interrupted")
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
