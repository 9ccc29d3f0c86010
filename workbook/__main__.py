"""The workbook's command line: python -m workbook COMMAND ... (see --help). Bad input: one clear line, exit code 2."""
from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tadlib import settings
from tadlib.errors import BadInput, tell
from tadlib.settings import HELP
from tadlib.tool.commands import guarded, prepare

if TYPE_CHECKING:
    from tadlib.run import Run

NAME = "workbook"
Act = Callable[[argparse.Namespace], int | None]


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    goes_on = "; a training goes on from its last checkpoint, a minute old at most"
    trains = options.act in (_train, _sweep, _batch)
    return guarded(lambda: options.act(options), NAME, "interrupted" + goes_on * trains)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workbook", epilog=HELP, description="The report's studies: train, "
                                     "measure, draw.", formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, act: Act, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(act=act)
        return sub

    sub = command("networks", _networks, "every architecture: its layers in words, parameters, multiply-adds")
    sub.add_argument("--json", action="store_true", help="as JSON: a list of objects")

    sub = command("data", _data, "the data sets: what each is, its licence, whether it is here")
    sub.add_argument("--fingerprint", action="store_true", help="of the pixels here, and whether the runs used them")
    sub.add_argument("--json", action="store_true", help="as JSON: a list of objects")
    sub.add_argument("--download", nargs="+", metavar="SET",
                     help="fetch these from their official addresses; without this no connection is opened")

    sub = command("train", _train, "train one or more runs of the studies (all that lack, if none is named)")
    sub.add_argument("runs", nargs="*", metavar="RUN")
    _profile(sub)
    sub.add_argument("--retrain", action="store_true", help="also what is stored already (all of it again, should it "
                     "be interrupted: then name what is left)")
    sub.add_argument("--score", nargs="*", metavar="SET", help="score only on these (default: what studies need)")
    _computing(sub)

    sub = command("sweep", _sweep, "train and score runs side by side, on this machine, a Ray cluster or SLURM (all "
                  "that lack, if none is named)")
    sub.add_argument("runs", nargs="*", metavar="RUN")
    _profile(sub)
    sub.add_argument("--notebook", action="append", default=[], metavar="NN", help="what this one needs (repeatable)")
    sub.add_argument("--cpus-per-run", type=float, default=1, metavar="N")
    sub.add_argument("--gpus-per-run", type=float, metavar="X", help="0.25: four share one (default: 1 if any; "
                     "with SLURM none, and whole ones only)")
    sub.add_argument("--engine", choices=("ray", "slurm"), default="ray")
    sub.add_argument("--address", metavar="HOST:PORT", help="of a running Ray cluster, or auto (default: one is "
                     "started here)")
    sub.add_argument("--partition", metavar="NAME", help="of SLURM's")
    sub.add_argument("--hours", type=float, default=4, help="of a SLURM job, which is queued again after them")
    _computing(sub)

    sub = command("speed", _speed, "time every net on this machine (let nothing else run): results/PROFILE/speed.csv")
    _profile(sub)

    sub = command("refine", _refine, "measure what refining the small image gives: results/PROFILE/refined.csv")
    sub.add_argument("runs", nargs="*", metavar="RUN", help="default: all that notebook 08 shows and that lacks")
    sub.add_argument("--set", nargs="+", metavar="SET", help="default: Set5")
    sub.add_argument("--steps", type=int, nargs="+", metavar="N", help="default: 0 3 5 10 30")
    sub.add_argument("--for", dest="channel", metavar="CHANNEL", help="what the code is made for (default: 8bit)")
    sub.add_argument("--met", nargs="+", metavar="CHANNEL", help="what it meets as well")
    sub.add_argument("--likeness", type=float, metavar="WEIGHT", help="default: as like as without refinement")
    sub.add_argument("--scale", type=int, metavar="S", help="default: the run's own")
    sub.add_argument("--first", type=int, metavar="N", help="only the first so many images by name")
    sub.add_argument("--at-once", action="store_true", help="round the code all at once, for comparison")
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


def _profile(parser: argparse.ArgumentParser, default: str = "cpu") -> None:
    parser.add_argument("--profile", choices=("smoke", "cpu", "gpu"), default=default, help=f"default: {default}")


def _computing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, metavar="M", help="stop after so many, with a checkpoint, exit code 3")
    parser.add_argument("--device", help=settings.VARIABLES["TAD_DEVICE"])
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), help="default: auto, what is faster here")


def _named(name: str, profile: str) -> Run:
    """A run of the studies. Raises BadInput where there is none of that name."""
    from workbook import studies

    try:
        return studies.named(name, profile)
    except KeyError as error:
        raise BadInput(error.args[0]) from None


def _set(options: argparse.Namespace) -> None:
    """What the options of `_computing` say, for this process and those that it starts. Raises BadInput."""
    if options.minutes is not None:
        if not options.minutes > 0:
            raise BadInput("--minutes has to be above 0")
        settings.put("TAD_UNTIL", time.time() + 60 * options.minutes)
    settings.put("TAD_DEVICE", options.device)
    settings.put("TAD_PRECISION", options.precision)


def _networks(options: argparse.Namespace) -> None:
    from workbook.tables import architectures_table

    table = architectures_table()
    print(table.to_json(orient="records", indent=1) if options.json else table.to_string(index=False, justify="left"))


def _data(options: argparse.Namespace) -> int | None:
    from tadlib.data import sets

    if options.download:
        return _download(options.download)
    if options.json:
        known = [_known(name, options.fingerprint) for name in sets.registry()]
        print(json.dumps(known, indent=1))
        return 2 if any(not entry.get("fingerprint", "none asked") for entry in known) else None
    broken = False
    print(f"data folder: {settings.data_folder()} (set TAD_DATA to use another)\n")
    for name, entry in sets.registry().items():
        state = "here" if sets.is_here(name) else f"absent ({len(sets.files(name))} of {entry['images']})"
        print(f"{name:12} {state:28} {entry['use']:18} {entry['about']}")
        fetched = f" (or --download {name})" if "archives" in entry else ""
        print(f"{'':12} {'licence: ' + entry['licence']}; from {entry['address']}{fetched}")
        if options.fingerprint and sets.is_here(name):
            found = _fingerprint(name)
            broken = broken or not found
            word = ("a picture cannot be read" if not found else
                    "the same pixels as in the stored runs" if found == entry.get("fingerprint") else
                    "NOT the pixels of the stored runs" if "fingerprint" in entry else
                    "not in tadlib/data/sets.toml yet")
            print(f"{'':12} {found or 'none'}: {word}")
    return 2 if broken else None


def _fingerprint(name: str) -> str | None:
    """That of a set which is here; None where a picture of it is broken, which is told."""
    from tadlib.data import sets

    try:
        return sets.fingerprint(name)
    except BadInput as error:
        tell(error, NAME)
        return None


def _known(name: str, fingerprint: bool) -> dict[str, object]:
    """What there is to say of a set: its entry in sets.toml, how many of its images are here, and their fingerprint."""
    from tadlib.data import sets

    said = {"set": name} | {key: value for key, value in sets.registry()[name].items() if key != "fingerprint"}
    said |= {"files": len(sets.files(name)), "here": sets.is_here(name)}
    return said | ({"fingerprint": _fingerprint(name)} if fingerprint and said["here"] else {})


def _download(names: list[str]) -> int:
    """Fetch each; one that cannot be had is told and stops none of the others."""
    from workbook.downloads import download

    code = 0
    for name in names:
        try:
            print(f"{name}: {'downloaded' if download(name) else 'is here already'}", flush=True)
        except BadInput as error:
            tell(error, NAME)
            code = 2
    return code


def _train(options: argparse.Namespace) -> None:
    from pathlib import Path

    from tadlib.data import sets
    from tadlib.machine import best_device, join
    from tadlib.tool.pictures import left_out
    from tadlib.training.fit import fit
    from workbook import studies
    from workbook.scores import scores

    _set(options)
    best_device()  # says so where there is none
    for name in options.score or ():
        sets.load(name)  # says so where there is no such set
    for name in options.runs or studies.ALL:
        run = _named(name, options.profile)
        trained = fit(run, options.retrain)
        if join() > 0:  # under torchrun the first process tells and scores
            continue
        print(f"{trained.folder.name}: {trained.record['minutes']} minutes", flush=True)
        if trained.run != run:
            tell(f"{name}: its data is not here; this is its stand-in, trained on the bundled sample", NAME)
        for own in (n for n in run.train if not sets.is_registered(n) and sets.is_here(n)):
            if others := left_out(Path(own.removesuffix(sets.DEEP)), None, own.endswith(sets.DEEP)):
                tell(f"{name}: {own}: left out: {others}", NAME)
            if sets.fingerprint(own) != trained.record["data"][own]["fingerprint"]:
                tell(f"{name}: {own} was changed since (--retrain)", NAME)
        only = [studies.Scoring(tuple(options.score))] if options.score else []
        if options.score is None and not trained.has_weights:  # git keeps those of few: what is scored is scored
            continue
        for wanted in studies.scoring(trained.run) if options.score is None else only:
            scores(trained, *wanted)


def _sweep(options: argparse.Namespace) -> int:
    from workbook.engines import Engine, Ray, Slurm
    from workbook.sweep import plan, sweep

    _set(options)
    cpus, gpus = options.cpus_per_run, options.gpus_per_run
    if not cpus > 0 or not options.hours > 0 or (gpus or 0) < 0:
        raise BadInput("--cpus-per-run and --hours have to be above 0, --gpus-per-run not below")
    runs = plan(options.runs, options.notebook, options.profile)
    if not runs:
        print("nothing to do: every run is trained and scored")
        return 0
    engine: Engine
    if options.engine == "ray":
        engine = Ray(options.address, cpus, gpus)
    else:
        engine = Slurm(settings.checkpoints(options.profile).resolve() / "jobs", cpus, gpus, options.partition,
                       options.hours)
    return sweep(runs, engine, options.profile, max(1, int(cpus)))


def _speed(options: argparse.Namespace) -> None:
    from workbook.speed import measure_speed

    print(measure_speed(options.profile))


def _refine(options: argparse.Namespace) -> None:
    from workbook import refinement

    wishes = {"sets": tuple(options.set or ()), "steps": tuple(options.steps or ()), "channel": options.channel,
              "met": tuple(options.met or ()), "likeness": options.likeness, "scale": options.scale,
              "first": options.first}
    given = {name: wish for name, wish in wishes.items() if wish not in ((), None)} | (
        {"settle": False} if options.at_once else {})
    if given and not options.runs:
        raise BadInput("without the name of a run what notebook 08 lacks is measured, and it takes no option but "
                       "--profile")
    plans = [refinement.Plan(_named(name, options.profile).name, **given) for name in options.runs]
    for plan in plans or refinement.missing(options.profile):
        refinement.measure(plan, options.profile)
    print(refinement.path(options.profile))


def _claims(options: argparse.Namespace) -> None:
    from workbook.claims import ledger, write

    print(write(options.profile))
    print(ledger(options.profile)[["id", "measured", "verdict", "rule"]].to_string(index=False))


def _readme(options: argparse.Namespace) -> None:
    from workbook.readme import update_readme

    print("README.md updated" if update_readme() else "README.md is up to date")


def _publish(options: argparse.Namespace) -> None:
    from workbook.publish import publish

    for path in publish():
        print(path)


def _batch(options: argparse.Namespace) -> int:
    from workbook.batch import batch

    return batch(options.profile, options.only or [], options.retrain)


if __name__ == "__main__":
    prepare(quiet=bool({"data", "train"} & set(sys.argv[1:2])))  # the others start programs that would inherit it
    sys.exit(main())
