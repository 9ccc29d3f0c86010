"""Every architecture as a line that one can read.

A net is an encoder and a decoder for ONE scaling step. Each is a chain of layers, written as words:

    c64   3x3 convolution to 64 channels, stride 1, zero padding 1, with bias
    r     resblock: x + c(ReLU(c(x))), channels kept; the only ReLU of the report's nets is in here
    a     ReLU
    u2    pixel unshuffle by 2: (C, 2H, 2W) -> (4C, H, W), the report's "inverse subpixel convolution"
    p2    pixel shuffle by 2:   (4C, H, W) -> (C, 2H, 2W)
    =     remember x          +    add what was remembered

and `r*3` stands for `r r r`. An empty encoder passes the guidance on; an empty decoder gives zero. At a scale of
several steps encoder and decoder are applied so many times to their own output (FACTS: "Scale 4, 8, 16").
"""
from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from tadlib.errors import BadInput
from tadlib.networks.chain import layers
from tadlib.networks.heads import IMAGE, Bins, Clip, Head, Luma, Vsr, named
from tadlib.tasks import TASKS


@dataclass(frozen=True)
class Spec:
    """One architecture: what a row of the tables of Fig. 25 and 26 says."""

    name: str
    family: str  # "study" (the report's), "tool" (what a person uses), "baseline", "own"
    encoder: str
    decoder: str
    step: int = 2  # factor of one pass: x4 takes two passes of 2, or one of 4; colour has 1
    task: str = "sr"  # "sr" or "colour"
    skip: str = "none"  # added to the decoder's output: an interpolation, for colour "grey"; "none" as published
    added: bool = True  # X_GD is added to the encoder's output
    start: str = "default"  # "zero": the last convolutions (the net starts as its skip), and those of neighbours
    head: Head = IMAGE  # how X_SHR comes of the decoder's output (networks/heads.py)
    neighbours: bool = True  # False: a decoder of several frames sees its own that many times (what is time worth?)
    note: str = ""

    @property
    def guided(self) -> str:
        """The guidance that this task uses unless a run says otherwise."""
        return TASKS[self.task].guide

    @property
    def code(self) -> int:
        """Channels of X_SLR."""
        return TASKS[self.task].code

    def words(self) -> dict:
        """All of it, as a record holds it; `Spec.of` reads it."""
        return asdict(self) | {"head": str(self.head)}

    @staticmethod
    def of(words: dict) -> Spec:
        """The architecture that a record describes. Raises BadInput for one that is none."""
        try:
            found = Spec(**words | {"head": named(words["head"])})
        except (TypeError, KeyError, AttributeError):
            raise BadInput("its network is not described as one is") from None
        check(found)
        return found

    def layers(self) -> dict:
        """What decides which layers there are: what the record and the row have to agree in."""
        return {k: v for k, v in self.words().items() if k in ("encoder", "decoder", "step", "skip", "head")}


_HEAD, _TAIL = "c8 c16 u2", "c256 p2 c3"  # of the SISR family, at full size


def _sisr(name: str, enc: str, dec: str, **rest: Any) -> Spec:
    return Spec(name, "study", f"{_HEAD} {enc} c3", f"c64 {dec} {_TAIL}", **rest)


def _colour(name: str, enc: str, dec: str, head: str = "c8 c64", tail: str = "c1", dec_head: str = "c64") -> Spec:
    return Spec(name, "study", f"{head} {enc} {tail}", f"{dec_head} {dec} c8 c3", step=1, task="colour")


_SPECS = [
    # --- the report's SISR family (FACTS section 1; report, Fig. 13, 17 and 26)
    _sisr("aetad_very_small", "= r c64 +", "= r c64 +"),
    _sisr("aetad_small", "= r*2 c64 +", "= r*2 c64 +"),
    _sisr("aetad", "= r*3 c64 +", "= r*3 c64 +", note="the shape of Kim et al. 2018"),
    _sisr("aetad_skip", "= r*2 + = r c64 +", "= r*2 + = r c64 +", note="one more skip after resblock 2"),
    _sisr("aetad_skip2", "= r*2 + r c64 +", "= r*2 + r c64 +", note="the same skip added twice"),
    _sisr("aetad_large", "= r*4 c64 +", "= r*4 c64 +"),
    _sisr("aetad_very_large", "= r*7 c64 +", "= r*7 c64*2 +"),
    Spec("aetad_direct4", "study", "c4 c4 u4 = r*3 c64 + c3", "c64 = r*3 c64 + c256 p4 c3", step=4,
         note="one step of factor 4"),
    Spec("no_tad", "study", "", "c64 = r*3 c64 + c256 p2 c3", note="aetad's decoder on the guidance image"),
    _sisr("conv_only", "= c64*3 +", "= c64*3 +", note="no ReLU: an affine map"),
    _sisr("conv_only_large", "= c64*2 + c64*2 +", "= c64*2 + c64*2 +"),
    _sisr("conv_only_very_large", "= c64*2 + c64 c128 c128 c64 +", "= c64*2 + c128 c128 c64*2 +"),
    _sisr("conv_only_very_large2", "= c64*2 + c128 c256 c128 c64 +", "= c64*2 + c128 c256 c128 c64*2 +",
          note="as published its encoder lacks a 128-64 convolution; mended"),
    Spec("vdsr", "study", "", "c64 a " + "c64 a " * 18 + "c1", skip="bicubic", head=Luma(),
         note="Kim et al. 2016: 20 layers on the enlarged Y"),
    # --- the report's colour family
    _colour("aetad_color_small", "= r c64 +", "= r c64 +"),
    _colour("aetad_color", "= r*3 c64 +", "= r*3 c64 +"),
    _colour("aetad_color_large", "= r*4 c64 +", "= r*4 c64 +", head="c16 c64", tail="c32 c1", dec_head="c32 c64"),
    _colour("aetad_color_very_large", "= r*7 c64 +", "= r*7 c64*2 +"),
    _colour("conv_only_color_large", "= c64*2 + c64*2 +", "= c64*2 + c64*2 +"),
    Spec("no_tad_color", "study", "", "c64 = r*3 c64 + c8 c3", step=1, task="colour",
         note="aetad_color's decoder on Y"),
    # --- beside the report: what colour needs (FACTS 7), and the classic that guesses
    Spec("color_shuffle", "study", "u2 c64 r*2 c4 p2", "u2 c64 r*4 c12 p2", step=1, task="colour", skip="grey",
         start="zero", note="at half the size a flat area can carry a pattern"),
    Spec("cic_color", "study", "", "u4 c64 r*6 c260", step=1, task="colour", head=Bins(),
         note="after Zhang et al. 2016: guesses from Y"),
    # --- video: a decoder of three frames (networks/sofvsr.py: Y alone, chroma is interpolated)
    Spec("sofvsr", "study", "", "sofvsr4", step=4, skip="bicubic", head=Vsr(), note="Wang et al. 2020"),
    Spec("aetad_sofvsr", "study", f"{_HEAD} = r*3 c64 + c3", "sofvsr4", skip="bicubic", head=Vsr(),
         note="aetad down, SOF-VSR up"),
    Spec("joint_x4", "tool", "u4 c64 r*4 c3", "c64 r*12 c48 p4", step=4, skip="bicubic", start="zero", head=Clip(3),
         note="tool_x4 whose decoder sees three frames"),
    Spec("joint_free", "tool", "u4 c64 r*4 c3", "c64 r*12 c48 p4", step=4, skip="bicubic", head=Clip(3),
         note="joint_x4 whose weights of the neighbours are drawn"),
    # --- what a person uses: all work at the LR image's size or below, added to interpolated images
    Spec("tool_x4", "tool", "u4 c64 r*4 c3", "c64 r*12 c48 p4", step=4, skip="bicubic", start="zero"),
    Spec("tool_x2", "tool", "u2 c64 r*4 c3", "c64 r*12 c12 p2", step=2, skip="bicubic", start="zero"),
    Spec("no_tad_x4", "tool", "", "c64 r*12 c48 p4", step=4, skip="bicubic", start="zero", note="tool_x4's decoder"),
    Spec("tool_color", "tool", "u2 c64 r*5 c4 p2", "u2 c64 r*11 c12 p2", step=1, task="colour", skip="grey",
         start="zero"),
    # --- no network at all
    Spec("bicubic", "baseline", "", "", skip="bicubic"),
    Spec("lanczos", "baseline", "", "", skip="lanczos"),
    Spec("grey", "baseline", "", "", step=1, task="colour", skip="grey", note="Y with no colour at all"),
]
SKIPS = ("none", "bicubic", "bilinear", "lanczos", "grey")
ZOO: dict[str, Spec] = {s.name: s for s in _SPECS}


def spec(name: str, **changes: Any) -> Spec:
    """The named architecture, some fields changed. Raises KeyError naming the known ones."""
    if name not in ZOO:
        raise KeyError(f"no network {name!r}; there are: {', '.join(ZOO)}")
    return replace(ZOO[name], **changes)


def check(spec: Spec) -> None:
    """Raises BadInput where a row cannot be built, or would not give images of the right size and channels."""
    if spec.task not in TASKS or spec.skip not in SKIPS:
        raise BadInput(f"network {spec.name}: task {spec.task!r}, skip {spec.skip!r}; there are tasks "
                       f"{' and '.join(TASKS)}, and skips {', '.join(SKIPS)}")
    parts = [("encoder", spec.encoder, 3, (spec.code, 1 / spec.step))]
    if spec.head.chained:
        enlarged = spec.head.enlarged
        large = (spec.head.channels(spec.code), 1) if enlarged else (3, spec.step)
        parts.append(("decoder", spec.decoder, spec.head.channels(spec.code), large))
    for part, chain, channels, wanted in parts:
        try:
            found = layers(chain, channels)[-1][2:] if chain else wanted
        except ValueError as error:
            raise BadInput(f"network {spec.name}, {part}: {error}") from None
        if found != wanted:
            raise BadInput(f"network {spec.name}, {part}: ends with {found[0]} channels at {found[1]:g} times the "
                           f"size, and has to end with {wanted[0]} at {wanted[1]:g}")
