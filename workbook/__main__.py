"""The workbook's command line: python -m workbook COMMAND ... (see --help). Bad input: one clear line, exit code 2."""
from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from tadlib.errors import BadInput, tell
from tadlib.settings import HELP
from tadlib.tool.commands import guarded, prepare

NAME = "workbook"
Act = Callable[[argparse.Namespace], int | None]


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    goes_on = "; a training goes on from its last checkpoint, a minute old at most"
    trains = options.act in (_train, _slice, _batch)
    return guarded(lambda: options.act(options), NAME, "interrupted" + goes_on * trains)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workbook", epilog=HELP, description="The report's studies: train, "
                                     "measure, draw.", formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, act: Act, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(act=act)
        return sub

    command("networks", _networks, "every architecture: its layers in words, parameters, multiply-adds")

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
    _profile(sub, "gpu")

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


def _profile(parser: argparse.ArgumentParser, default: str = "cpu") -> None:
    parser.add_argument("--profile", choices=("smoke", "cpu", "gpu"), default=default, help=f"default: {default}")


def _networks(options: argparse.Namespace) -> None:
    from workbook.tables import architectures_table

    print(architectures_table().to_string(index=False, justify="left"))


def _data(options: argparse.Namespace) -> int | None:
    from tadlib import settings
    from tadlib.data import sets

    if options.download:
        return _download(options.download)
    print(f"data folder: {settings.data_folder()} (set TAD_DATA to use another)\n")
    for name, entry in sets.registry().items():
        state = "here" if sets.is_here(name) else f"absent ({len(sets.files(name))} of {entry['images']})"
        print(f"{name:12} {state:28} {entry['use']:18} {entry['about']}")
        fetched = f" (or --download {name})" if "archives" in entry else ""
        print(f"{'':12} {'licence: ' + entry['licence']}; from {entry['address']}{fetched}")
        if options.fingerprint and sets.is_here(name):
            found = sets.fingerprint(name)
            word = ("the same pixels as in the stored runs" if found == entry.get("fingerprint") else
                    "NOT the pixels of the stored runs" if "fingerprint" in entry else
                    "not in tadlib/data/sets.toml yet")
            print(f"{'':12} {found}: {word}")
    return None


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
    from tadlib.data import sets
    from tadlib.evaluation.scores import scores
    from tadlib.training.fit import fit
    from workbook import studies

    for name in options.score or ():
        sets.load(name)  # says so where there is no such set
    for name in options.runs or studies.ALL:
        try:
            run = studies.named(name, options.profile)
        except KeyError as error:
            raise BadInput(error.args[0]) from None
        trained = fit(run, options.retrain)
        print(f"{trained.folder.name}: {trained.record['minutes']} minutes", flush=True)
        if trained.run != run:
            tell(f"{name}: its data is not here; this is its stand-in, trained on the bundled sample", NAME)
        for own in (n for n in run.train if not sets.is_registered(n) and sets.is_here(n)):
            if sets.fingerprint(own) != trained.record["data"][own]["fingerprint"]:
                tell(f"{name}: {own} was changed since (--retrain)", NAME)
        only = [studies.Scoring(tuple(options.score))] if options.score else []
        for wanted in studies.scoring(trained.run) if options.score is None else only:
            scores(trained, *wanted)


def _slice(options: argparse.Namespace) -> int:
    from tadlib.stored import on_this_machine
    from workbook import slices, studies

    if options.number not in studies.GPU_SLICES:
        raise BadInput(f"no slice {options.number}; there are: {', '.join(map(str, studies.GPU_SLICES))}")
    planned = studies.GPU_SLICES[options.number]
    minutes = planned.minutes if options.minutes is None else options.minutes
    beside = planned.beside if options.beside is None else options.beside
    if minutes <= 0 or beside <= 0:
        raise BadInput("--minutes and --beside have to be above 0")
    slices.unpack(options.resume, options.profile)
    for name in planned.runs:
        run = studies.named(name, options.profile)
        if on_this_machine(run) != run:  # the sample in its stead is nothing that one wants to bring home
            raise BadInput(f"{name}: not all of its training data is here (see `python -m workbook data`)")
    done = slices.work(planned.runs, options.profile, minutes, beside)
    for path in slices.pack(planned.runs, options.profile, options.out, f"slice{options.number}"):
        print(path)
    print(f"complete: {len(done)} of {len(planned.runs)}" + "".join(f"\n  {name}" for name in done))
    return 0 if len(done) == len(planned.runs) else 3


def _speed(options: argparse.Namespace) -> None:
    from workbook.speed import measure_speed

    print(measure_speed(options.profile))


def _claims(options: argparse.Namespace) -> None:
    from workbook.claims import ledger, write

    print(write(options.profile))
    print(ledger(options.profile)[["id", "measured", "verdict", "threshold"]].to_string(index=False))


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
