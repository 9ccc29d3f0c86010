"""A film down and up by the commands, as several tests ask for it."""
from __future__ import annotations

from pathlib import Path

from tadlib.__main__ import main


def down(source: Path, *options: str) -> Path:
    target = source.parent / "small"
    assert main(["downscale", str(source), str(target), "--model", "bicubic", *options]) == 0
    return target


def back(small: Path, name: str = "back.mp4", *options: str) -> Path:
    assert main(["upscale", str(small), str(small.parent / name), *options]) == 0
    return small.parent / name
