"""Which runs exist, which notebook needs them, what is measured of whom. A new run is one line here.

Study nets are the report's, trained equally (as many steps of the same batch: the defaults of tadlib.run.Run) and
compared with each other. Tool nets are what a person uses, trained longer. The two are never mixed in one figure
without saying so. The name of a run is that of its folder, so a row keeps its name once it is trained.
"""
from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from tadlib import stored
from tadlib.data import sets
from tadlib.evaluation.protocol import KINDS
from tadlib.networks import ZOO, spec
from tadlib.run import PROFILES, Run
from tadlib.stored import Trained
from workbook.scores import read

SCORED = ("Sample", *sets.TEST_SETS)
FILES_OF_HR = tuple(f"{kind}:{q}" for kind in ("jpeg", "webp") for q in (2, 5, 10, 20, 30, 50, 70, 80, 90, 95))
GPU_LONGER = {"study": 10, "own": 10, "tool": 4}  # times as many steps, by family, each of twice the batch

STEPS = 1200  # of batch 8 at 96x96: for every study net, on two CPU cores


def _study(name: str, model: str = "aetad", **fields: Any) -> Run:
    return Run(name, model, **({"steps": STEPS} | fields))


ARCHITECTURES = ["vdsr", "no_tad", "aetad_very_small", "aetad_small", "aetad", "aetad_skip", "aetad_skip2",
                 "aetad_large", "aetad_very_large", "aetad_direct4", "conv_only", "conv_only_large",
                 "conv_only_very_large", "conv_only_very_large2"]
_STUDY = [
    *(_study(name, name) for name in ARCHITECTURES),
    _study("aetad_direct4_long", "aetad_direct4", steps=5800),  # the minutes of aetad (speed.csv: a fifth a step)
    # the epsilon-ball, at the report's alpha : beta = 10 : 1 (at 50 : 1, all other runs, it is never reached)
    _study("eps_0", beta=0.1),
    *(_study(f"eps_{e}_observed", beta=0.1, epsilon=e, reading="observed") for e in (10, 20, 50, 100)),
    *(_study(f"eps_{e:g}", beta=0.1, epsilon=e) for e in (0.5, 1, 2, 5)),
    _study("noise_trained", beta=0.1, noise=0.1),
    # what else the report varies, one thing at a time
    _study("aetad_unguided", added=False),
    _study("aetad_x2", scale=2, watch=(4,)),
    _study("aetad_bilinear", guidance="bilinear"),
    _study("aetad_bicubic_skip", skip="bicubic"),
    _study("aetad_report", recipe="report", beta=0.1),
    _study("aetad_any_scale", scales=(2, 4, 8, 16), watch=(2, 8, 16)),
    # the spread between trainings
    *(_study(f"{m}_seed{s}", m, seed=s) for m in ("aetad", "aetad_very_small") for s in (1, 2)),
    *(_study(f"eps_0_seed{s}", beta=0.1, seed=s) for s in (1, 2)),
    *(_study(f"eps_50_observed_seed{s}", beta=0.1, epsilon=50, reading="observed", seed=s) for s in (1, 2)),
    # how much likeness costs (beta 0.02 and 0.1 stand above; epsilon = 100 % is none at all)
    *(_study(f"aetad_beta{b}", beta=b) for b in (0.005, 0.3)),
]
# What the ball is good for: the tool's shape begins as bicubic, where plain L1 has a kink that it has to leave
_KINK = [
    *(_study(f"kink_l1_{b:g}", "tool_x4", beta=b) for b in (0.02, 0.05, 0.1, 0.2)),
    *(_study(f"kink_ball_{e:g}", "tool_x4", beta=0.1, epsilon=e) for e in (0.5, 1, 2)),
    *(_study(f"kink_ball_{e:g}_0.2", "tool_x4", beta=0.2, epsilon=e) for e in (0.5, 1)),
    *(_study(f"kink_l2_{b:g}", "tool_x4", beta=b, latent="l2") for b in (0.3, 1, 5)),
    *(_study(f"kink_hinge_{b:g}", "tool_x4", beta=b, latent="hinge", epsilon=0.8) for b in (0.1, 0.5)),
    _study("tool_x4_report", "tool_x4", recipe="report"),
]
KINK = tuple(run.name for run in _KINK if run.recipe == "modern")
# How to spend the same number of training pixels: many small patches or few large ones, in many steps or few
_BATCHES = [Run(f"batch_{b}x{p}", "tool_x4", steps=n, batch=b, patch=p, beta=0.5, latent="l2")
            for b, p, n in ((8, 96, 2400), (16, 96, 1200), (9, 128, 1200), (36, 64, 1200))]
BATCHES = tuple(run.name for run in _BATCHES)


def _colour(name: str, model: str = "color_shuffle", **fields: Any) -> Run:
    return _study(name, model, **({"scale": 1, "patch": 64} | fields))  # these work at full size: smaller patches


# lets the grey image leave Y before it is drawn back to it (FACTS 7)
RISING: dict[str, Any] = {"beta_start": 0.01, "beta": 0.3}
PUBLISHED = ("aetad_color_small", "aetad_color", "aetad_color_large", "aetad_color_very_large",
             "conv_only_color_large")  # the report's colour family
GUESSING = ("no_tad_color", "cic_color")  # from Y alone
_COLOUR = [
    *(_colour(name, name) for name in (*PUBLISHED, *GUESSING)),
    _colour("color_shuffle", **RISING),
    *(_colour(f"color_shuffle_seed{s}", "color_shuffle", seed=s, **RISING) for s in (1, 2)),
    *(_colour(f"aetad_color_large_seed{s}", "aetad_color_large", seed=s) for s in (1, 2)),
    # which part of the cure cures: the shape alone, the waiting latent weight alone
    _colour("color_shuffle_0.02"),
    _colour("aetad_color_rising", "aetad_color", **RISING),
    *(_colour(f"color_beta{b:g}", beta_start=0.01, beta=b) for b in (0.03, 1)),
    # the epsilon-ball again, at 10 : 1
    _colour("color_eps_0", beta_start=0.01, beta=0.1),
    *(_colour(f"color_eps_{e}_observed", beta_start=0.01, beta=0.1, epsilon=e, reading="observed") for e in (10, 100)),
    _colour("color_eps_1", beta_start=0.01, beta=0.1, epsilon=1),
    _colour("color_noise_trained", beta_start=0.01, beta=0.1, noise=0.1),
]
_TOOL_X4_SHORT = Run("tool_x4_short", "tool_x4", scale=4, steps=5000, batch=64, patch=64, beta=0.5, latent="l2")
# trained on from there, again and again: the mean of the weights reaches back further in a longer training
_TOOL_X4_MIDDLE = replace(_TOOL_X4_SHORT, name="tool_x4_middle", steps=10000, rate=0.75, ema=0.998,
                          start=(_TOOL_X4_SHORT,))
_TOOL_X4_24K = replace(_TOOL_X4_MIDDLE, name="tool_x4_24k", steps=9000, rate=0.5, start=(_TOOL_X4_MIDDLE,))
# with patches that it has not seen: of one seed every go sees the same
_TOOL_X4_36K = replace(_TOOL_X4_24K, name="tool_x4_36k", seed=2, steps=12000, start=(_TOOL_X4_24K,))
# its small images had become 0.1 dB less like bicubic ones: a short last go draws them back
_TOOL_X4 = replace(_TOOL_X4_36K, name="tool_x4", seed=3, steps=1000, rate=0.15, beta=0.6, start=(_TOOL_X4_36K,))
_TOOL_X2_SHORT = Run("tool_x2_short", "tool_x2", scale=2, steps=2000, batch=8, beta=0.03)
# What happens to pictures between people; as often nothing, for the clean result counts most
_HARD_FIRST = ("8bit", "8bit", "8bit", "noise:0..0.1", "jpeg:60..95", "jpeg:85..95", "jpeg:85..95", "jpeg444:60..95",
               "webp:70..95", "resize:0.85..1.0")
_HARD_SECOND = (*["8bit"] * 4, *["jpeg:85..95"] * 3, "noise:0..0.1", "jpeg:60..95", "jpeg444:60..95", "webp:70..95",
                "resize:0.85..1.0")
HARD = ("8bit", "jpeg:85..95", *_HARD_SECOND)
_ROBUST_10K = replace(_TOOL_X4_24K, name="robust_10k", seed=1, steps=10000, rate=0.75, channels=_HARD_SECOND,
                      start=(_TOOL_X4_24K,))
# All before `robust` was trained when the gradient through halved chroma passed by blocks (now linearly: channel.py).
# Trained again these give other nets of the same names: another RECIPE_VERSION would rename every run
_ROBUST_20K = replace(_ROBUST_10K, name="robust_20k", seed=4, rate=0.5, start=(_ROBUST_10K,))
_TOOLS = [
    _TOOL_X4_SHORT,
    _TOOL_X4_MIDDLE,
    _TOOL_X4_24K,
    _TOOL_X4_36K,
    _TOOL_X4,
    *(replace(_TOOL_X4_SHORT, name=name, steps=3000, rate=0.5, channels=_HARD_FIRST, start=(start,))
      for name, start in (("robust_short", _TOOL_X4_SHORT), ("robust_middle", _TOOL_X4_MIDDLE))),
    _ROBUST_10K,
    _ROBUST_20K,
    replace(_ROBUST_20K, name="robust", seed=5, steps=6000, beta=0.3, channels=HARD, start=(_ROBUST_20K,)),
    _TOOL_X2_SHORT,
    replace(_TOOL_X2_SHORT, name="tool_x2", steps=6000, batch=64, patch=48, rate=0.75, ema=0.998,
            start=(_TOOL_X2_SHORT,)),
    Run("tool_color", "tool_color", scale=1, steps=2500, batch=64, patch=48, grey=0.05, **RISING),
    # the fair rival: tool_x4's decoder, trained as long as tool_x4_middle, on small images that nobody made for it
    Run("no_tad_x4", "no_tad_x4", scale=4, steps=15000, batch=64, patch=64, ema=0.998),
]


def _video(name: str, model: str, **fields: Any) -> Run:
    """Trained on three frames, of the clip that the report names and of windows that move over photographs."""
    return _study(name, model, **({"patch": 128, "train": ("VideoTrain", "BSDS_train")} | fields))


# The report's recipe (section 3.5): train on images; fine-tune on video frames; train SOF-VSR on the small frames
_AETAD_VIDEO = _study("aetad_video", steps=300, rate=0.25, train=("VideoTrain",), start=(_study("aetad"),))
_SOFVSR = _video("sofvsr", "sofvsr")
_FROZEN = {"start": (_AETAD_VIDEO, _SOFVSR), "frozen": "decoder", "rate": 0.25}
_VIDEO = [
    _AETAD_VIDEO,
    _SOFVSR,
    _video("sofvsr_tad", "aetad_sofvsr", start=(_AETAD_VIDEO,), frozen="encoder"),
    # what the report gave up: a trained VSR net, or the motion seen in X_SLR, as the loss
    _video("direct", "aetad_sofvsr", steps=300, beta=0.002, **_FROZEN),
    *(_video(f"aim_{aim}", "aetad_sofvsr", steps=200, beta=5, aim=aim, **_FROZEN) for aim in ("farneback", "flow")),
    # encoder and decoder of three frames together: the neighbours' weights zero at first, or drawn; and the same where
    # the decoder sees one frame three times
    *(_video(name, model, rate=0.5, beta=0.5, latent="l2", start=(_TOOL_X4_MIDDLE,), neighbours=name != "joint_still")
      for name, model in (("joint_x4", "joint_x4"), ("joint_free", "joint_free"), ("joint_still", "joint_x4"))),
]
_BASELINES = [
    Run("bicubic", "bicubic", scale=4, steps=0, train=()),
    Run("lanczos", "lanczos", scale=4, steps=0, train=()),
    Run("bicubic_x2", "bicubic", scale=2, steps=0, train=()),
    Run("grey", "grey", scale=1, steps=0, train=()),  # Y, and no colour at all
    Run("original", "bicubic", scale=1, steps=0, train=()),  # the HR image itself, sent as JPEG and WebP
]
ALL = {run.name: run for run in _BASELINES + _STUDY + _KINK + _BATCHES + _COLOUR + _TOOLS + _VIDEO}

# The study over epsilon: which run stands for which value. A ball that is never reached is the run without one
# (notebook 01 shows so from its record), and not trained again.
EPSILON: dict[str, dict[float, str]] = {
    "observed": {0: "eps_0", 1: "eps_0", 10: "eps_10_observed", 20: "eps_20_observed", 50: "eps_50_observed",
                 100: "eps_100_observed"},
    "range": {0: "eps_0", 0.25: "eps_0", 0.5: "eps_0.5", 1: "eps_1", 2: "eps_2", 5: "eps_5"},
}
SIGMAS = (0.01, 0.02, 0.05, 0.11, 0.22, 0.33, 0.5)  # of the noise on X_SLR; the report's range, denser where it acts
NOISES = tuple(f"noise:{s}" for s in SIGMAS)
# and the rest of the report's ten points, of nets of its study whose weights are kept
EVERY_NOISE = tuple(f"noise:{s}" for s in sorted((*SIGMAS, 0.17, 0.28, 0.39, 0.44)))
NOISY = ("bicubic", *dict.fromkeys(n for grid in EPSILON.values() for n in grid.values()), "noise_trained",
         "tool_x4")
VARIED = ("aetad", "aetad_unguided", "aetad_bilinear", "aetad_bicubic_skip")  # one thing at a time
RECIPES = {"aetad": ("eps_0", "aetad_report"), "tool_x4": ("kink_l1_0.02", "tool_x4_report")}  # modern, report
SEEDS = {m: (m, f"{m}_seed1", f"{m}_seed2") for m in ("aetad", "aetad_very_small", "eps_0", "eps_50_observed")}
COLOUR_SEEDS = {m: (m, f"{m}_seed1", f"{m}_seed2") for m in ("color_shuffle", "aetad_color_large")}
# aetad by latent weight, down to none
LIKENESS = ("aetad_beta0.3", "eps_0", "aetad", "aetad_beta0.005", "eps_100_observed")
OTHER_SCALES = ("bicubic", "no_tad", "aetad_very_small", "aetad_very_large", "aetad_any_scale", "aetad",
                *dict.fromkeys(EPSILON["observed"].values()))  # Tables 1 and 2
GOES_X4 = ("tool_x4_short", "tool_x4_middle", "tool_x4_24k", "tool_x4")  # shown; tool_x4_36k lies before the last
# scored on all sets, the others on the first two
TABLE_3 = ("bicubic", "lanczos", "no_tad", "vdsr", "aetad_very_small", "aetad", "aetad_skip2", *GOES_X4, "no_tad_x4",
           "robust_short", "robust_middle", "robust_10k", "robust_20k", "robust", "bicubic_x2", "tool_x2_short",
           "tool_x2")
COLOUR_EPSILON = {0: "color_eps_0", 1: "color_eps_1", 10: "color_eps_10_observed", 100: "color_eps_100_observed"}
COLOUR_NOISY = ("grey", *COLOUR_EPSILON.values(), "color_noise_trained")
ONE_LEVEL = f"noise:{1 / 255:.5f}"
ACCIDENTS = ("float", ONE_LEVEL, "jpeg:95", "jpeg:90", "webp:90")  # that happen to a grey image
COLOUR_SENT = ("grey", "color_shuffle", "tool_color", "color_noise_trained")
COLOUR_PARTS = ("aetad_color", "aetad_color_rising", "color_shuffle_0.02", "color_shuffle")  # of the cure
COLOUR_FRONT = ("color_beta0.03", "color_eps_0", "color_shuffle", "color_beta1")
# The robustness card: what may happen to a small image, and to whose
CARD = ("bicubic", "no_tad", "eps_0", "eps_10_observed", "noise_trained", "tool_x4", "robust")
HAPPENS = (ONE_LEVEL, "noise:0.02", "noise:0.05", "noise:0.11", "noise:0.22",
           *(f"jpeg444:{q}" for q in (95, 90, 75, 30)), *(f"jpeg:{q}" for q in (95, 90, 75, 50, 30)),
           "webp:90", "webp:50", "shift:1", "resize:0.9", "gamma:1.1", "cycles:5")
CLIPS = ("Vid4/calendar", "Vid4/city", "Vid4/foliage", "Vid4/walk")
TABLE_5 = ("bicubic", "no_tad", "sofvsr", "aetad_video", "sofvsr_tad", "direct", *GOES_X4, "joint_still",
           "joint_free", "joint_x4")
AIMS = ("aim_farneback", "aim_flow")
TABLE_4 = ("grey", "cic_color", "aetad_color", "aetad_color_large", "color_shuffle", "tool_color")
NEEDS = {  # notebook -> names of runs
    "00_quickstart": ["bicubic", "lanczos", "no_tad", "aetad", "no_tad_x4", "tool_x4", "tool_x2", "bicubic_x2"],
    "01_epsilon_study": [*NOISY, *KINK, *SEEDS["eps_0"], *SEEDS["eps_50_observed"]],
    "02_sisr_architectures": [*ARCHITECTURES, *GOES_X4, "no_tad_x4", "tool_x2", "bicubic",
                              "lanczos", "bicubic_x2", "original", "aetad_x2", "aetad_any_scale",
                              "aetad_direct4_long", *VARIED, *LIKENESS, *BATCHES,
                              *(n for names in (*SEEDS.values(), *RECIPES.values()) for n in names)],
    "03_colorization": ["grey", "tool_color", "color_shuffle", *PUBLISHED, *GUESSING, *COLOUR_PARTS,
                        *COLOUR_FRONT, *COLOUR_NOISY, *(n for names in COLOUR_SEEDS.values() for n in names),
                        "original"],
    "04_video": list(TABLE_5),
    "05_optical_flow": ["aetad_video", "sofvsr", *AIMS],
    "07_robustness": list(CARD),
    "08_refinement": ["tool_x4", "robust", "tool_x2", "tool_color", "aetad", "no_tad", "aetad_any_scale"],
}


# Runs whose weights git keeps (the exceptions in .gitignore): a picture, a slider or a command loads them. The rest
# can be trained again. No field of Run: every one of those that is set is part of the folder's name.
KEPT = frozenset({
    "aetad", "no_tad", "aetad_any_scale", "eps_0", "eps_10_observed", "eps_100_observed", "noise_trained",
    "tool_x4", "no_tad_x4", "tool_x2", "tool_color", "robust", "color_shuffle", "color_beta0.03", "color_beta1",
    "aetad_color_large", "no_tad_color", "cic_color", "sofvsr", "joint_x4", *AIMS,
})


class Scoring(NamedTuple):
    """One thing to measure: the arguments of workbook.scores.scores after the run."""

    sets: tuple[str, ...]
    channels: tuple[str, ...] = ("8bit",)
    scale: int | None = None
    kinds: tuple[str, ...] = KINDS
    draws: int = 1


def scoring(run: Run) -> list[Scoring]:
    """What is measured of a run once it is trained, while its weights are here."""
    name, usual = run.name.removesuffix(stored.STAND_IN), image_sets(run.profile)
    main = ("SampleCrop",) if run.profile == "smoke" else ("Sample",) if run.name != name else ("Set14",)
    todo = [] if spec(run.model).head.frames > 1 else [Scoring(usual[:3])]  # the sample, Set5, Set14
    if name in PUBLISHED:
        todo = [Scoring(usual[:3], ("8bit", "float"))]
    if name in (*TABLE_3, *TABLE_4) and run.profile != "smoke":
        todo.append(Scoring(usual[3:], kinds=("SHRT", "SLR")))
    if name in (*TABLE_4, *GUESSING) and run.profile != "smoke":
        todo.append(Scoring(("ColorDemo",), kinds=("SHRT", "SLR")))
    if name in NOISY + COLOUR_NOISY:
        kept = name in NOISY and (name in KEPT or not run.trains)
        todo.append(Scoring(main, EVERY_NOISE if kept else NOISES, kinds=("SHRT",), draws=2))
    if name in CARD:
        todo.append(Scoring(usual[1:3] if main == ("Set14",) else main, HAPPENS, kinds=("SHRT",), draws=2))
    if name in COLOUR_SENT:
        todo.append(Scoring(main, ACCIDENTS, kinds=("SHRT",)))
    if name in OTHER_SCALES:
        todo += [Scoring(main, scale=s, kinds=("SHRT", "SLR")) for s in (2, 8, 16)]
    if name == "aetad_x2":
        todo.append(Scoring(("Set5",) if main[0] == "Set14" else main, scale=4, kinds=("SHRT", "SLR")))
    if name in (*TABLE_5, *AIMS):
        todo.append(Scoring(clips(run.profile), kinds=("SHRT", "SLR")))
    if name == "original":
        todo = [Scoring(t.sets, FILES_OF_HR) for t in todo]
    return todo


def named(name: str, profile: str = "cpu") -> Run:
    """The run of that name at a profile: "cpu" as in the table, "gpu" longer, "smoke" a few steps on the sample.

    "gpu" trains on whole DIV2K where that is here or the run was so trained, else on the crops, as "cpu" does.
    Raises KeyError for a name that no table has, ValueError for an unknown profile.
    """
    if name not in ALL:
        raise KeyError(f"no run {name!r}; there are: {', '.join(ALL)}")
    if profile not in PROFILES:
        raise ValueError(f"no profile {profile!r}; there are: {', '.join(PROFILES)}")
    start = tuple(named(earlier.name, profile) for earlier in ALL[name].start)
    found = replace(ALL[name], profile=profile, start=start)
    if profile == "cpu" or not found.steps:
        return found
    if profile == "smoke":
        return replace(found, steps=3, batch=2, patch=32, train=("SampleTrain",))
    found = replace(found, steps=found.steps * GPU_LONGER[ZOO[found.model].family], batch=2 * found.batch)
    whole = replace(found, train=tuple("DIV2K" if n == "DIV2K_crops" else n for n in found.train))
    return whole if sets.is_here("DIV2K") or stored.is_trained(whole) else found


def trained(name: str, profile: str = "cpu") -> Trained:
    """What the run of that name left on this machine, or its stand-in on the bundled sample; it may be nothing yet."""
    return stored.of(named(name, profile))


def needed(notebook: str, profile: str = "cpu") -> list[Run]:
    """What a notebook needs, in the order in which it should be trained."""
    return [named(name, profile) for name in NEEDS.get(notebook, [])]


def image_sets(profile: str) -> tuple[str, ...]:
    """The sets on which a profile's runs are scored, as far as they are here; the sample always is."""
    return ("SampleCrop",) if profile == "smoke" else SCORED


def clips(profile: str) -> tuple[str, ...]:
    """The clips on which a profile's video runs are scored, as far as they are here; the synthetic one always is."""
    return ("SampleClip",) if profile == "smoke" else ("SampleClip", *CLIPS)


def scored_sets(name: str, profile: str, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the wanted sets or clips on which a run was scored or can be (none in a smoke run); else the sample."""
    path = trained(name, profile).folder / "scores.csv"
    scored = set(read(path)["set"])
    known = clips(profile) if sets.is_clip(wanted[0]) else image_sets(profile)
    return tuple(s for s in wanted if s in known and (s in scored or sets.is_here(s))) or known[:1]


def best_set(profile: str) -> str:
    """The set for a study's main curve: Set14, or the sample in its stead."""
    return scored_sets("aetad", profile, ("Set14",))[0]
