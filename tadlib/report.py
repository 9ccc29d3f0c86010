"""Tables from records. Nothing here is typed in or trained."""
from __future__ import annotations

import math
import os
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown
from matplotlib.figure import Figure

from tadlib import flow, networks, plots, runs, studies
from tadlib.channel import send
from tadlib.codec import available
from tadlib.datasets import ROOT, data_folder, is_clip, is_here, load, registry
from tadlib.evaluation import means, scores
from tadlib.guidance import guidance
from tadlib.images import BadInput, crop_to_multiple, read_image, rgb_to_y, to_float
from tadlib.networks.sofvsr import enlarge
from tadlib.networks.tad import multiply_adds
from tadlib.runs import Trained

README_MARKS = ("<!-- results: made by `python -m tadlib readme` from results/cpu -->", "<!-- end of results -->")


def stored(name: str, profile: str = "cpu") -> Trained:
    """A stored run by name."""
    return runs.stored(studies.run(name, profile))


def score_table(names: list[str], sets: tuple[str, ...], profile: str = "cpu", kinds: tuple[str, ...] = ("SHRT",),
                channels: tuple[str, ...] = ("8bit",), scale: int | None = None) -> pd.DataFrame:
    """Mean stored scores: a row for each run, set, kind, channel and draw, in the order asked for, with its folder."""
    rows = []
    for name in dict.fromkeys(names):
        trained = stored(name, profile)
        found = means(scores(trained, sets, channels, scale, measure=False))
        rows.append(found.assign(run=name, folder=trained.folder.name))
    rows = pd.concat(rows, ignore_index=True)
    rows = rows[rows["kind"].isin(kinds) & rows["channel"].isin(channels)]
    return _in_order(rows, set=sets, kind=kinds, channel=channels, run=tuple(names))


def _in_order(rows: pd.DataFrame, **place: tuple) -> pd.DataFrame:
    """Rows sorted by these columns, the values of each in the order given."""
    return rows.sort_values(list(place), key=lambda c: c.map(place[c.name].index), ignore_index=True, kind="stable")


def scored_sets(name: str, profile: str, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the wanted sets or clips on which a run was scored or can be (none in a smoke run); else the sample."""
    path = stored(name, profile).folder / "scores.csv"
    scored = set(pd.read_csv(path, usecols=["set"])["set"]) if path.exists() else set()
    known = studies.clips(profile) if is_clip(wanted[0]) else studies.sets(profile)
    return tuple(s for s in wanted if s in known and (s in scored or is_here(s))) or known[:1]


def best_set(profile: str) -> str:
    """The set for a study's main curve: Set14, or the sample in its stead."""
    return scored_sets("aetad", profile, ("Set14",))[0]


def quoted() -> dict:
    """Numbers that others printed, by name, each with its source (data/quoted.toml)."""
    return tomllib.loads((ROOT / "data" / "quoted.toml").read_text())


def printed(name: str) -> pd.DataFrame:
    """One entry of `quoted` as a table, a row for each method."""
    entry = {k: v for k, v in quoted()[name].items() if k != "source"}
    return pd.DataFrame.from_dict(entry, orient="index")


def made(name: str, profile: str = "cpu") -> pd.DataFrame:
    """A table that another notebook made. Raises BadInput where it is not there."""
    path = runs.results(profile) / "tables" / f"{name}.csv"
    if not path.exists():
        raise BadInput(f"{path}: not there; run the notebook that makes it first")
    return pd.read_csv(path)


def drawn(name: str, profile: str = "cpu") -> Markdown:
    """A figure that another notebook drew, for a cell to show: a link, which weighs nothing. Raises BadInput."""
    folders = [runs.results(p) / "figures" for p in (profile, "sample")]  # the second: drawn with stand-ins
    found = [f for folder in folders for f in sorted(folder.glob(f"{name}.*"))]
    if not found:
        raise BadInput(f"{folders[0] / name}: not there; run the notebook that draws it first")
    return Markdown(f"![{name}]({Path(os.path.relpath(found[0], ROOT / 'notebooks')).as_posix()})")


def experiments_table(names: list[str], profile: str = "cpu") -> pd.DataFrame:
    """The runs by name, with what they differ in (report, Fig. 25)."""
    rows = []
    for name in names:
        run = studies.run(name, profile)
        scale = "/".join(map(str, run.scales)) or run.scale
        rows.append({"run": name, "network": run.model, "scale": scale, "steps": run.steps, "batch": run.batch,
                     "recipe": run.recipe if run.steps else "", "alpha:beta": f"{run.alpha:g}:{run.beta:g}",
                     "latent": run.latent, "guidance": run.guide,
                     "epsilon": f"{run.epsilon:g} % {run.reading}" if run.epsilon else "0",
                     "added": run.added, "skip": run.net.skip, "noise": run.noise, "seed": run.seed})
    return pd.DataFrame(rows)


def seed_range(name: str, set_name: str, profile: str = "cpu") -> tuple[float, float]:
    """Lowest and highest mean RGB PSNR over the seeds of a run (itself and its `_seed` siblings); NaN for one."""
    family = [n for n in studies.SEEDS.get(name, (name,)) if runs.is_trained(studies.run(n, profile))]
    if len(family) < 2:
        return float("nan"), float("nan")
    found = score_table(family, (set_name,), profile)["psnr_rgb"]
    return found.min(), found.max()


@torch.inference_mode()
def passes(net, image: torch.Tensor, scale: int) -> list[torch.Tensor]:
    """What the decoder has made after each of its passes: uint8 (3, H, W) -> float images (1, 3, ., .).

    The last one is X_SHR for a net without a skip.
    """
    x = send(net.encode(to_float(image), scale))
    return [x := net.decoder(x) for _ in range(net.passes(scale))]


def rate_distortion(names: list[str], profile: str = "cpu") -> tuple[Figure, pd.DataFrame]:
    """PSNR against bits per HR pixel: small images as PNG, and JPEG and WebP files of the HR image, per set."""
    sets = scored_sets("aetad", profile, ("Set5", "Set14"))
    rows = []
    for name in ["original", *names]:
        trained = stored(name, profile)
        found = scores(trained, sets, studies.FILES_OF_HR if name == "original" else ("8bit",), measure=False)
        found = found[found["kind"] == "SHRT"]
        found = found[(found["channel"] != "8bit") | (name != "original")].copy()
        found["bits"] = 8 * found["lr_bytes"] / found["pixels"]
        mean = found.groupby(["set", "channel"], sort=False)[["bits", "psnr_rgb", "psnr_y"]].mean()
        rows.append(mean.reset_index().assign(model=name, run=trained.folder.name))
    table = pd.concat(rows, ignore_index=True)
    figure = Figure(figsize=(4.9 * len(sets), 4.2), layout="constrained")
    for ax, set_name in zip(figure.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
        here = table[table["set"] == set_name]
        for kind in ("jpeg", "webp"):
            one = here[(here["model"] == "original") & here["channel"].str.startswith(f"{kind}:")].sort_values("bits")
            ax.plot(one["bits"], one["psnr_rgb"], ".-", label=f"{kind.upper()} of the HR image")
        for name in names:
            one = here[here["model"] == name]
            ax.plot(one["bits"], one["psnr_rgb"], "s", label=f"{name}, small image as PNG")
        ax.set(xscale="log", xlabel="bits per HR pixel", ylabel="RGB PSNR, dB", title=set_name)
        ax.set_xticks((0.25, 0.5, 1, 2, 4), ("0.25", "0.5", "1", "2", "4"))
        ax.set_xticks((), minor=True)
        ax.legend(fontsize=7)
    return figure, table


def at_equal_bytes(rates: pd.DataFrame, mine: pd.DataFrame, kind: str) -> float:
    """Mean RGB PSNR of files of a kind ("jpeg", "webp") with as many bytes as `mine` has for the same images.

    `rates`: rows of the run "original", several qualities an image; PSNR is interpolated over log bytes, and is that of
    the best or worst quality beyond them.
    """
    found = []
    for row in mine.itertuples():
        one = rates[(rates["image"] == row.image) & rates["channel"].str.startswith(f"{kind}:")].sort_values("lr_bytes")
        found.append(np.interp(math.log(row.lr_bytes), np.log(one["lr_bytes"]), one["psnr_rgb"]))
    return float(np.mean(found))


def noise_table(names: list[str], profile: str = "cpu") -> pd.DataFrame:
    """PSNR against the noise on X_SLR: a row for each run and sigma, mean over images and draws, extremes of the draws.

    Columns run, folder, set, scale, sigma, psnr_rgb, psnr_y, low, high (RGB dB). Every run on the same set.
    """
    rows = score_table(names, (best_set(profile),), profile, channels=("8bit", *studies.NOISES))
    rows = rows.groupby(["run", "folder", "set", "scale", "sigma"], sort=False)
    table = rows.agg(psnr_rgb=("psnr_rgb", "mean"), psnr_y=("psnr_y", "mean"),
                     low=("psnr_rgb", "min"), high=("psnr_rgb", "max"))
    return _in_order(table.reset_index(), run=tuple(names))


def card(names: list[str], sets: tuple[str, ...], profile: str = "cpu") -> pd.DataFrame:
    """The robustness card: mean stored PSNR of runs by set and by what happened to the small image, in words."""
    rows = score_table(names, sets, profile, channels=("8bit", *studies.HAPPENS))
    rows = rows.groupby(["run", "set", "channel"], sort=False)[["psnr_rgb", "psnr_y"]].mean().reset_index()
    rows.insert(3, "happened", rows["channel"].map(_in_words))
    return rows


def _in_words(channel: str) -> str:
    """What a channel of the card is to a reader."""
    kind, _, value = channel.partition(":")
    if kind == "noise":
        return "noise, one grey level" if channel == studies.ONE_LEVEL else f"noise, sigma {value}"
    words = {"8bit": "nothing", "jpeg": "JPEG {}, 4:2:0", "jpeg444": "JPEG {}, 4:4:4", "webp": "WebP {}",
             "shift": "moved by {} pixel", "resize": "resized by {} and back", "gamma": "gamma {}",
             "cycles": "{} times down and up"}
    return words[kind].format(value)


def noise_gain(name: str, profile: str = "cpu", sigma: float = 0.01) -> dict:
    """What small noise on X_SLR becomes in X_SHR, and how far X_SLR lies from the guidance, in 8-bit levels (RMS).

    gain = sqrt(MSE(sigma) - MSE(0)) / (255 sigma): 1 means as strong as it came. From the stored scores alone.
    """
    rows = scores(stored(name, profile), (best_set(profile),), ("8bit", f"noise:{sigma}"), measure=False)
    error = 255**2 * 10 ** (-rows["psnr_rgb"].clip(upper=100) / 10)
    shrt = error[rows["kind"] == "SHRT"].groupby(rows["sigma"]).mean()
    close = error[(rows["kind"] == "SLR") & (rows["channel"] == "8bit")].mean()
    return {"run": name, "clean dB": means(rows).query("kind == 'SHRT' and sigma == 0")["psnr_rgb"].mean(),
            "X_SLR from guidance, levels": close**0.5,
            "gain": max(0.0, shrt[sigma] - shrt[0.0]) ** 0.5 / (255 * sigma)}


def front_table(names: list[str], profile: str = "cpu") -> pd.DataFrame:
    """What likeness costs: a row for each run and for the held-out crops and the study's main set.

    Columns run, folder, term (of the latent loss), weight (beta), epsilon, set, slr (RGB PSNR of X_SLR against the
    guidance, dB) and shr (of X_SHR against the truth). On the held-out crops: the end of the learning curve.
    """
    main = best_set(profile)
    found = score_table(names, (main,), profile, ("SLR", "SHRT")).pivot(index="run", columns="kind", values="psnr_rgb")
    rows = []
    for name in names:
        trained = stored(name, profile)
        run, last = trained.run, trained.history.iloc[-1]
        term = {"l1": "ball" if 0 < run.epsilon < 100 else "L1", "l2": "squared", "hinge": "hinge"}[run.latent]
        same = {"run": name, "folder": trained.folder.name, "term": term,
                "weight": 0.0 if run.epsilon == 100 else run.beta, "epsilon": run.epsilon}  # 100 %: no latent term
        rows.append(same | {"set": "held-out crops", "slr": last["held_out_slr"], "shr": last["held_out_shr"]})
        rows.append(same | {"set": main, "slr": found.loc[name, "SLR"], "shr": found.loc[name, "SHRT"]})
    return pd.DataFrame(rows)


def share_open(history: pd.DataFrame) -> float:
    """The share of a training's steps at which the gate was open (a curve's rows hold means since the row before)."""
    steps = history["step"].diff().fillna(history["step"])
    return float((history["gate_open"] * steps).sum() / steps.sum())


def scale_table(names: list[str], profile: str = "cpu", scales: tuple[int, ...] = (2, 4, 8, 16)) -> pd.DataFrame:
    """RGB PSNR at several scales (Tables 1 and 2), a row a run, on Set14 or the sample."""
    rows = pd.concat([score_table(names, (best_set(profile),), profile, scale=scale) for scale in scales])
    table = rows.pivot(index=["run", "folder", "set"], columns="scale", values="psnr_rgb").reindex(columns=scales)
    table = _in_order(table.rename(columns="x{}".format).rename_axis(None, axis=1).reset_index(), run=tuple(names))
    return table.rename(columns={"run": "model", "folder": "run"})


def flow_scene(name: str, profile: str = "cpu") -> tuple[str, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A scene of Middlebury as (name, two frames uint8 (3, H, W), true flow (2, H, W)), or the synthetic clip's."""
    if profile != "smoke" and is_here("Middlebury"):
        folder = data_folder() / "Middlebury" / name
        frames = [read_image(folder / f"frame{n}.png") for n in (10, 11)]
        return name, *(crop_to_multiple(x, 4) for x in (*frames, flow.read_flow(folder / "flow10.flo")))
    first, second, *_ = load("SampleClip").values()
    dy, dx = registry()["SampleClip"]["pan"][3:]  # the window moves down and right, the picture up and left
    return "SampleClip", first, second, torch.tensor([-dx, -dy]).float().view(2, 1, 1).expand(2, *first.shape[1:])


@torch.inference_mode()
def flows(first: torch.Tensor, second: torch.Tensor, encoders: dict, vsr) -> dict[tuple[str, str], torch.Tensor]:
    """The flow between two frames uint8 (3, H, W) by (what is looked at, by whom), each (2, H, W) in HR pixels.

    Looked at are the HR frames, their bicubic small ones, and those of the encoders (networks by name), as 8-bit codes;
    by Farneback's method and by the flow net of `vsr`, whose flow of small frames is the HR one.
    """
    hr = torch.stack([second, first]).float() / 255  # the neighbour, the centre
    seen = {"HR": hr, "bicubic": send(guidance(hr, 4))}
    seen |= {name: send(net.encode(hr, 4)) for name, net in encoders.items()}
    out = {}
    for name, frames in seen.items():
        neighbour, centre = rgb_to_y(frames).split(1)
        found = vsr.decoder.flow(neighbour, centre)
        out[name, "Farneback"] = enlarge(flow.farneback(neighbour, centre), hr.shape[-2:])[0]
        out[name, "flow net"] = (found.lr if name == "HR" else found.hr)[0]
    return out


def flow_table(encoders: dict, vsr, profile: str = "cpu") -> pd.DataFrame:
    """The end-point error of `flows` on every scene: scene, frames, by, "end-point error" in pixels.

    Measured and stored where Middlebury is, else as it was stored (in a smoke run: on the synthetic clip).
    """
    path = runs.results(profile) / "tables" / "flow.csv"
    if path.exists() and not is_here("Middlebury"):
        return pd.read_csv(path)
    rows = []
    for scene in ("Dimetrodon", "Grove2", "Hydrangea", "RubberWhale", "Venus"):
        name, first, second, truth = flow_scene(scene, profile)
        rows += [{"scene": name, "frames": frames, "by": by, "end-point error": flow.end_point_error(found, truth)}
                 for (frames, by), found in flows(first, second, encoders, vsr).items()]
    table = pd.DataFrame(rows).drop_duplicates(["scene", "frames", "by"]).round(3)
    plots.save_table(table, "flow", profile)
    return table


@torch.no_grad()
def sofvsr_stages(net, side: int = 128) -> list[tuple[str, str]]:
    """What three HR frames go through in a TAD whose decoder is SOF-VSR: (stage, shape), for plots.pipeline.

    The first seven are the whole way, the others what happens inside SOF-VSR. The shapes are those that the modules put
    out, the flow net's for one neighbour.
    """
    names = {"flow.level1": "flow at half LR size", "flow.level2": "flow at LR size", "flow.level3": "flow, HR detail",
             "head": "all frames: conv", "blocks.4": "5 dense blocks", "bottleneck": "concat, 1x1 conv",
             "tail": "3x3 conv"}
    seen = {}
    hooks = [net.decoder.get_submodule(part).register_forward_hook(
        lambda module, inputs, out, part=part: seen.update({part: (inputs[0].shape[1:], out.shape[1:])}))
        for part in names]
    slr, shr = net(torch.zeros(3, 3, side, side), net.spec.vsr)
    for hook in hooks:
        hook.remove()

    def shape(size) -> str:
        return "x".join(map(str, size))

    large, small = shr.shape[-2:], slr.shape[-2:]
    inside = [(text, shape(seen[part][1])) for part, text in names.items()]
    frames, *sides = seen["head"][0]  # what it sees: three frames, and the neighbours moved
    return [("three HR frames", shape((3, 3, side, side))),
            ("encoder, each frame" if net.encoder else "bicubic, each frame", shape(slr.shape)),
            ("8 bit, PNG files", ""), ("Y of the three", shape((3, *small))),
            ("SOF-VSR, see below", shape((1, *large))), ("+ enlarged chroma", ""),
            ("HR centre frame", shape(shr.shape[1:])), *inside[:3], ("neighbours moved", shape((frames - 3, *sides))),
            *inside[3:], ("shuffle: HR Y", shape((1, *large)))]


def models_table(profile: str = "cpu") -> pd.DataFrame:
    """What `python -m tadlib models` prints: name, network, scale, parameters, mean PSNR where it was scored."""
    sets = ("Set5", "Set14", "Sample")
    trained = {name: stored(name, profile) for name in available(profile)}
    rows = pd.DataFrame([{"model": name, "network": one.run.model, "scale": one.run.scale,
                          "params": one.record["params"], "steps": one.run.steps} for name, one in trained.items()])
    if not len(rows):
        return rows
    found = score_table(list(trained), sets, profile).pivot(index="run", columns="set", values="psnr_rgb").round(2)
    return rows.join(found.reindex(columns=sets).add_suffix(" RGB dB"), on="model")


def architectures_table() -> pd.DataFrame:
    """Every architecture with its words, parameters and multiply-adds per HR pixel at x4 (report, Fig. 26)."""
    rows = []
    for name, spec in networks.ZOO.items():
        model = networks.build(name)
        down, up = multiply_adds(model, 1 if spec.task == "colour" else 4)
        rows.append({"name": name, "family": spec.family, "params": model.parameters_count, "MAC/px down": round(down),
                     "MAC/px up": round(up), "encoder": spec.encoder, "decoder": spec.decoder, "note": spec.note})
    return pd.DataFrame(rows)


_README = [  # the kind, the sets, what the small image should resemble, and the runs as they are called there
    ("down and up", [s for s in studies.SCORED if s != "Sample"], "LR to bicubic, Set5", {
        "bicubic": "bicubic, bicubic", "lanczos": "bicubic, Lanczos", "no_tad": "bicubic, `no_tad`",
        "aetad": "`aetad` (the report's)", "tool_x4": "**`tool_x4`**", "robust": "**`robust`**, for lossy ways",
        "bicubic_x2": "bicubic, bicubic", "tool_x2": "**`tool_x2`**"}),
    ("colour from grey", [s for s in studies.SCORED if s != "Sample"], "grey to Y, Set5", {
        "grey": "Y alone, no colour", "cic_color": "Y, guessed (after Zhang et al.)",
        "aetad_color_large": "`aetad_color_large` (the report's)", "tool_color": "**`tool_color`**"}),
    ("video, down and up", list(studies.CLIPS), "LR to bicubic, calendar", {
        "bicubic": "bicubic, bicubic", "sofvsr": "bicubic, SOF-VSR", "aetad_video": "`aetad` frame by frame",
        "sofvsr_tad": "`aetad`, SOF-VSR (the report's recipe)", "tool_x4": "**`tool_x4`** frame by frame",
        "joint_x4": "**`joint_x4`**, three frames"}),
]


def readme_table(profile: str = "cpu") -> str:
    """The README's results as Markdown, a table for each task: RGB / Y PSNR of each model on each set, and likeness."""
    tables = []
    for kind, sets, likeness, names in _README:
        heads = ["scale", kind, "parameters", *(s.rpartition("/")[2] for s in sets), likeness]
        lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
        rows = score_table(list(names), tuple(sets), profile, ("SHRT", "SLR"))
        for name, shown in names.items():
            mine = rows[rows["run"] == name].set_index(["kind", "set"])
            one = [mine.loc[("SHRT", s)] if ("SHRT", s) in mine.index else None for s in sets]
            cells = ["not scored" if r is None else f"{r['psnr_rgb']:.2f} / {r['psnr_y']:.2f}" for r in one]
            close = mine["psnr_rgb"].get(("SLR", sets[0]), 100)
            trained = stored(name, profile)
            lines.append(f"| x{trained.run.scale} | {shown} | {trained.record['params']:,} | " + " | ".join(cells)
                         + f" | {'the same' if close >= 100 else f'{close:.1f}'} |")
        tables.append("\n".join(lines))
    return "\n\n".join([*tables, _beside_others(profile)])


def _beside_others(profile: str) -> str:
    """What others reach at x4, as they say (data/quoted.toml), and what the tool does: PSNR of Y as Markdown."""
    sets = [s for s in studies.SCORED if s != "Sample"]
    entries = {f"{name}, quoted": v for name, v in quoted()["rescaling_x4_y"].items() if name != "source"}
    mine = score_table(["tool_x4"], tuple(sets), profile).set_index("set")["psnr_y"]
    entries["**`tool_x4`**, measured here"] = mine.to_dict()
    lines = [f"| x4, Y alone | {' | '.join(sets)} |", "|---" * (len(sets) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(f'{v[s]:.2f}' for s in sets)} |" for name, v in entries.items()]
    return "\n".join(lines)


def update_readme() -> bool:
    """Put the table made from the records between the README's marks; True if that changed the file."""
    path = ROOT / "README.md"
    text = path.read_text()
    before, rest = text.split(README_MARKS[0])
    _, after = rest.split(README_MARKS[1])
    new = f"{before}{README_MARKS[0]}\n{readme_table()}\n{README_MARKS[1]}{after}"
    if new != text:
        path.write_text(new)
    return new != text
