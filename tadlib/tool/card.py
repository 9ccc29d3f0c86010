"""The model card: a README.md as the Hugging Face Hub reads it, made from a run's record and scores."""
from __future__ import annotations

import json
from pathlib import Path
from string import Template
from typing import Any

from tadlib.networks.tad import multiply_adds
from tadlib.run import Run
from tadlib.stored import Trained
from tadlib.tasks import COLOUR, TASKS
from tadlib.tool import models

# What is measured: kind and column of scores.csv, what it is, as the Hub calls it and in words
MEASURED = (("SHRT", "psnr_rgb", "psnr", "PSNR of the large image, RGB, dB"),
            ("SHRT", "psnr_y", "psnr", "PSNR of the large image, Y, dB"),
            ("SHRT", "ssim_y", "ssim", "SSIM of the large image, Y"),
            ("SLR", "psnr_rgb", "psnr", "PSNR of the small image to the ordinary one, RGB, dB"))

CARD = Template("""\
# $name

$what
Task-aware downscaling (Kim et al., ECCV 2018): encoder and decoder are trained together, and what passes between them
is an ordinary picture of 8 bit. $params parameters; $down multiply-adds down and $up up, for a pixel of the large
picture. Trained for $steps steps on $train$after.

**For** $purpose

**Not for** enlarging pictures that were not made by its own first half: it does not invent detail, it finds what its
encoder put there. Nor for small images that are changed on the way: scaled, filtered, or saved as JPEG, unless a
model was trained for that. It is no measure of how true a detail is: what was lost is lost.

## Figures

Means over the images of each set, $way, the small image stored losslessly:

$table

## Use

$use

Files: $files. Licence: MIT.$sha
""")

PURPOSE = {
    "sr": ("It makes a picture $scale times smaller a side, so that it looks like an ordinary small one, and enlarges "
           "what it made\nto the original size.",
           "thumbnails, previews and archives whose pictures someone may want back in full size."),
    "colour": ("It makes a picture grey, so that it looks like an ordinary grey one, and finds its colours again.",
               "grey copies (for print, for screens without colour) whose colours someone may want back.")}

COMMANDS = Template("""\
```python
from tadlib import Codec  # pip install the wheel of tadlib$extra
from tadlib.files import read_image, write_png

codec = Codec.open(".")  # this folder
photo = read_image("photo.png")
small = codec.$down(photo)
write_png("small.png", small)
write_png("large.png", codec.$up(small, photo.shape[:2]))
```
""")

RUNTIME = Template("""\

Or with onnxruntime alone, for pictures that fit into the memory in one piece (reach and grid in the metadata say how
tiles are cut):

```python
import numpy as np
import onnxruntime as ort
from PIL import Image

photo = np.asarray(Image.open("photo.png").convert("RGB"))[None]  # uint8 (1, H, W, 3)
small, = ort.InferenceSession("${name}_down.onnx").run(None, {"image": photo})
Image.fromarray(small[0].squeeze()).save("small.png")
${clip}large, = ort.InferenceSession("${name}_up.onnx").run(None, {"small": small})
Image.fromarray(large[0, : photo.shape[1], : photo.shape[2]]).save("large.png")
```
""")


def _after(run: Run) -> str:
    """What a training goes on from, back to the first; of several each with its own in brackets."""
    starts = [(f"the {earlier.steps:,} of `{earlier.name}`", _after(earlier)) for earlier in run.start]
    if len(starts) > 1:
        starts = [(start, before and f" ({before.removeprefix(', ')})") for start, before in starts]
    return ", on from " + " and ".join(start + before for start, before in starts) if starts else ""


def card(name: str, trained: Trained, form: str, files: list[str]) -> str:
    """YAML between dashes (each value as JSON, which YAML is), then Markdown. Raises BadInput for damaged scores."""
    record, run = trained.record, trained.run
    network = trained.network()
    spec, counts = network.spec, multiply_adds(network, run.scale)
    frames = spec.head.frames
    clip = "" if frames == 1 else f"small = np.repeat(small, {frames}, axis=0)  # a picture: a clip that stands still\n"
    task, train = TASKS[spec.task], [Path(folder).name for folder in run.train] if run.trains else []
    found = [(*row, models.mean_scores(trained.folder, run.scale, *row[:2])) for row in MEASURED]
    sets = list(dict.fromkeys(images for *_, means in found for images in means))
    head: dict[str, Any] = {
        "license": "mit", "library_name": "tadlib", "tadlib_model": name, "pipeline_tag": "image-to-image",
        "tags": ["image-rescaling", "colorization" if task is COLOUR else "super-resolution",
                 *(["onnx"] if form == "onnx" else ["safetensors"])],
        "datasets": train, "metrics": ["psnr", "ssim"],
        "model-index": [{"name": name, "results": [
            {"task": {"type": "image-to-image", "name": " and ".join(task.commands)},
             "dataset": {"type": images, "name": images},
             "metrics": [{"type": kind, "name": words, "value": round(means[images], 4)}
                         for _, _, kind, words, means in found if images in means]} for images in sets]}]}
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items()]
    table = [["", *sets], ["---"] * (1 + len(sets)),
             *([words, *(f"{means[s]:.4g}" if s in means else "" for s in sets)] for *_, words, means in found)]
    what, purpose = (Template(text).substitute(scale=run.scale) for text in PURPOSE[spec.task])
    onnx, sha = form == "onnx", record.get("weights", {}).get("sha256")
    use = COMMANDS.substitute(down="downscale", up="upscale", extra="" if onnx else ": 'tadlib[torch]'")
    body = CARD.substitute(
        name=name, what=what, params=f"{record['params']:,}", down=f"{counts[0]:,.0f}", up=f"{counts[1]:,.0f}",
        steps=f"{run.steps:,}",
        train=", ".join(train) or "nothing",
        after=_after(run) if len(run.start) == len(record.get("start", [])) else ", on from what is not told here",
        purpose=purpose, way="there and back in colour" if task is COLOUR else f"x{run.scale} down and up",
        table="\n".join(f"| {' | '.join(row)} |" for row in table) if sets else "It was not scored.",
        use=(use + (RUNTIME.substitute(name=name, clip=clip) if onnx else "")).rstrip(),
        files=", ".join(f"`{file}`" for file in files),
        sha=f" SHA-256 of the weights that they hold: `{sha}`." if sha else "")
    return "---\n" + "\n".join(lines) + "\n---\n" + body
