"""Tables from records. Nothing here is typed in, trained or scored.

PSNR is in dB, of all pixels of an image, the mean over images, capped at 100 (tadlib.evaluation: the protocol).
"""
from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from tadlib import networks
from tadlib.channel import Channel
from tadlib.evaluation.protocol import means
from tadlib.files import replacing
from tadlib.networks.tad import multiply_adds
from tadlib.settings import ROOT, results
from workbook import studies
from workbook.records import read_table
from workbook.scores import scores


def save(rows: pd.DataFrame, name: str, profile: str) -> Path:
    """Write results/<profile>/tables/<name>.csv (only if it changes) and return its path. Raises BadInput."""
    path = results(profile) / "tables" / f"{name}.csv"
    text = rows.to_csv(index=False, float_format="%.4f", lineterminator="\n")
    if not path.exists() or path.read_text() != text:
        with replacing(path) as temporary:
            temporary.write_text(text)
    return path


def made(name: str, profile: str = "cpu", columns: Sequence[str] = ()) -> pd.DataFrame:
    """A table that another notebook made. Raises BadInput where it is not there, damaged or lacks one of `columns`."""
    path = results(profile) / "tables" / f"{name}.csv"
    return read_table(path, columns, absent="not there; run the notebook that makes it first")


def quoted() -> dict:
    """Numbers that others printed, by name, each with its source (data/quoted.toml)."""
    return tomllib.loads((ROOT / "data" / "quoted.toml").read_text())


def printed(name: str) -> pd.DataFrame:
    """One entry of `quoted` as a table, a row for each method."""
    entry = {k: v for k, v in quoted()[name].items() if k != "source"}
    return pd.DataFrame.from_dict(entry, orient="index")


# ---------------------------------------------------------------------------------------------- what was measured

def score_table(names: Sequence[str], sets: tuple[str, ...], profile: str = "cpu", kinds: tuple[str, ...] = ("SHRT",),
                channels: tuple[str, ...] = ("8bit",), scale: int | None = None) -> pd.DataFrame:
    """Mean stored scores: a row for each run, set, kind, channel and draw, in the order asked for, with its folder."""
    tables = []
    for name in dict.fromkeys(names):
        trained = studies.trained(name, profile)
        found = means(scores(trained, sets, channels, scale, measure=False))
        tables.append(found.assign(run=name, folder=trained.folder.name))
    rows = pd.concat(tables, ignore_index=True)
    rows = rows[rows["kind"].isin(kinds) & rows["channel"].isin(channels)]
    return _in_order(rows, set=sets, kind=kinds, channel=channels, run=tuple(names))


def _in_order(rows: pd.DataFrame, **place: tuple[str, ...]) -> pd.DataFrame:
    """Rows sorted by these columns, the values of each in the order given."""
    return rows.sort_values(list(place), key=lambda c: c.map(place[str(c.name)].index), ignore_index=True,
                            kind="stable")


def noise_table(names: Sequence[str], profile: str = "cpu") -> pd.DataFrame:
    """PSNR against the noise on X_SLR: a row for each run and sigma, mean over images and draws, extremes of the draws.

    Columns run, folder, set, scale, sigma, psnr_rgb, psnr_y, low, high (RGB dB). Every run on the same set.
    """
    rows = score_table(names, (studies.best_set(profile),), profile, channels=("8bit", *studies.EVERY_NOISE))
    groups = rows.groupby(["run", "folder", "set", "scale", "sigma"], sort=False)
    table = groups.agg(psnr_rgb=("psnr_rgb", "mean"), psnr_y=("psnr_y", "mean"),
                       low=("psnr_rgb", "min"), high=("psnr_rgb", "max"))
    return _in_order(table.reset_index(), run=tuple(names))


def card(names: Sequence[str], sets: tuple[str, ...], profile: str = "cpu") -> pd.DataFrame:
    """The robustness card: mean stored PSNR of runs by set and by what happened to the small image, in words."""
    rows = score_table(names, sets, profile, channels=("8bit", *studies.HAPPENS))
    rows = rows.groupby(["run", "set", "channel"], sort=False)[["psnr_rgb", "psnr_y"]].mean().reset_index()
    rows.insert(3, "happened", [Channel.parse(text).words for text in rows["channel"]])
    return rows


def front_table(names: Sequence[str], profile: str = "cpu") -> pd.DataFrame:
    """What likeness costs: a row for each run and for the held-out crops and the study's main set.

    Columns run, folder, term (of the latent loss), weight (beta), epsilon, set, slr (RGB PSNR of X_SLR against the
    guidance, dB) and shr (of X_SHR against the truth). On the held-out crops: the end of the learning curve.
    """
    main = studies.best_set(profile)
    found = score_table(names, (main,), profile, ("SLR", "SHRT")).pivot(index="run", columns="kind", values="psnr_rgb")
    rows = []
    for name in names:
        trained = studies.trained(name, profile)
        run, last = trained.run, trained.history.iloc[-1]
        term = {"l1": "ball" if 0 < run.epsilon < 100 else "L1", "l2": "squared", "hinge": "hinge"}[run.latent]
        same = {"run": name, "folder": trained.folder.name, "term": term,
                "weight": 0.0 if run.epsilon == 100 else run.beta, "epsilon": run.epsilon}  # 100 %: no latent term
        rows.append(same | {"set": "held-out crops", "slr": last["held_out_slr"], "shr": last["held_out_shr"]})
        rows.append(same | {"set": main, "slr": found.loc[name, "SLR"], "shr": found.loc[name, "SHRT"]})
    return pd.DataFrame(rows)


def scale_table(names: Sequence[str], profile: str = "cpu", scales: tuple[int, ...] = (2, 4, 8, 16)) -> pd.DataFrame:
    """RGB PSNR at several scales (Tables 1 and 2), a row a run, on Set14 or the sample."""
    main = studies.best_set(profile)
    rows = pd.concat([score_table(names, (main,), profile, scale=scale) for scale in scales])
    table = rows.pivot(index=["run", "folder", "set"], columns="scale", values="psnr_rgb").reindex(columns=scales)
    table = _in_order(table.rename(columns="x{}".format).rename_axis(None, axis=1).reset_index(), run=tuple(names))
    return table.rename(columns={"run": "model", "folder": "run"})


# ---------------------------------------------------------------------------------------------- what there is

def experiments_table(names: list[str], profile: str = "cpu") -> pd.DataFrame:
    """The runs by name, with what they differ in (report, Fig. 25)."""
    rows = []
    for name in names:
        run = studies.named(name, profile)
        scale = "/".join(map(str, run.scales)) or run.scale
        rows.append({"run": name, "network": run.model, "scale": scale, "steps": run.steps, "batch": run.batch,
                     "recipe": run.recipe if run.steps else "", "alpha:beta": f"{run.alpha:g}:{run.beta:g}",
                     "latent": run.latent, "guidance": run.guide,
                     "epsilon": f"{run.epsilon:g} % {run.reading}" if run.epsilon else "0",
                     "added": run.added, "skip": run.net.skip, "noise": run.noise, "seed": run.seed})
    return pd.DataFrame(rows)


def machines_table(names: Sequence[str], profile: str = "cpu") -> pd.DataFrame:
    """How many of these runs were trained in which precision, with how many threads, on what; from their records."""
    records = [t.record for t in (studies.trained(name, profile) for name in dict.fromkeys(names)) if t.run.trains]
    rows = pd.DataFrame([{"precision": r["precision"], "threads": r["machine"]["threads"],
                          "machine": r["machine"]["gpu"] or r["machine"]["cpu"]} for r in records])
    return rows.value_counts().rename("runs").reset_index()


def changes_table(names: Sequence[str], base: str, sets: tuple[str, ...], profile: str = "cpu") -> pd.DataFrame:
    """What each run changes of the base, and what that brings: a row a run, RGB dB above the base on each set."""
    found = score_table([base, *names], sets, profile).pivot(index="run", columns="set", values="psnr_rgb")
    first, rows = asdict(studies.named(base, profile)), []
    for name in names:
        run = asdict(studies.named(name, profile))
        changed = {k: v for k, v in run.items() if v != first[k] and k not in ("name", "watch")}
        rows.append({"run": name, "what is changed": ", ".join(f"{k} {v}" for k, v in changed.items()),
                     "params": studies.named(name, profile).build().parameters_count}
                    | {f"{s}, dB": found.loc[name, s] - found.loc[base, s] for s in sets})
    return pd.DataFrame(rows)


def architectures_table() -> pd.DataFrame:
    """Every architecture with its words, parameters and multiply-adds per HR pixel at x4 (report, Fig. 26)."""
    rows = []
    for name, spec in networks.ZOO.items():
        model = networks.build(name)
        down, up = multiply_adds(model, 1 if spec.task == "colour" else 4)
        rows.append({"name": name, "family": spec.family, "params": model.parameters_count, "MAC/px down": round(down),
                     "MAC/px up": round(up), "encoder": spec.encoder, "decoder": spec.decoder, "note": spec.note})
    return pd.DataFrame(rows)
