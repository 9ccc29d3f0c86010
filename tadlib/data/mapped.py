"""A set too large for memory, decoded once into one file that all processes read: its pixels, then what lies where.

The system keeps of it in memory what is used and fits, once for all processes. The file may be deleted at any time.
"""
from __future__ import annotations

import json
import math
import shutil
import warnings
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor
from tqdm import tqdm

from tadlib.errors import BadInput
from tadlib.files import replacing

IN_MEMORY = 10**9  # bytes decoded: a set of more is read from its file


class Images(dict[str, Tensor]):
    """uint8 (3, H, W) by stem, and of a folder of own images what could not be read, a line each."""

    broken: tuple[str, ...] = ()
    fingerprint = ""  # where it is known without reading all pixels


def add(digest: Any, stem: str, image: Tensor) -> bytes:
    """Take an image into a set's fingerprint; its pixels as bytes."""
    data = image.numpy().tobytes()
    digest.update(f"{stem} {tuple(image.shape)}".encode())
    digest.update(data)
    return data


def shared(path: Path, name: str, size: int, pictures: Iterable[tuple[str, Tensor | str]]) -> Images:
    """The images in this file; of the processes that ask for it one makes it, and the others wait.

    `pictures` are decoded one by one, to `size` bytes in all; text is what is said of a broken one. Raises BadInput.
    """
    if (images := _opened(path)) is not None:
        return images
    lock = FileLock(f"{path}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = lock.acquire(blocking=False)
    except Timeout:
        print(f"{name}: another process is decoding it; waiting for that", flush=True)
        held = lock.acquire(poll_interval=0.2)
    except OSError as error:
        raise BadInput(f"{path.parent}: cannot be written ({error.strerror or error})") from None
    with held:
        if (images := _opened(path)) is None:
            if (free := shutil.disk_usage(path.parent).free) < size:
                raise BadInput(f"{path.parent}: {name} takes {size / 1e9:.1f} GB decoded, and {free / 1e9:.1f} GB are "
                               "free there (TAD_CHECKPOINTS names another place)")
            _make(path, name, pictures)
            images = _opened(path)
    if images is None:
        raise BadInput(f"{path}: cannot be read")
    return images


def _make(path: Path, name: str, pictures: Iterable[tuple[str, Tensor | str]]) -> None:
    digest, shapes, broken = sha256(), {}, []
    with replacing(path) as temporary, temporary.open("wb") as out:
        for stem, picture in tqdm(pictures, f"{name}: decoding", unit=" pictures", disable=None):
            if isinstance(picture, str):
                broken.append(picture)
            else:
                shapes[stem] = tuple(picture.shape)
                out.write(add(digest, stem, picture))
        index = json.dumps({"fingerprint": digest.hexdigest()[:16], "broken": broken, "shapes": shapes}).encode()
        out.write(index + len(index).to_bytes(8, "little"))


def _opened(path: Path) -> Images | None:
    """The images that lie in the file; None where it is not there or breaks off."""
    try:
        flat = np.memmap(path, np.uint8, "r")  # not "c": of that Linux refuses more than there is memory
        index = json.loads(flat[-8 - int.from_bytes(flat[-8:].tobytes(), "little") : -8].tobytes())
    except (OSError, ValueError):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch knows no tensors that cannot be written to: nobody does
        pixels, at = torch.from_numpy(flat), 0
    images = Images()
    images.broken, images.fingerprint = tuple(index["broken"]), index["fingerprint"]
    for stem, shape in index["shapes"].items():
        images[stem] = pixels[at : at + math.prod(shape)].view(shape)
        at += math.prod(shape)
    return images
