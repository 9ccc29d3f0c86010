"""The command line: python -m tadlib COMMAND ... (see --help). Bad input: one clear line, exit code 2."""
from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from tadlib.images import BadInput


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        return options.act(options) or 0
    except (BadInput, FloatingPointError) as error:  # the second: a training whose loss is no number any more
        _tell(error)
        return getattr(error, "code", 2)
    except BrokenPipeError:  # who reads what we print has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it ends
        return 0
    except OSError as error:  # what a place does not allow: a name too long, a folder that may not be listed
        _tell(f"{error.filename}: {error.strerror}" if error.filename else error)
        return 2
    except KeyboardInterrupt:
        trains = options.act in (_train, _slice, _batch)
        _tell("interrupted" + "; a training goes on from its last checkpoint, a minute old at most" * trains)
        return 130


def _tell(error: Exception | str) -> None:
    print("tadlib:", *str(error).splitlines(), file=sys.stderr)  # one line, whatever the name of a file holds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tadlib", description="Task-aware downscaling of images.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, act, text: str) -> argparse.ArgumentParser:
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

    command("networks", _networks, "every architecture: its layers in words, parameters, multiply-adds")

    command("models", _models, "the stored models with their size and scores")

    sub = command("evaluate", _evaluate, "score a model on a set or on a folder of own images (SHRT: its large image; "
                  "SLR: how close the small one is to an ordinary one; SHRB, SLRB: one half with an ordinary other)")
    sub.add_argument("--model", metavar="NAME", required=True)
    sub.add_argument("--set", metavar="SET", help="a registered set or a folder (default: Sample, or SampleClip)")
    sub.add_argument("--channel", default="8bit", help='what happens to the small image: "jpeg:90", "noise:0.05", ...')

    sub = command("data", _data, "the data sets: what each is, its licence, whether it is here")
    sub.add_argument("--fingerprint", action="store_true", help="of the pixels here, and whether the runs used them")
    sub.add_argument("--download", nargs="+", metavar="SET",
                     help="fetch these from their official addresses; without this no connection is opened")

    sub = command("train", _train, "train one or more runs of the studies (all that lack, if none is named)")
    sub.add_argument("runs", nargs="*", metavar="RUN")
    _profile(sub)
    sub.add_argument("--retrain", action="store_true", help="also what is stored already")
    sub.add_argument("--score", nargs="*", metavar="SET", help="score only on these (default: what studies need)")

    sub = command("slice", _slice, "train a slice of the GPU study against the clock and pack what was reached")
    sub.add_argument("number", type=int, metavar="N")
    sub.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the packed files go")
    sub.add_argument("--resume", type=Path, nargs="*", default=[], metavar="TAR", help="go on from these")
    sub.add_argument("--minutes", type=float, help="default: the slice's")
    sub.add_argument("--beside", type=int, help="so many at a time (default: the slice's)")
    sub.add_argument("--profile", choices=("smoke", "cpu", "gpu"), default="gpu", help="default: gpu")

    sub = command("speed", _speed, "time every net on this machine (let nothing else run): results/PROFILE/speed.csv")
    _profile(sub)

    sub = command("claims", _claims, "the report's claims with what is measured here: results/PROFILE/claims.csv")
    _profile(sub)

    command("readme", _readme, "write the README's table of results from the stored records")

    command("publish", _publish, "put the notebooks that the last batch executed in notebooks/, cleaned")

    sub = command("batch", _batch, "run every notebook; train first what is missing")
    _profile(sub)
    sub.add_argument("--only", action="append", metavar="NN", help="only notebooks whose name starts so (repeatable)")
    sub.add_argument("--retrain", action="store_true", help="train again what is stored already")
    return parser


def _profile(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--profile", choices=("smoke", "cpu", "gpu"), default="cpu", help="default: cpu")


def _each(source: Path, target: Path, work) -> int:
    """work(in, out) for each pair of files; in a folder a bad one is told at the end and stops none of the others."""
    from tqdm import tqdm

    from tadlib.codec import pairs

    todo = pairs(source, target)
    if len(todo) == 1 and not source.is_dir():
        work(*todo[0])
        return 0
    bad = []
    for one, other in tqdm(todo, desc=source.name, unit="image", disable=None):
        try:
            work(one, other)
        except BadInput as error:
            bad.append(error)
    for error in bad:
        _tell(error)
    print(f"{len(todo) - len(bad)} of {len(todo)} images written to {target}")
    return 2 if bad else 0


def _downscale(options) -> int | None:
    from tadlib.clips import is_video
    from tadlib.codec import Codec, downscale_clip, downscale_file

    codec = Codec.find(options.model, options.scale, task=options.task)
    if is_video(options.input) or is_video(options.output):
        print(f"{downscale_clip(codec, options.input, options.output)} frames written to {options.output}")
        return None
    return _each(options.input, options.output, lambda i, o: downscale_file(codec, i, o))


def _upscale(options) -> int | None:
    from functools import cache, partial

    from tadlib.clips import is_video
    from tadlib.codec import Codec, Origin, first_origin, upscale_clip, upscale_file

    find = cache(partial(Codec.find, task=options.task))
    chosen = find(options.model, options.scale) if options.model else None
    notes = {}  # each is told once, and at the end: an error is one line

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
        _tell(note)
    return code


def _networks(options) -> None:
    from tadlib.report import architectures_table

    print(architectures_table().to_string(index=False, justify="left"))


def _models(options) -> None:
    from tadlib.report import models_table

    print(models_table().to_string(index=False))


def _evaluate(options) -> None:
    from tadlib.codec import Codec
    from tadlib.datasets import load
    from tadlib.evaluation import means, score

    codec = Codec.find(options.model, task=None)
    name = options.set or ("SampleClip" if codec.frames > 1 else "Sample")
    try:
        rows = score(codec.network, load(name), codec.scale, codec.guide, (options.channel,))
    except (ValueError, OverflowError) as error:  # an unknown channel, or a number that is none
        raise BadInput(f"channel {options.channel!r}: {error}") from None
    shown = rows.drop(columns=["sigma", "channel"])
    print(shown.round(3).to_string(index=False))
    facts = {"run": codec.name, "model": codec.name, "params": codec.network.parameters_count,
             "scale": codec.scale, "set": name}
    print("\nmean")
    print(means(rows.assign(**facts)).drop(columns=["run", "sigma"]).round(3).to_string(index=False))


def _data(options) -> int | None:
    from tadlib import datasets

    if options.download:
        return _download(options.download)
    print(f"data folder: {datasets.data_folder()} (set TAD_DATA to use another)\n")
    for name, entry in datasets.registry().items():
        state = "here" if datasets.is_here(name) else f"absent ({len(datasets.files(name))} of {entry['images']})"
        print(f"{name:12} {state:28} {entry['use']:18} {entry['about']}")
        fetched = f" (or --download {name})" if "archives" in entry else ""
        print(f"{'':12} {'licence: ' + entry['licence']}; from {entry['address']}{fetched}")
        if options.fingerprint and datasets.is_here(name):
            found = datasets.fingerprint(name)
            word = ("the same pixels as in the stored runs" if found == entry.get("fingerprint") else
                    "NOT the pixels of the stored runs" if "fingerprint" in entry else "not in data/sets.toml yet")
            print(f"{'':12} {found}: {word}")
    return None


def _download(names: list[str]) -> int:
    """Fetch each; one that cannot be had is told and stops none of the others."""
    from tadlib.downloads import download

    code = 0
    for name in names:
        try:
            print(f"{name}: {'downloaded' if download(name) else 'is here already'}", flush=True)
        except BadInput as error:
            _tell(error)
            code = 2
    return code


def _train(options) -> None:
    from tadlib import datasets, studies
    from tadlib.evaluation import scores
    from tadlib.training import fit

    for name in options.score or ():
        datasets.load(name)  # says so where there is no such set
    for name in options.runs or studies.ALL:
        try:
            run = studies.run(name, options.profile)
        except KeyError as error:
            raise BadInput(error.args[0]) from None
        trained = fit(run, options.retrain)
        print(f"{trained.folder.name}: {trained.record['minutes']} minutes", flush=True)
        if trained.run != run:
            _tell(f"{name}: its data is not here; this is its stand-in, trained on the bundled sample")
        for own in (n for n in run.train if not datasets.is_registered(n) and datasets.is_here(n)):
            if datasets.fingerprint(own) != trained.record["data"][own]["fingerprint"]:
                _tell(f"{name}: {own} was changed since (--retrain)")
        only = [studies.Scoring(tuple(options.score))] if options.score else []
        for wanted in studies.scoring(trained.run) if options.score is None else only:
            scores(trained, *wanted)


def _slice(options) -> int:
    from tadlib import slices, studies
    from tadlib.runs import on_this_machine

    if options.number not in studies.GPU_SLICES:
        raise BadInput(f"no slice {options.number}; there are: {', '.join(map(str, studies.GPU_SLICES))}")
    planned = studies.GPU_SLICES[options.number]
    minutes = planned.minutes if options.minutes is None else options.minutes
    beside = planned.beside if options.beside is None else options.beside
    if minutes <= 0 or beside <= 0:
        raise BadInput("--minutes and --beside have to be above 0")
    slices.unpack(options.resume, options.profile)
    for name in planned.runs:
        run = studies.run(name, options.profile)
        if on_this_machine(run) != run:  # the sample in its stead is nothing that one wants to bring home
            raise BadInput(f"{name}: not all of its training data is here (see `python -m tadlib data`)")
    done = slices.work(planned.runs, options.profile, minutes, beside)
    for path in slices.pack(planned.runs, options.profile, options.out, f"slice{options.number}"):
        print(path)
    print(f"complete: {len(done)} of {len(planned.runs)}" + "".join(f"\n  {name}" for name in done))
    return 0 if len(done) == len(planned.runs) else 3


def _speed(options) -> None:
    from tadlib.speed import measure_speed

    print(measure_speed(options.profile))


def _claims(options) -> None:
    from tadlib.claims import ledger, write

    print(write(options.profile))
    print(ledger(options.profile)[["id", "measured", "verdict", "threshold"]].to_string(index=False))


def _readme(options) -> None:
    from tadlib.report import update_readme

    print("README.md updated" if update_readme() else "README.md is up to date")


def _publish(options) -> None:
    from tadlib.batch import publish

    for path in publish():
        print(path)


def _batch(options) -> int:
    from tadlib.batch import batch

    return batch(options.profile, options.only or [], options.retrain)


if __name__ == "__main__":
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, frame: sys.exit(128 + number))  # so that what is half written is put away
    sys.exit(main())
