"""Random training patches from images held as uint8 in memory or one file: no workers, no loader."""
from __future__ import annotations

import functools

import torch
from torch import Generator, Tensor

from tadlib.data import sets
from tadlib.errors import BadInput
from tadlib.networks import cic
from tadlib.pixels import pan, to_float

PAN = 6  # pixels a frame, at most, by which a window moves over a still image in each direction to make a clip of it
LAMBDA = 0.5  # share of the uniform distribution in the rebalancing of colours


def large_enough(name: str, size: int, frames: int = 1) -> int:
    """How many images of a set have room for patches of `size` pixels; without neighbours for `frames` they move."""
    side = size + (frames - 1) * PAN
    return sum(min(image.shape[-2:]) >= (size if sets.is_clip(name) else side) for image in sets.load(name).values())


class Patches:
    """Random patches of the training images, but for those on which choices are made (sets.held_out).

    A batch is a function of its generator alone, so a resumed run sees what the uninterrupted one saw.
    """

    def __init__(self, names: tuple[str, ...], size: int):
        spared = sets.held_out(names)
        images = [i for stem, i in sets.load(names[0]).items() if stem not in spared]
        images += [i for name in names[1:] for i in sets.load(name).values()]
        self.size = size
        self.images = [i for i in images if min(i.shape[-2:]) >= size]
        if not self.images:
            raise BadInput(f"{', '.join(names)}: no image has {size} pixels on each side, as training needs")

    def batch(self, count: int, rng: Generator) -> Tensor:
        """uint8 (count, 3, size, size), flipped and transposed with probability 1/2 each (report, 3.4)."""
        draws = torch.rand(count, 6, generator=rng).tolist()
        out = torch.empty(count, 3, self.size, self.size, dtype=torch.uint8)
        for row, (which, y, x, flip, mirror, transpose) in zip(out, draws, strict=True):
            image = self.images[int(which * len(self.images))]
            top = int(y * (image.shape[1] - self.size + 1))
            left = int(x * (image.shape[2] - self.size + 1))
            patch = image[:, top : top + self.size, left : left + self.size]
            patch = patch.flip([d for d, p in ((1, flip), (2, mirror)) if p < 0.5])
            row.copy_(patch.mT if transpose < 0.5 else patch)
        return out


class ClipPatches:
    """Random patches of three consecutive frames, from clips and from still images, as `Patches` otherwise.

    Each set is drawn from equally often. Over a still image a window moves steadily, by whole pixels: a clip without
    noise, without anything that moves by itself, and with a motion that a small image sees to a fraction of a pixel.
    """

    frames = 3

    def __init__(self, names: tuple[str, ...], size: int):
        spared = sets.held_out(names)
        self.size = size
        self.sets = []  # of each set its clips, lists of frames (3, H, W); a still image is one of a single frame
        for name in names:
            frames = [i for stem, i in sets.load(name).items() if name != names[0] or stem not in spared]
            large = [i for i in frames if min(i.shape[-2:]) >= size + (self.frames - 1) * PAN]
            clips = [frames] if sets.is_clip(name) else [[i] for i in large]
            if not large:
                raise BadInput(f"{name}: no image has the {size + (self.frames - 1) * PAN} pixels on each side that "
                               "training on clips needs")
            self.sets.append(clips)

    def batch(self, count: int, rng: Generator) -> Tensor:
        """uint8 (count, 3 frames, 3, size, size); flipped, transposed and reversed with probability 1/2 each."""
        out = torch.empty(count, self.frames, 3, self.size, self.size, dtype=torch.uint8)
        for row, draws in zip(out, torch.rand(count, 11, generator=rng).tolist(), strict=True):
            which, what, when, y, x, dy, dx, flip, mirror, transpose, reverse = draws
            clips = self.sets[int(which * len(self.sets))]
            shown = clips[int(what * len(clips))]
            if len(shown) == 1:
                step = [int(d * (2 * PAN + 1)) - PAN for d in (dy, dx)]
                clip = pan(shown[0], self.frames, (self.size, self.size), (step[0], step[1]), (y, x))
            else:
                first = int(when * (len(shown) - self.frames + 1))
                top, left = (int(p * (n - self.size + 1)) for p, n in zip((y, x), shown[0].shape[-2:], strict=True))
                clip = torch.stack([frame[:, top : top + self.size, left : left + self.size]
                                    for frame in shown[first : first + self.frames]])
            clip = clip.flip([d for d, p in ((0, reverse), (2, flip), (3, mirror)) if p < 0.5])
            row.copy_(clip.mT if transpose < 0.5 else clip)
        return out


@functools.lru_cache(maxsize=2)
def bin_weights(names: tuple[str, ...]) -> Tensor:
    """A weight for each bin (Q,): rare colours of the training images count more; 1 on average over their pixels."""
    count = torch.zeros(len(cic.bins()))
    for name in names:
        for image in sets.load(name).values():
            index = cic.nearest(cic.small_ab(to_float(image)), 1)[0][:, 0]
            count += torch.bincount(index, minlength=len(count))
    p = count / count.sum()
    near = torch.exp(-torch.cdist(cic.bins(), cic.bins()) ** 2 / (2 * cic.SIGMA**2))
    smooth = (near / near.sum(1, keepdim=True)) @ p
    weight = 1 / ((1 - LAMBDA) * smooth + LAMBDA / len(p))
    return weight / (p * weight).sum()
