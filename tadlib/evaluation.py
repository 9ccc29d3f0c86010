"""Scores under one written protocol.

PROTOCOL. HR images are cropped at the bottom right to a multiple of the scale. What is scored are 8-bit codes only:
X_SLR goes through the channel (at least rounded to 8 bit), X_SHR is clamped and rounded. PSNR is over all pixels and
channels of an image at once, in float64, then averaged over images; in RGB, and in Y (BT.601, limited range, from the
8-bit RGB values, not rounded); with no border cropped, and with `scale` HR pixels cropped (one LR pixel). SSIM is on Y
with the 11-pixel Gaussian window, sigma 1.5 (Wang et al. 2004). Kinds: SHRT decodes what the channel made of X_SLR;
SLR is the received X_SLR against the guidance image; and two where each half meets its ordinary rival, SHRB, which
decodes the guidance image, and SLRB, which enlarges X_SLR by bicubic interpolation. LR bytes are those of the file
that was sent: the channel's, else a PNG. For colorization X_SLR is the grey image and its rival Y, both as 8-bit codes,
and CIEDE2000 is the mean colour difference over all pixels (scikit-image; D65, 2 degrees); the rest is the same.
What a person does to the small image is wanted in the large one: "gamma" is scored against the HR image with the same
gamma, "shift" against the part of it that did not leave the picture. A channel that begins with "cycles:5" goes down
and up four times before.
"""
from __future__ import annotations

import functools
from math import inf, log10
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import structural_similarity
from torch import Tensor

from tadlib import datasets
from tadlib.channel import bytes_sent, send
from tadlib.guidance import guidance, upscale
from tadlib.images import BadInput, crop_to_multiple, replacing, rgb_to_y, to_codes, to_float
from tadlib.networks import TAD
from tadlib.networks.tad import around

MEASURED = ["scale", "set", "image", "pixels", "kind", "channel", "sigma", "draw", "psnr_rgb", "psnr_y",
            "psnr_rgb_crop", "psnr_y_crop", "ssim_y", "lr_bytes", "ciede2000"]  # what a run's scores.csv holds
COLUMNS = ["run", "model", "params", "task", "recipe", "skip", "guidance", "epsilon", "seed", "steps", *MEASURED]
KINDS = ("SHRT", "SLR", "SHRB", "SLRB")
torch.backends.cudnn.allow_tf32 = False  # by default a GPU's convolutions in float32 round to 10 bits


def psnr(a: Tensor, b: Tensor, border: int = 0) -> float:
    """10 log10(255^2 / MSE) of two uint8 (or 0..255 float64) images (C, H, W), in dB; infinite if equal.

    `border` pixels are left out on each side (where anything is left then). Raises ValueError for unlike shapes.
    """
    if a.shape != b.shape:
        raise ValueError(f"images of unlike shapes: {tuple(a.shape)} and {tuple(b.shape)}")
    a, b = (_inside(x, border).double() for x in (a, b))
    mse = (a - b).square().mean().item()
    return 10 * log10(255**2 / mse) if mse else inf


def _inside(x: Tensor, border: int) -> Tensor:
    if not border or min(x.shape[-2:]) <= 2 * border:
        return x
    return x[..., border:-border, border:-border]


def luma(codes: Tensor) -> Tensor:
    """uint8 RGB (3, H, W) -> Y in 16..235, float64 (1, H, W), not rounded. One channel counts as Y already."""
    return rgb_to_y(codes.double() / 255) * 255 if len(codes) == 3 else codes.double()


def ssim(a: Tensor, b: Tensor) -> float:
    """Structural similarity of two uint8 images on Y, Gaussian window; NaN below 11 pixels."""
    if min(a.shape[-2:]) < 11:
        return float("nan")
    return structural_similarity(luma(a)[0].numpy(), luma(b)[0].numpy(), data_range=255, gaussian_weights=True,
                                 sigma=1.5, use_sample_covariance=False)


def colour_difference(a: Tensor, b: Tensor) -> float:
    """Mean CIEDE2000 of two uint8 RGB images (3, H, W): about 1 is just seen."""
    one, other = (rgb2lab(x.permute(1, 2, 0).numpy()) for x in (a, b))
    return float(deltaE_ciede2000(one, other).mean())


def compare(result: Tensor, truth: Tensor, border: int, structure: bool = True) -> dict[str, float]:
    """All measures of one uint8 image against another; SSIM, the slow one, only with `structure`."""
    y, y_truth = luma(result), luma(truth)
    return {
        "psnr_rgb": psnr(result, truth),
        "psnr_y": psnr(y, y_truth),
        "psnr_rgb_crop": psnr(result, truth, border),
        "psnr_y_crop": psnr(y, y_truth, border),
        "ssim_y": ssim(result, truth) if structure else float("nan"),
    }


@torch.inference_mode()
def score(model: TAD, images: dict[str, Tensor], scale: int, guide: str, channels: tuple[str, ...] = ("8bit",),
          kinds: tuple[str, ...] = KINDS, draws: int = 1) -> pd.DataFrame:
    """A row for each image, channel, draw and kind: image, pixels (HR), kind, channel, sigma, draw, measures, lr_bytes.

    `images`: uint8 (3, H, W) by name; where the decoder sees several frames they are a clip. float32 throughout, on
    the network's device. A noisy channel is drawn `draws` times (the draw is its seed). The kinds of cross play are
    measured once, on the channel "8bit".
    """
    device = next(model.parameters(), torch.empty(0)).device
    names, frames = list(images), model.spec.frames
    if frames > 1 and len({image.shape for image in images.values()}) > 1:
        raise BadInput(f"{model.spec.name} looks at {frames} frames of a clip, and these images are of several sizes")

    @functools.lru_cache(maxsize=frames)
    def encoded(n: int) -> tuple[Tensor, Tensor, Tensor]:
        """Image number n, cropped, its guidance and its X_SLR."""
        image = crop_to_multiple(images[names[n]], scale)
        hr = to_float(image).to(device)
        x_gd = guidance(hr, scale, guide)
        return image, x_gd, model.encode(hr, scale, x_gd)

    rows = []
    for n, name in enumerate(names):
        if min(images[name].shape[-2:]) < scale:
            raise BadInput(f"{name}: smaller than the scale of {scale}, it cannot be scored")
        image, x_gd, first = encoded(n)
        gd_codes = to_codes(x_gd)[0]

        same = {"image": name, "pixels": image[0].numel()}
        for channel in channels:
            slr, way = first, channel
            if channel.startswith("cycles:"):
                times, _, rest = channel.removeprefix("cycles:").partition("+")
                slr, way = cycled(model, first, int(times), scale, guide), rest or "8bit"
            for draw in range(draws if _sigma(channel) else 1):
                received = send(slr, way, torch.Generator().manual_seed(draw))
                size = bytes_sent(slr, way, torch.Generator().manual_seed(draw))
                sent = same | {"channel": channel, "draw": draw, "lr_bytes": size}
                seen = received
                if frames > 1:
                    noise = torch.Generator().manual_seed(draw)
                    clip = (encoded(m)[2] for m in around(n, len(names), frames))
                    seen = torch.cat([send(x, way, noise) for x in clip], 1)  # (1, frames * C, h, w)
                result = model.decode(seen, scale)
                rows.append(sent | _measure("SHRT", *_alike(result, image, channel, scale), scale, channel))
                if guide == "y" and not _sigma(channel):  # colorization
                    rows[-1]["ciede2000"] = colour_difference(*_alike(to_codes(result)[0].cpu(), image, channel, 1))
                if "SLR" in kinds:
                    rows.append(sent | _measure("SLR", received, gd_codes, 1, channel))
        if model.encoder is not None and "8bit" in channels and frames == 1:
            sent = same | {"channel": "8bit", "draw": 0}
            if "SHRB" in kinds:
                result = model.decode(to_float(gd_codes), scale)
                rows.append(sent | {"lr_bytes": bytes_sent(x_gd)} | _measure("SHRB", result, image, scale))
            if "SLRB" in kinds and first.shape[1] == 3:
                result = upscale(send(first), scale)
                rows.append(sent | {"lr_bytes": bytes_sent(first)} | _measure("SLRB", result, image, scale))
    return pd.DataFrame(rows)


@torch.inference_mode()
def down_and_up(model: TAD, frames: Tensor, scale: int) -> tuple[Tensor, Tensor]:
    """Consecutive frames, uint8 (T, 3, H, W) -> the small ones and the large ones made from them, uint8.

    H and W must be multiples of the scale.
    """
    slr, shr = model(to_float(frames), scale)
    return to_codes(slr), to_codes(shr)


def cycled(model: TAD, slr: Tensor, times: int, scale: int, guide: str) -> Tensor:
    """X_SLR (1, C, h, w) of the last of so many times down and up, through 8-bit codes each way.

    Raises ValueError for a model that looks at several frames (one image is no clip), and for less than once.
    """
    if model.spec.frames > 1:
        raise ValueError("cycles are of single images, and this model looks at several frames")
    if times < 1:
        raise ValueError("down and up happens once at least")
    for _ in range(times - 1):
        hr = to_float(to_codes(model.decode(send(slr), scale)))
        slr = model.encode(hr, scale, guidance(hr, scale, guide))
    return slr


def _alike(result: Tensor, image: Tensor, channel: str, scale: int) -> tuple[Tensor, Tensor]:
    """The result (..., H, W) and what it should be, uint8: the HR image edited as the small one was."""
    moved = 0
    for stage in channel.split("+"):
        kind, _, value = stage.strip().partition(":")
        if kind == "gamma":
            image = to_codes(send(to_float(image), stage))[0]
        if kind == "shift":
            moved += scale * int(value)
    return result[..., moved:], image[..., : image.shape[-1] - moved]


def _measure(kind: str, result: Tensor, truth: Tensor, border: int, channel: str = "8bit") -> dict:
    sigma = _sigma(channel)
    found = compare(to_codes(result)[0].cpu(), truth.cpu(), border, not sigma)
    return {"kind": kind, "sigma": sigma, "ciede2000": float("nan")} | found


def _sigma(channel: str) -> float:
    return float(channel.partition("noise:")[2].split("+")[0] or 0)


def scores(trained, sets: tuple[str, ...], channels: tuple[str, ...] = ("8bit",), scale: int | None = None,
           kinds: tuple[str, ...] = KINDS, draws: int = 1, measure: bool = True) -> pd.DataFrame:
    """The rows of a trained run (runs.Trained) for these sets and channels at its scale or another, in COLUMNS.

    Stored rows are read; what is missing is measured (unless `measure` is False), if the set is here, and stored
    beside them.
    """
    path = trained.folder / "scores.csv"
    stored = _stored(path)
    run = trained.run
    scale = scale or run.scale
    network = None
    for name in sets:
        here = stored[(stored["set"] == name) & (stored["kind"] == "SHRT") & (stored["scale"] == scale)]
        known = here.groupby("channel")["draw"].nunique()
        missing = tuple(c for c in channels if known.get(c, 0) < (draws if _sigma(c) else 1))
        if not measure or not missing or not datasets.is_here(name):
            continue
        network = network or trained.network()
        new = score(network, datasets.load(name), scale, run.guide, missing, kinds, draws)
        new = new.assign(scale=scale, set=name).reindex(columns=MEASURED).round(4)
        stored = _stored(path)  # again: another process may have measured something else meanwhile
        stored = pd.concat([stored, new], ignore_index=True) if len(stored) else new
        stored = stored.drop_duplicates(["set", "image", "kind", "channel", "draw", "scale"], keep="last")
        with replacing(path) as temporary:
            stored.to_csv(temporary, index=False)
    asked = stored["set"].isin(sets) & stored["channel"].isin((*channels, "8bit")) & (stored["scale"] == scale)
    rows = stored[asked].reset_index(drop=True)
    if not len(rows):
        return rows.reindex(columns=COLUMNS)
    return rows.assign(run=trained.folder.name, model=run.model, params=trained.record["params"], task=run.net.task,
                       recipe=run.recipe, skip=run.net.skip, guidance=run.guide, epsilon=run.epsilon,
                       seed=run.seed, steps=run.steps)[COLUMNS]


def _stored(path: Path) -> pd.DataFrame:
    if not path.exists():
        return pd.DataFrame(columns=MEASURED)
    return pd.read_csv(path, dtype={"image": str}).reindex(columns=MEASURED)  # older ones lack a column


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """The mean over images of every measure, a row for each run, set, kind, channel and draw; PSNR capped at 100 dB."""
    keys = ["run", "model", "params", "scale", "set", "kind", "channel", "sigma", "draw"]
    measures = ["psnr_rgb", "psnr_y", "psnr_rgb_crop", "psnr_y_crop", "ssim_y", "lr_bytes", "ciede2000"]
    rows = rows.assign(**{m: rows[m].clip(upper=100) for m in measures[:4]})
    return rows.groupby(keys, sort=False)[measures].mean().reset_index()


def verify(trained, tolerance: float = 0.01) -> float:
    """Score the sample (or Set5, where it is) afresh and hold it against what is stored: the largest deviation in dB.

    Raises BadInput where it exceeds `tolerance`: then weights, code and stored scores do not belong together.
    """
    path = trained.folder / "scores.csv"
    stored = _stored(path)
    stored = stored[stored["scale"] == trained.run.scale] if len(stored) else stored
    preferred = ("Set5", "Sample", "SampleCrop", "SampleClip")
    known = [n for n in preferred if datasets.is_here(n) and (stored["set"] == n).any()]
    name = known[0] if known else None
    if name is None:
        raise BadInput(f"{trained.folder.name}: no stored scores on a set that is here")
    channel = stored.loc[(stored["set"] == name) & (stored["kind"] == "SHRT"), "channel"].iloc[0]
    fresh = score(trained.network(), datasets.load(name), trained.run.scale, trained.run.guide, (channel,),
                  ("SHRT", "SLR"))
    both = stored[stored["set"] == name].merge(fresh, on=["image", "kind", "channel", "draw"], suffixes=("", "_now"))
    worst = (both["psnr_rgb"].clip(upper=100) - both["psnr_rgb_now"].clip(upper=100)).abs()
    if len(both) < len(fresh) or worst.max() > tolerance:
        raise BadInput(f"{trained.folder.name}: stored scores on {name} are off by {worst.max():.3f} dB; "
                       "weights and scores do not belong together (--retrain makes both anew)")
    return float(worst.max())


@torch.inference_mode()
def psnr_of_set(model: TAD, images: dict[str, Tensor], scale: int, guide: str, fast: bool = False
                ) -> tuple[float, float]:
    """Mean RGB PSNR (SLR against guidance, SHR against HR) of 8-bit codes: the two numbers of a learning curve.

    `fast` runs the network in bf16. PSNR is capped at 100 dB, so that a mean over identical images stays a number.
    """
    device = next(model.parameters(), torch.empty(0)).device
    images = [crop_to_multiple(image, scale) for image in images.values()]
    network = torch.autocast(device.type, torch.bfloat16, enabled=fast)
    arrived, slr_psnr, shr_psnr = [], [], []
    for image in images:
        hr = to_float(image).to(device).contiguous(memory_format=torch.channels_last)
        x_gd = guidance(hr, scale, guide)
        with network:
            slr = model.encode(hr, scale, x_gd)
        arrived.append(send(slr.float()))
        slr_psnr.append(min(100.0, psnr(to_codes(arrived[-1])[0], to_codes(x_gd)[0])))
    for n, image in enumerate(images):
        with network:
            shr = model.decode(torch.cat([arrived[m] for m in around(n, len(images), model.spec.frames)], 1), scale)
        shr_psnr.append(min(100.0, psnr(to_codes(shr)[0].cpu(), image)))
    return float(np.mean(slr_psnr)), float(np.mean(shr_psnr))
