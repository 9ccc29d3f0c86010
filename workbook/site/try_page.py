"""The page "Try it": both ways through the tool nets in the reader's browser, as one file that asks for nothing more.

Sources lie in try/. What they need is put inside: the engine (onnxruntime-web, by `npm ci` of the committed lock), the
networks as ONNX, three photographs. All is done once and kept in build/try/ until one of these changes.
"""
from __future__ import annotations

import base64
import gzip
import hashlib
import html
import io
import json
import shutil
import subprocess
from pathlib import Path
from string import Template

from filelock import FileLock
from PIL import Image

from tadlib.data import sets
from tadlib.errors import BadInput
from tadlib.files import WEIGHTS, read_image, replacing
from tadlib.settings import ROOT
from tadlib.tool import export, models

SOURCES = Path(__file__).resolve().parent / "try"
BUILD = ROOT / "build" / "try"
WAYS = {"tool_x4": "a quarter of each side (×4)", "tool_x2": "half of each side (×2)",
        "tool_color": "colours hidden in a grey picture"}  # the models, and what the page calls them
STEPS = {0: "none", 3: "3 (takes longer)", 10: "10 (takes long)"}  # of refinement
ENGINE = {"ort": "ort.wasm.bundle.min.mjs", "wasm": "ort-wasm-simd-threaded.wasm"}  # of onnxruntime-web
PATIENCE = 600  # seconds for npm


def body() -> str:
    """The page's inside: the tool, or in one sentence what is missing for it."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with FileLock(BUILD / "lock"):
        try:
            kept = BUILD / f"{_fingerprint()}.html"
            if not kept.exists():
                text = _body()
                for old in BUILD.glob("*.html"):
                    old.unlink()
                with replacing(kept) as temporary:
                    temporary.write_text(text)
            return kept.read_text()
        except (BadInput, ModuleNotFoundError) as error:  # the second: no onnx
            print(f"try.html: {error}")
            return (f'<h1>Try it</h1>\n<p class="missing">This page is empty: {html.escape(str(error))}. '
                    "Run the batch again when it is there.</p>")


def _fingerprint() -> str:
    """What the page is made of: these sources, the models' weights, how they are exported."""
    exporting = (Path(export.__file__).with_name(f"{name}.py") for name in ("export", "graph", "backward"))
    parts = [*sorted(SOURCES.glob("*.*")), Path(__file__), *exporting, *sets.files("Sample"),
             *(models.find(name).folder / WEIGHTS for name in WAYS)]
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part.read_bytes()).digest())
    return total.hexdigest()[:16]


def _body() -> str:
    engine = _engine()
    files = {key: (engine / name).read_bytes() for key, name in ENGINE.items()}
    facts = {}
    for name in WAYS:
        trained = models.find(name)
        files |= {part.removesuffix(".onnx"): content for part, content in export.graphs(trained, name).items()}
        facts[name] = _facts(export.facts(trained, name))
    tags = [f'<script type="application/json" id="models">{json.dumps(facts)}</script>']
    tags += [f'<script type="application/octet-stream" id="f_{key}">{packed(content)}</script>'
             for key, content in files.items()]
    ways = [f'<label><input type="radio" name="way" value="{name}"{" checked" if not n else ""}> {text}</label>'
            for n, (name, text) in enumerate(WAYS.items())]
    steps = [f'<label><input type="radio" name="steps" value="{n}"{"" if n else " checked"}> {text}</label>'
             for n, text in STEPS.items()]
    read = {path.name: path.read_text() for path in SOURCES.glob("try.*")}
    worker = "".join((SOURCES / name).read_text() for name in ("pixels.js", "descent.js", "png.js", "worker.js"))
    return Template(read["try.html"]).substitute(
        style=read["try.css"], script=read["try.js"], files="\n".join(tags), ways="\n".join(ways),
        steps="\n".join(steps), worker='"use strict";\n' + worker,
        photographs="\n".join(_photograph(path) for path in sets.files("Sample")))


def _engine() -> Path:
    """The folder of onnxruntime-web's files, as the lock pins it. Raises BadInput: no npm, or it could not."""
    wanted = json.loads((SOURCES / "package.json").read_text())["dependencies"]["onnxruntime-web"]
    package = BUILD / "node_modules" / "onnxruntime-web"
    here = package / "package.json"
    if not here.exists() or json.loads(here.read_text())["version"] != wanted:
        npm = shutil.which("npm")
        if npm is None:
            raise BadInput("it needs npm (Node.js), which this machine lacks")
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(SOURCES / name, BUILD / name)
        try:
            subprocess.run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=BUILD, timeout=PATIENCE,
                           capture_output=True, check=True)
        except (OSError, subprocess.SubprocessError):
            raise BadInput(f"npm could not fetch onnxruntime-web {wanted}") from None
    return package / "dist"


def _facts(said: dict[str, str]) -> dict:
    """Of a network's metadata, what the page has to know."""
    tiling = {way: {"reach": float(said[f"{way}_reach"]), "grid": int(said[f"{way}_grid"])} for way in ("down", "up")}
    return {"scale": int(said["scale"]), "task": said["task"], "weights": said["made_by"]} | tiling


def packed(content: bytes) -> str:
    """A file as it lies in the page."""
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


def _photograph(path: Path) -> str:
    """A button that shows the photograph and holds it, as a JPEG with colours of full size."""
    data = io.BytesIO()
    Image.fromarray(read_image(path)).save(data, "JPEG", quality=95, subsampling=0)
    address = f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
    return f'<button type="button" style="background-image: url({address})"><span>{path.stem}</span></button>'
