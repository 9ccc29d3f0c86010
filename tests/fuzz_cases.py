"""The cases of fuzz.py by kind: each lays its files in an empty folder and says what is typed there."""
from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import fuzz_seeds as seeds
from safetensors.torch import save

from tadlib import settings, stored
from tadlib.__main__ import main as tool
from tadlib.data import sets
from tadlib.networks import ZOO, Spec
from tadlib.run import Run
from tadlib.training import fit
from workbook.__main__ import main as workbook

TINY = Spec("tiny", "own", "u4 c4 c3", "c4 c48 p4", step=4, skip="bicubic", start="zero")
TRAINED = "aetad_very_small"  # what the cases of training train: three steps


@dataclass
class Case:
    """What is typed, and what may come of it."""

    arguments: list[str]
    targets: tuple[str, ...] = ()  # what may be made or changed, seen from the folder
    room: str = "tadlib"
    environment: dict[str, str] = field(default_factory=dict)
    several: bool = False  # files, each of which may have its line
    kill: tuple[int, float] | None = None  # a signal, and after how many seconds


class Seeds:
    """What all cases begin with, made once in `home`."""

    def __init__(self, home: Path):
        rng = random.Random(0)
        self.home = home
        self.results = home / "results"
        os.environ.update({"TAD_RESULTS": str(self.results), "TAD_CHECKPOINTS": str(home / "checkpoints"),
                           "TAD_DATA": str(home / "data"), "TAD_PRECISION": "fp32", "TAD_DEVICE": "cpu"})
        (home / "data").mkdir(parents=True)
        os.chdir(home)
        self.pictures = seeds.pictures(rng)
        self.clips = {name: seeds.clip(name, rng) for name in seeds.CLIPS}
        self._models()
        self.small = self._small(rng)
        self.frames = {name: self._frames(name) for name in ("h264.mp4", "h264.mkv", "ffv1.mkv")}
        self._training()

    def _models(self) -> None:
        runs = self.results / "cpu" / "runs"
        for name in ("bicubic", "bicubic_x2", "grey"):
            one, = (settings.ROOT / "results" / "cpu" / "runs").glob(f"{name}-????????")
            shutil.copytree(one, runs / one.name)
        ZOO["tiny"] = TINY
        run = Run("tiny", "tiny", scale=4, steps=1, train=())
        weights = save({k: v.half().contiguous() for k, v in run.build().state_dict().items()})
        self.tiny = runs / "tiny-00000000"
        self.tiny.mkdir()
        (self.tiny / stored.WEIGHTS).write_bytes(weights)
        record = asdict(run) | {"run": self.tiny.name, "params": 7, "network": TINY.words(),
                                "weights": stored.describe(weights)}
        (self.tiny / stored.RECORD).write_text(json.dumps(record))
        shutil.copy(runs / "bicubic-1bfca67c" / "scores.csv", self.tiny)
        assert tool(["export", "tiny", "exported"]) == 0

    def _small(self, rng: random.Random) -> dict[str, bytes]:
        seeds.image("RGB", rng).save("photo.png")
        found = {}
        for command, model in (("downscale", "bicubic"), ("downscale", "tiny"), ("decolorize", "grey")):
            assert tool([command, "photo.png", "small.png", "--model", model]) == 0
            found[model] = Path("small.png").read_bytes()
        return found

    def _frames(self, name: str) -> dict[str, bytes]:
        Path(name).write_bytes(self.clips[name])
        folder = Path(f"frames of {name}".replace(".", " "))
        assert tool(["downscale", name, str(folder), "--model", "bicubic"]) == 0
        return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}

    def _training(self) -> None:
        """A run of three steps that is trained, and two checkpoints of one that is not."""
        os.environ["TAD_CHECKPOINT_SECONDS"] = "0"
        sets.held_out = lambda names: {"corner": sets.load(names[0])["rocket"][:, :32, :32]}
        fit._curve_sets = lambda run: {"held_out": sets.held_out(run.train)}  # no curve over photographs: it takes long
        train = ["train", TRAINED, "--profile", "smoke", "--score", "SampleCrop"]
        os.environ["TAD_UNTIL"] = "1"
        for _ in range(2):
            assert workbook(train) == 3
        shutil.copytree("checkpoints", "begun")
        del os.environ["TAD_UNTIL"]
        assert workbook(train) == 0
        self.run, = (self.results / "smoke" / "runs").iterdir()
        shutil.move(self.results / "smoke", "trained")
        self.run = self.home / "trained" / "runs" / self.run.name


def lay(files: dict[str, bytes]) -> None:
    for name, content in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(content)


def picture(rng: random.Random, known: Seeds) -> Case:
    """A spoiled picture of any listed format, alone or in a folder, through any command that takes one."""
    suffix, _, whole = rng.choice(known.pictures)
    bad = seeds.spoiled(whole, rng, rng.choice(known.pictures)[2])
    command, model = rng.choice((("downscale", "bicubic"), ("downscale", "tiny"), ("upscale", "bicubic"),
                                 ("decolorize", "grey"), ("colorize", "grey")))
    more = rng.choice(([], [], [], ["--skip-existing"], ["--recursive"]))
    if command == "downscale" and rng.random() < 0.2:
        more = more + rng.choice((["--keep-location"], ["--refine", "1"], ["--for", "jpeg:90"]))
    match rng.randrange(6):
        case 0:
            lay({f"in/a.{suffix}": bad, "in/b.png": known.small["bicubic"], "in/notes.txt": b"none"})
            return Case([command, "in", "out", "--model", model, *more], ("out",), several=True)
        case 1 if rng.random() < 0.3:
            lay({f"in/a.{suffix}": bad})
            return Case(["evaluate", "--model", "bicubic", "--set", str(Path("in").absolute())])
        case 2:
            lay({"out.png": b"an old result"})
    lay({f"in.{suffix}": bad})
    return Case([command, f"in.{suffix}", "out.png", "--model", model, *more], ("out.png",))


def chunk(rng: random.Random, known: Seeds) -> Case:
    """A whole small picture whose chunks (size, profile, EXIF, the tool's own) say something odd."""
    model, small = rng.choice(list(known.small.items()))
    facts = {"model": model, "scale": 1 if model == "grey" else 4, "size": list(seeds.SIZE)}
    lay({"in.png": seeds.strange_png(small, facts, rng)})
    command = "colorize" if model == "grey" else "upscale"
    if rng.random() < 0.3:
        command, model = ("decolorize", "grey") if model == "grey" else ("downscale", "bicubic")
    named = ["--model", model] if command.startswith("d") or rng.random() < 0.5 else []
    return Case([command, "in.png", "out.png", *named], ("out.png",))


def clip(rng: random.Random, known: Seeds) -> Case:
    """A spoiled film of any listed container."""
    name = rng.choice(list(known.clips))
    lay({name: seeds.spoiled(known.clips[name], rng, rng.choice(list(known.clips.values())))})
    more = rng.choice(([], [], ["--keep-broken"], ["--fps", "30000/1001"], ["--no-sound"]))
    if rng.random() < 0.1:
        lay({f"in/{name}": Path(name).read_bytes(), "in/good.mkv": known.clips["ffv1.mkv"]})
        return Case(["downscale", "in", "out", "--model", "bicubic", *more], ("out",), several=True)
    return Case(["downscale", name, "out", "--model", "bicubic", *more], ("out",))


def frames(rng: random.Random, known: Seeds) -> Case:
    """A folder of small frames (and what lies beside them) of which one is spoiled, or says something odd."""
    whole = rng.choice(list(known.frames.values()))
    files = dict(whole)
    pngs = [name for name in files if name.endswith(".png")]
    others = [name for name in files if name not in pngs]
    for _ in range(rng.choice((1, 1, 2))):
        name = rng.choice(pngs + others * 3)
        if name in others or rng.random() < 0.3:
            files[name] = seeds.spoiled(files[name], rng)
        else:
            facts = seeds.facts_of(whole[name])
            facts |= {key: rng.choice(("25", "0", "1/0", "1e9", "999999999999", "30000/1001", "-1", "../a",
                                       "/etc/passwd", "x" * 300, "0/1", "10000", 5, None, [1], *others))
                      for key in rng.sample(("rate", "time", "aspect", "sound", "lead"), rng.randrange(1, 3))}
            text = seeds.text_of(facts, rng) if rng.random() < 0.3 else json.dumps(facts)
            files[name] = seeds.with_text(whole[name], text)
    lay({f"in/{name}": content for name, content in files.items()})
    target = rng.choice(("out.mp4", "out.mkv", "out"))
    if target != "out" and rng.random() < 0.3:
        lay({target: b"an old result"})
    return Case(["upscale", "in", target, *rng.choice(([], [], ["--fps", "30"], ["--model", "bicubic"]))], (target,),
                several=target == "out")


def own_models(known: Seeds) -> Path:
    """The stored models in this folder; returns that of the tiny net."""
    shutil.copytree(known.results, "results")
    return Path("results/cpu/runs") / known.tiny.name


def use_models(rng: random.Random) -> Case:
    own = {"TAD_RESULTS": "results"}
    match rng.randrange(6):
        case 0:
            return Case(["models", *rng.choice(([], ["--json"]))], environment=own)
        case 1:
            return Case(["export", "tiny", "out", *rng.choice(([], ["--format", "safetensors"]))], ("out",),
                        environment=own)
        case 2:
            return Case(["evaluate", "--model", "tiny", "--set", "SampleCrop", "--json"], environment=own)
        case 3:
            return Case(["upscale", "small.png", "out.png", "--model", "tiny"], ("out.png",), environment=own)
    return Case(["downscale", "small.png", "out.png", "--model", "tiny"], ("out.png",), environment=own)


def weights(rng: random.Random, known: Seeds) -> Case:
    """Spoiled weights, half of the times with a record that tells of just these."""
    folder = own_models(known)
    bad = seeds.spoiled((folder / stored.WEIGHTS).read_bytes(), rng)
    (folder / stored.WEIGHTS).write_bytes(bad)
    if rng.random() < 0.5:
        record = json.loads((folder / stored.RECORD).read_text()) | {"weights": stored.describe(bad)}
        (folder / stored.RECORD).write_text(json.dumps(record))
    lay({"small.png": known.small["bicubic"]})
    return use_models(rng)


def record(rng: random.Random, known: Seeds) -> Case:
    """A spoiled record.json, or a whole one that says something odd."""
    file = own_models(known) / stored.RECORD
    whole = file.read_bytes()
    file.write_bytes(seeds.spoiled(whole, rng) if rng.random() < 0.4 else
                     seeds.text_of(json.loads(whole), rng).encode("utf8", "replace"))
    lay({"small.png": known.small["bicubic"]})
    return use_models(rng)


def scores(rng: random.Random, known: Seeds) -> Case:
    """A spoiled scores.csv, of a model of the commands or of a run of the workbook."""
    if rng.random() < 0.4:
        shutil.copytree(known.home / "trained", "results/smoke")
        file = Path("results/smoke/runs") / known.run.name / "scores.csv"
        case = Case(["train", TRAINED, "--profile", "smoke", "--score", "SampleCrop"], (f"{file}", "checkpoints"),
                    room="workbook", environment={"TAD_RESULTS": "results", "TAD_CHECKPOINTS": "checkpoints"})
    else:
        file = own_models(known) / "scores.csv"
        case = use_models(rng)
    lay({"small.png": known.small["bicubic"]})
    file.write_bytes(seeds.spoiled(file.read_bytes(), rng))
    return case


def checkpoint(rng: random.Random, known: Seeds) -> Case:
    """One or both checkpoints of a training spoiled, or the record of the run itself: it goes on, or begins anew."""
    shutil.copytree(known.home / "begun", "checkpoints")
    files = sorted(Path("checkpoints").rglob("*.pt"))
    for file in files if rng.random() < 0.3 else [rng.choice(files)]:
        file.write_bytes(seeds.spoiled(file.read_bytes(), rng))
    return Case(["train", TRAINED, "--profile", "smoke", "--score"], ("results", "checkpoints"), room="workbook",
                environment={"TAD_RESULTS": "results", "TAD_CHECKPOINTS": "checkpoints"})


def onnx(rng: random.Random, known: Seeds) -> Case:
    """A spoiled pair of ONNX files."""
    shutil.copytree(known.home / "exported", "models/tiny")
    file = rng.choice(sorted(Path("models/tiny").glob("*.onnx")))
    file.write_bytes(seeds.spoiled(file.read_bytes(), rng))
    lay({"small.png": known.small["bicubic"]})
    command = rng.choice(("downscale", "upscale"))
    return Case([command, "small.png", "out.png", "--model", "tiny", "--backend", "onnx"], ("out.png",),
                environment={"TAD_MODELS": "models"})


def killed(rng: random.Random, known: Seeds) -> Case:
    """Nothing is spoiled, but Ctrl-C or SIGTERM comes at any moment; what was there before stays until all is done."""
    kill = rng.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP)), rng.random() ** 2 * 0.3
    match rng.randrange(5):
        case 0:
            lay({"in.mp4": known.clips["h264.mp4"]})
            return Case(["downscale", "in.mp4", "out", "--model", "tiny"], ("out",), kill=kill)
        case 1:
            lay({f"in/{name}": content for name, content in known.frames["h264.mp4"].items()} | {"out.mp4": b"old"})
            return Case(["upscale", "in", "out.mp4"], ("out.mp4",), kill=kill)
        case 2:
            nine = rng.choices(known.pictures, k=9)
            lay({f"in/{n}.{suffix}": content for n, (suffix, _, content) in enumerate(nine)})
            return Case(["downscale", "in", "out", "--model", "tiny"], ("out",), several=True, kill=kill)
        case 3:
            return Case(["train", TRAINED, "--profile", "smoke", "--score"], ("results", "checkpoints"), "workbook",
                        {"TAD_RESULTS": "results", "TAD_CHECKPOINTS": "checkpoints"}, kill=kill)
    lay({"in.png": known.small["tiny"], "out.png": b"old"})
    return Case(["upscale", "in.png", "out.png"], ("out.png",), kill=kill)


KINDS: dict[Callable[[random.Random, Seeds], Case], int] = {  # and how many of them in a hundred
    picture: 38, chunk: 20, clip: 12, frames: 8, weights: 4, record: 5, scores: 4, checkpoint: 2, onnx: 3, killed: 4}
