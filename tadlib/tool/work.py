"""What a command does with one picture, as an object: another process makes its own of the same options (jobs.py)."""
from __future__ import annotations

import argparse
from functools import cache, partial
from pathlib import Path

from tadlib.errors import BadInput
from tadlib.tool import pictures
from tadlib.tool.codec import Codec
from tadlib.tool.pictures import How, Origin, check


class Down:
    """`downscale` and `decolorize`. Raises BadInput for a model or a refinement that cannot be had."""

    growth = 1

    def __init__(self, options: argparse.Namespace):
        self.options, self.notes = options, dict[str, None]()
        self.how = How(options.refine, options.likeness, options.channel, options.keep_location)
        check(self.how, options.output)
        self.codec = Codec.find(options.model, options.scale, task=options.task, backend=options.backend)
        if self.how.refine:
            self.codec.backend.check(self.how.channel)

    def __call__(self, source: Path, target: Path) -> None:
        self.notes.update(dict.fromkeys(pictures.downscale_file(self.codec, source, target, self.how)))


class Up:
    """`upscale` and `colorize`, by the model that is named, else by what each picture says."""

    def __init__(self, options: argparse.Namespace):
        self.options, self.notes = options, dict[str, None]()
        self.growth = 16 if options.task == "sr" else 1
        self.find = cache(partial(Codec.find, task=options.task, backend=options.backend))
        self.chosen = self.find(options.model, options.scale) if options.model else None

    def codec_for(self, origin: Origin | None) -> Codec:
        """Raises BadInput where command and picture contradict each other."""
        for option, said in (("model", origin and origin.model), ("scale", origin and origin.scale)):
            given = getattr(self.options, option)
            if given and said and given != said:
                raise BadInput(f"--{option} {given}, but the picture says that it was made by {option} {said}")
        codec = self.chosen or self.find(origin and origin.model, origin.scale if origin else self.options.scale)
        if origin is None and not self.chosen:
            self.notes["the picture does not say (any more) what made it: taken as one by "
                       f"{codec.name}, see --model"] = None
        elif origin and origin.weights and codec.weights and origin.weights != codec.weights:
            self.notes[f"the picture was made by other weights of {codec.name} ({origin.weights}) than those here "
                       f"({codec.weights}): it comes out worse than it could"] = None
        return codec

    def __call__(self, source: Path, target: Path) -> None:
        self.notes.update(dict.fromkeys(pictures.upscale_file(self.codec_for, source, target)))
