"""Scores under one written protocol.

PROTOCOL. HR images are cropped at the bottom right to a multiple of the scale. What is scored are 8-bit codes only:
X_SLR goes through the channel (at least rounded to 8 bit), X_SHR is clamped and rounded. PSNR is over all pixels and
channels of an image at once, in float64, then averaged over images; in RGB, and in Y (BT.601, limited range, from the
8-bit RGB values, not rounded); with no border cropped, and with `scale` HR pixels cropped (one LR pixel). SSIM is on Y
with the 11-pixel Gaussian window, sigma 1.5 (Wang et al. 2004). Kinds: SHRT decodes what the channel made of X_SLR; SLR
is the received X_SLR against the guidance image; and two where each half meets its ordinary rival, SHRB, which decodes
the guidance image, and SLRB, which enlarges X_SLR by bicubic interpolation. LR bytes are those of the file that was
sent, without our note in it: the channel's, else a PNG. For colorization X_SLR is the grey image and its rival Y, both
as 8-bit codes, and CIEDE2000 is the mean colour difference over all pixels (scikit-image; D65, 2 degrees); the rest is
the same. What a person does to the small image is wanted in the large one: "gamma" is scored against the HR image with
the same gamma, "shift" against the part of it that did not leave the picture. A channel that begins with "cycles:5"
goes down and up four times before.
"""
from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tadlib.channel import Channel, send
from tadlib.errors import BadInput
from tadlib.evaluation.metrics import EXTRA, compare, psnr
from tadlib.networks import TAD
from tadlib.pixels import around, crop_to_multiple, to_codes, to_float
from tadlib.resize import upscale
from tadlib.tasks import TASKS, guidance

KINDS = ("SHRT", "SLR", "SHRB", "SLRB")
PLAIN = Channel.parse("8bit")


@torch.inference_mode()
def score(model: TAD, images: dict[str, Tensor], scale: int, guide: str, channels: tuple[str, ...] = ("8bit",),
          kinds: tuple[str, ...] = KINDS, draws: int = 1) -> pd.DataFrame:
    """A row for each image, channel, draw and kind: image, pixels (HR), kind, channel, sigma, draw, measures, lr_bytes.

    `images`: uint8 (3, H, W) by name; where the decoder sees several frames they are a clip. float32 throughout, on
    the network's device. A noisy channel is drawn `draws` times (the draw is its seed). The kinds of cross play are
    measured once, on the channel "8bit".
    """
    device = next(model.parameters(), torch.empty(0)).device
    names, frames = list(images), model.head.frames
    if frames > 1 and len({image.shape for image in images.values()}) > 1:
        raise BadInput(f"{model.spec.name} looks at {frames} frames of a clip, and these images are of several sizes")

    @functools.lru_cache(maxsize=frames)
    def encoded(n: int) -> tuple[Tensor, Tensor, Tensor]:
        """Image number n, cropped, its guidance and its X_SLR."""
        image = crop_to_multiple(images[names[n]], scale)
        hr = to_float(image).to(device)
        x_gd = guidance(hr, scale, guide)
        return image, x_gd, model.encode(hr, scale, x_gd)

    extra = TASKS[model.spec.task].extra
    rows = []
    for n, name in enumerate(names):
        if min(images[name].shape[-2:]) < scale:
            raise BadInput(f"{name}: smaller than the scale of {scale}, it cannot be scored")
        image, x_gd, first = encoded(n)
        gd_codes = to_codes(x_gd)[0]

        same = {"image": name, "pixels": image[0].numel()}
        for channel in map(Channel.parse, channels):
            slr = cycled(model, first, channel.cycles, scale, guide)
            for draw in range(draws if channel.sigma else 1):
                def rng(draw: int = draw) -> torch.Generator:
                    return torch.Generator().manual_seed(draw)

                received = channel.send(slr, rng())
                sent = same | {"channel": str(channel), "draw": draw, "lr_bytes": channel.bytes(slr, rng())}
                seen = received
                if frames > 1:
                    noise = rng()
                    clip = (encoded(m)[2] for m in around(n, len(names), frames))
                    seen = torch.cat([channel.send(x, noise) for x in clip], 1)  # (1, frames * C, h, w)
                result = model.decode(seen, scale)
                wanted, lost = channel.wanted(image, scale)
                rows.append(sent | _measure("SHRT", result[..., lost:], wanted, scale, channel.sigma, extra))
                if "SLR" in kinds:
                    rows.append(sent | _measure("SLR", received, gd_codes, 1, channel.sigma))
        if model.encoder is not None and "8bit" in channels and frames == 1:
            sent = same | {"channel": "8bit", "draw": 0}
            if "SHRB" in kinds:
                result = model.decode(to_float(gd_codes), scale)
                rows.append(sent | {"lr_bytes": PLAIN.bytes(x_gd)} | _measure("SHRB", result, image, scale))
            if "SLRB" in kinds and first.shape[1] == 3:
                result = upscale(send(first), scale)
                rows.append(sent | {"lr_bytes": PLAIN.bytes(first)} | _measure("SLRB", result, image, scale))
    return pd.DataFrame(rows)


def cycled(model: TAD, slr: Tensor, times: int, scale: int, guide: str) -> Tensor:
    """X_SLR (1, C, h, w) of the last of so many times down and up, through 8-bit codes each way.

    Raises BadInput for a model that looks at several frames, should it be more than once: one image is no clip.
    """
    if times > 1 and model.head.frames > 1:
        raise BadInput("cycles are of single images, and this model looks at several frames")
    for _ in range(times - 1):
        hr = to_float(to_codes(model.decode(send(slr), scale)))
        slr = model.encode(hr, scale, guidance(hr, scale, guide))
    return slr


def _measure(kind: str, result: Tensor, truth: Tensor, border: int, sigma: float = 0.0, extra: tuple[str, ...] = ()
             ) -> dict:
    """One row's measures; the slow ones, SSIM and what the task has besides, only without noise."""
    codes, truth = to_codes(result)[0].cpu(), truth.cpu()
    found = {"kind": kind, "sigma": sigma, "ciede2000": float("nan")} | compare(codes, truth, border, not sigma)
    return found | {name: EXTRA[name](codes, truth) for name in extra if not sigma}


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """The mean over images of every measure, a row for each run, set, kind, channel and draw; PSNR capped at 100 dB."""
    keys = ["run", "model", "params", "scale", "set", "kind", "channel", "sigma", "draw"]
    measures = ["psnr_rgb", "psnr_y", "psnr_rgb_crop", "psnr_y_crop", "ssim_y", "lr_bytes", "ciede2000"]
    rows = rows.assign(**{m: rows[m].clip(upper=100) for m in measures[:4]})
    return rows.groupby(keys, sort=False)[measures].mean().reset_index()


@torch.inference_mode()
def psnr_of_set(model: TAD, images: dict[str, Tensor], scale: int, guide: str, fast: bool = False
                ) -> tuple[float, float]:
    """Mean RGB PSNR (SLR against guidance, SHR against HR) of 8-bit codes: the two numbers of a learning curve.

    `fast` runs the network in bf16. PSNR is capped at 100 dB, so that a mean over identical images stays a number.
    """
    device = next(model.parameters(), torch.empty(0)).device
    cropped = [crop_to_multiple(image, scale) for image in images.values()]
    network = torch.autocast(device.type, torch.bfloat16, enabled=fast)
    arrived, slr_psnr, shr_psnr = [], [], []
    for image in cropped:
        hr = to_float(image).to(device).contiguous(memory_format=torch.channels_last)
        x_gd = guidance(hr, scale, guide)
        with network:
            slr = model.encode(hr, scale, x_gd)
        arrived.append(send(slr.float()))
        slr_psnr.append(min(100.0, psnr(to_codes(arrived[-1])[0], to_codes(x_gd)[0])))
    for n, image in enumerate(cropped):
        with network:
            shr = model.decode(torch.cat([arrived[m] for m in around(n, len(cropped), model.head.frames)], 1), scale)
        shr_psnr.append(min(100.0, psnr(to_codes(shr)[0].cpu(), image)))
    return float(np.mean(slr_psnr)), float(np.mean(shr_psnr))
